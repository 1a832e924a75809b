package main

import (
	"strings"
	"testing"

	"bfsd/replica"
)

// A replica is ready when it is up, linked, sure of what it said, and as far as the group was.
func TestNotReadySaysWhatIsMissing(t *testing.T) {
	ready := func() []replicaReport {
		all := make([]replicaReport, 4)
		for i := range all {
			all[i].ID, all[i].Up, all[i].Active, all[i].Peers, all[i].Committed = uint32(i), true, true, 3, 100
		}
		return all
	}
	if missing := notReady(ready(), []uint32{0, 1, 2, 3}, 100, 2); missing != nil {
		t.Errorf("ready replicas lack %q", missing)
	}
	for _, tt := range []struct {
		says   string
		change func(*replicaReport)
	}{
		{"does not answer", func(r *replicaReport) { r.Up = false }},
		{"links to 1", func(r *replicaReport) { r.Peers = 1 }},
		{"fetches", func(r *replicaReport) { r.Fetching = true }},
		{"does not vote", func(r *replicaReport) { r.InDoubt = true }},
		{"view 7 to begin", func(r *replicaReport) { r.View, r.Active = 7, false }},
		{"batch 99", func(r *replicaReport) { r.Committed = 99 }},
		{"opens its store", func(r *replicaReport) { r.Up, r.Rejoin.How = false, replica.RejoinOpening }},
	} {
		all := ready()
		tt.change(&all[2])
		missing := notReady(all, []uint32{1, 2}, 100, 2)
		if len(missing) != 1 || !strings.HasPrefix(missing[0], "replica 2 ") || !strings.Contains(missing[0], tt.says) {
			t.Errorf("%q is what is missing, want replica 2 alone, and %q", missing, tt.says)
		}
		if missing := notReady(all, []uint32{0, 1}, 100, 2); missing != nil {
			t.Errorf("%s: others lack %q", tt.says, missing)
		}
	}
}

func TestAQuorumMustBeInOneView(t *testing.T) {
	in := func(views ...uint64) []replicaReport {
		all := make([]replicaReport, 4)
		for i, v := range views {
			all[i].Up, all[i].Active, all[i].View = true, true, v
		}
		return all
	}
	if !inOneView(in(3, 3, 3), 3) || !inOneView(in(4, 3, 3, 3), 3) {
		t.Error("three of four are in view 3, and that is not enough")
	}
	if inOneView(in(4, 4, 3, 3), 3) || inOneView(in(3, 3), 3) {
		t.Error("two are a quorum")
	}
	leaving := in(3, 3, 3)
	leaving[1].Active = false
	if inOneView(leaving, 3) {
		t.Error("one of three waits for the view to begin")
	}
}

// What the group has committed is not one replica's word.
func TestGroupCommittedTakesFPlusOneWords(t *testing.T) {
	all := []replicaReport{{Up: true}, {Up: true}, {Up: true}, {}}
	all[0].Committed, all[1].Committed, all[2].Committed, all[3].Committed = 1<<60, 90, 80, 70
	if seq, ok := groupCommitted(all, 1); !ok || seq != 90 {
		t.Errorf("the group has committed %d (%v), want 90", seq, ok)
	}
	all[2].Up = false
	if _, ok := groupCommitted(all, 1); ok {
		t.Error("two of four are a quorum")
	}
}
