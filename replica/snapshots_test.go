package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bfsd/replica/wire"
)

// A state that is being fetched is kept while checkpoints pass by, and no longer.
func TestAStateThatIsBeingFetchedIsKept(t *testing.T) {
	now := time.Now()
	s := newSnapshots(nil)
	names := map[Snapshot]wire.Seq{}
	pin := func(seq wire.Seq) (dropped []wire.Seq) {
		state := &toySnapshot{ops: []string{fmt.Sprint(seq)}}
		names[state] = seq
		for _, d := range s.pin(pinnedState{at: wire.CheckpointRef{Seq: seq, Root: wire.Digest{byte(seq)}}, state: state}, now) {
			dropped = append(dropped, names[d])
		}
		slices.Sort(dropped)
		return dropped
	}
	fetch := func(seq wire.Seq) bool { return s.find(wire.Digest{byte(seq)}, now) != nil }
	expect := func(what string, got []wire.Seq, want ...wire.Seq) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: dropped %v, want %v", what, got, want)
		}
	}
	pin(1)
	pin(2)
	expect("nobody fetches", pin(3), 1)
	if fetch(1) || !fetch(2) {
		t.Error("of states 2 and 3 the first is not there, or state 1 still is")
	}
	expect("state 2 is being fetched", pin(4))
	for seq := wire.Seq(5); seq < 10; seq++ {
		now = now.Add(leaseIdle / 2)
		if !fetch(2) {
			t.Fatalf("state 2 is gone after checkpoint %d", seq)
		}
		expect("state 2 is still being fetched", pin(seq), seq-2)
	}
	fetch(8)
	pin(10)
	fetch(9)
	expect("three states are being fetched: the oldest goes", pin(11), 2)
	now = now.Add(leaseIdle)
	expect("nobody fetches any more", pin(12), 8, 9, 10)
	fetch(12)
	for range 400 {
		now = now.Add(leaseLongest / 400)
		fetch(12)
		pin(13)
	}
	if !fetch(12) {
		t.Error("state 12 was dropped before its time")
	}
	for range 10 {
		now = now.Add(leaseLongest / 400)
		fetch(12)
		pin(14)
	}
	if fetch(12) {
		t.Error("a state is kept for as long as somebody pretends to fetch it")
	}
}
