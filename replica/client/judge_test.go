package client

import (
	"testing"

	"bfsd/replica/wire"
)

// Replies are compared with the result whether they come before it or after; what a view change or another moment explains
// is held against nobody.
func TestRepliesAreJudged(t *testing.T) {
	right, wrong := wire.Digest{1}, wire.Digest{2}
	reply := func(from wire.ReplicaID, number uint64, d wire.Digest, view wire.View, tentative, read bool) *wire.Reply {
		return &wire.Reply{Replica: from, Number: number, Digest: d, View: view, Tentative: tentative, ReadOnly: read, Full: true}
	}
	for _, tt := range []struct {
		name string
		last *wire.Reply // of replica 3
		read bool        // the call is a reading, and the other three answered it as one
		want ReplicaStats
	}{
		{"it agrees", reply(3, 7, right, 2, true, false), false, ReplicaStats{Matched: 1}},
		{"it lies", reply(3, 7, wrong, 2, false, false), false, ReplicaStats{Contradicted: 1}},
		{"it lies tentatively in the same view", reply(3, 7, wrong, 2, true, false), false, ReplicaStats{Contradicted: 1}},
		{"its tentative answer is of another view", reply(3, 7, wrong, 1, true, false), false, ReplicaStats{}},
		{"it agrees about a reading", reply(3, 7, right, 2, false, true), true, ReplicaStats{Matched: 1}},
		{"it read at another moment", reply(3, 7, wrong, 2, false, true), true, ReplicaStats{ReadsDiffered: 1}},
		{"it ordered what the others read", reply(3, 7, wrong, 2, false, false), true, ReplicaStats{}},
		{"its answer is to a call long ended", reply(3, 6, wrong, 2, false, false), false, ReplicaStats{}},
	} {
		for _, late := range []bool{false, true} {
			c := &Client{cfg: Config{N: 4}, f: 1}
			c.counters.init(4)
			s := newSlot(0, 4, 0, wire.Numbers{})
			s.begin(tt.read, 0)
			s.number = 7
			if !late && tt.last.Number == 7 {
				s.votes.add(tt.last)
			}
			for i := range wire.ReplicaID(3) {
				s.votes.add(reply(i, 7, right, 2, false, tt.read))
			}
			c.judge(s, right)
			if late {
				s.begin(false, 0) // the next call of the slot has begun
				c.judgeLate(s, tt.last)
			}
			k := &c.counters
			got := ReplicaStats{Matched: k.matched[3].Load(), Contradicted: k.contradicted[3].Load(), ReadsDiffered: k.readsDiffered[3].Load()}
			if got != tt.want {
				t.Errorf("%s (late: %v): %+v, want %+v", tt.name, late, got, tt.want)
			}
			if k.matched[0].Load() != 1 || k.contradicted[0].Load() != 0 {
				t.Errorf("%s: replica 0, which agreed, was counted as %d matches, %d lies", tt.name, k.matched[0].Load(), k.contradicted[0].Load())
			}
		}
	}
}
