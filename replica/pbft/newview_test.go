package pbft

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bfsd/replica/wire"
)

var digestA, digestB = wire.Digest{0xa}, wire.Digest{0xb}

func entry(n wire.Seq, d wire.Digest, v wire.View) wire.PreparedEntry {
	return wire.PreparedEntry{Seq: n, Digest: d, View: v}
}

func void(n wire.Seq, v wire.View) wire.PreparedEntry {
	return wire.PreparedEntry{Seq: n, View: v, Void: true}
}

// report is a VIEW-CHANGE with h = 0, the initial checkpoint, and the given sets.
func report(from wire.ReplicaID, p, q []wire.PreparedEntry) *wire.ViewChange {
	return &wire.ViewChange{View: 9, Replica: from, Checkpoints: []wire.CheckpointRef{{}}, Prepared: p, PrePrepared: q}
}

// Conditions A1, A2 and B of TOCS §4.5.4, case by case, with f = 1.
func TestNewViewConditions(t *testing.T) {
	type set = []wire.PreparedEntry
	a1 := set{entry(1, digestA, 1)}
	for _, tc := range []struct {
		name string
		vcs  []*wire.ViewChange
		want []wire.Digest
		wait bool
	}{
		{"nothing prepared: an empty plan", []*wire.ViewChange{report(0, nil, nil), report(1, nil, nil), report(2, nil, nil)}, nil, false},
		{"too few view changes", []*wire.ViewChange{report(0, a1, a1), report(1, a1, a1)}, nil, true},
		{"prepared at one, pre-prepared at two", []*wire.ViewChange{report(0, a1, a1), report(1, nil, a1), report(2, nil, nil)}, []wire.Digest{digestA}, false},
		{"A2: prepared, it says, but nobody else pre-prepared it", []*wire.ViewChange{report(0, a1, a1), report(1, nil, nil), report(2, nil, nil)}, nil, true},
		{"B: the fourth report settles that it did not prepare", []*wire.ViewChange{report(0, a1, a1), report(1, nil, nil), report(2, nil, nil), report(3, nil, nil)}, []wire.Digest{wire.NullDigest}, false},
		{"A2: who pre-prepared another digest does not support it", []*wire.ViewChange{
			report(0, a1, a1), report(1, nil, set{entry(1, digestB, 1)}), report(2, nil, set{entry(1, digestB, 1)}),
		}, nil, true},
		{"A2 at view 0: another digest is no support there either", []*wire.ViewChange{
			report(0, set{entry(1, digestA, 0)}, set{entry(1, digestA, 0)}), report(1, nil, set{entry(1, digestB, 0)}), report(2, nil, nil),
		}, nil, true},
		{"A2: an older pre-prepare is no support", []*wire.ViewChange{
			report(0, set{entry(1, digestA, 3)}, set{entry(1, digestA, 3)}), report(1, nil, set{entry(1, digestA, 2)}), report(2, nil, nil),
		}, nil, true},
		{"A1: the certificate of the later view wins", []*wire.ViewChange{
			report(0, set{entry(1, digestA, 1)}, set{entry(1, digestA, 1)}),
			report(1, set{entry(1, digestB, 2)}, set{entry(1, digestA, 1), entry(1, digestB, 2)}),
			report(2, nil, set{entry(1, digestB, 2)}),
		}, []wire.Digest{digestB}, false},
		{"A1: a forged later certificate without support does not win, and blocks nothing once four reported", []*wire.ViewChange{
			report(0, set{entry(1, digestB, 8)}, set{entry(1, digestB, 8)}), report(1, a1, a1), report(2, a1, a1), report(3, a1, a1),
		}, []wire.Digest{digestA}, false},
		{"a hole below a prepared batch becomes null", []*wire.ViewChange{
			report(0, set{entry(2, digestA, 1)}, set{entry(2, digestA, 1)}), report(1, nil, set{entry(2, digestA, 1)}), report(2, nil, nil),
		}, []wire.Digest{wire.NullDigest, digestA}, false},
		{"the void ballot ranks above the proposal of its view", []*wire.ViewChange{
			report(0, a1, a1), report(1, set{void(1, 1)}, set{entry(1, digestA, 1), void(1, 1)}), report(2, nil, set{void(1, 1)}),
		}, []wire.Digest{wire.NullDigest}, false},
		{"a committed proposal survives a forged void certificate", []*wire.ViewChange{
			report(0, set{void(1, 1)}, set{void(1, 1)}), report(1, a1, a1), report(2, a1, a1), report(3, a1, a1),
		}, []wire.Digest{digestA}, false},
		{"a batch far beyond the window is nobody's", []*wire.ViewChange{
			report(0, set{entry(500, digestA, 1)}, set{entry(500, digestA, 1)}), report(1, nil, nil), report(2, nil, nil),
		}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, ok := computeNewView(tc.vcs, 1, 16)
			if ok == tc.wait || ok && !slices.Equal(plan.digests, tc.want) {
				t.Errorf("plan %v, decided: %t; want %v, decided: %t", plan.digests, ok, tc.want, !tc.wait)
			}
		})
	}
}

// The starting checkpoint (TOCS §4.5.4): f+1 have it, and 2f+1 are not beyond it.
func TestNewViewStart(t *testing.T) {
	at := func(from wire.ReplicaID, h wire.Seq, have ...wire.Seq) *wire.ViewChange {
		m := &wire.ViewChange{View: 9, Replica: from, Stable: h}
		for _, n := range have {
			m.Checkpoints = append(m.Checkpoints, wire.CheckpointRef{Seq: n})
		}
		return m
	}
	for _, tc := range []struct {
		name string
		vcs  []*wire.ViewChange
		want wire.Seq
		wait bool
	}{
		{"the highest that f+1 have", []*wire.ViewChange{at(0, 0, 0, 8), at(1, 0, 0, 8), at(2, 0, 0)}, 8, false},
		{"one replica's word is not enough", []*wire.ViewChange{at(0, 0, 0, 8), at(1, 0, 0), at(2, 0, 0)}, 0, false},
		{"2f+1 must not be beyond it", []*wire.ViewChange{at(0, 8, 8), at(1, 0, 0), at(2, 0, 0)}, 0, true},
		{"a laggard does not hold the others back", []*wire.ViewChange{at(0, 8, 8), at(1, 8, 8), at(2, 0, 0)}, 8, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start, ok := selectStart(tc.vcs, 1)
			if ok == tc.wait || start.Seq != tc.want {
				t.Errorf("start %d, decided: %t; want %d, decided: %t", start.Seq, ok, tc.want, !tc.wait)
			}
		})
	}
}

// naiveSelect is the text of TOCS §4.5.4 written down as literally as possible, to check the production code with.
func naiveSelect(vcs []*wire.ViewChange, f int, n wire.Seq) map[wire.Digest]bool {
	rank := func(e wire.PreparedEntry) uint64 {
		r := uint64(e.View) * 2
		if e.Void {
			r++
		}
		return r
	}
	chosen := map[wire.Digest]bool{}
	for _, m := range vcs {
		for _, e := range m.Prepared {
			if e.Seq != n {
				continue
			}
			a1 := 0
			for _, o := range vcs {
				holds := o.Stable < n
				for _, p := range o.Prepared {
					allowed := rank(p) < rank(e) || rank(p) == rank(e) && p.Digest == e.Digest
					if p.Seq == n && !allowed {
						holds = false
					}
				}
				if holds {
					a1++
				}
			}
			a2 := 0
			for _, o := range vcs {
				for _, q := range o.PrePrepared {
					if q.Seq == n && rank(q) >= rank(e) && q.Digest == e.Digest {
						a2++
						break
					}
				}
			}
			if a1 >= 2*f+1 && a2 >= f+1 {
				chosen[e.Digest] = true
			}
		}
	}
	if len(chosen) > 0 {
		return chosen
	}
	b := 0
	for _, m := range vcs {
		if m.Stable < n && !slices.ContainsFunc(m.Prepared, func(e wire.PreparedEntry) bool { return e.Seq == n }) {
			b++
		}
	}
	if b >= 2*f+1 {
		chosen[wire.NullDigest] = true
	}
	return chosen
}

func TestNewViewAgreesWithTheNaiveProcedure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.IntRange(1, 2).Draw(t, "f")
		n := rapid.IntRange(2*f+1, 3*f+1).Draw(t, "reports")
		digests := []wire.Digest{digestA, digestB, wire.NullDigest}
		draw := func(seq wire.Seq, label string) wire.PreparedEntry {
			e := entry(seq, rapid.SampledFrom(digests).Draw(t, label), wire.View(rapid.IntRange(0, 3).Draw(t, label+" view")))
			e.Void = e.Digest == wire.NullDigest && rapid.Bool().Draw(t, label+" void")
			return e
		}
		var vcs []*wire.ViewChange
		for i := range n {
			m := report(wire.ReplicaID(i), nil, nil)
			for seq := wire.Seq(1); seq <= 2; seq++ {
				if rapid.Bool().Draw(t, "prepared") {
					m.Prepared = append(m.Prepared, draw(seq, "p"))
				}
				for range rapid.IntRange(0, 2).Draw(t, "q") {
					m.PrePrepared = append(m.PrePrepared, draw(seq, "q"))
				}
			}
			vcs = append(vcs, m)
		}
		for seq := wire.Seq(1); seq <= 2; seq++ {
			got, ok := selectBatch(vcs, f, seq)
			want := naiveSelect(vcs, f, seq)
			if ok != (len(want) > 0) || ok && !want[got] {
				t.Fatalf("number %d: chose %v (decided: %t), the paper allows %v", seq, got, ok, want)
			}
		}
	})
}

// The order in which VIEW-CHANGEs are given must not matter: backups get them from the primary.
func TestNewViewDoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var vcs []*wire.ViewChange
		for i := range 4 {
			var p, q []wire.PreparedEntry
			if rapid.Bool().Draw(t, "p") {
				p = append(p, entry(1, rapid.SampledFrom([]wire.Digest{digestA, digestB}).Draw(t, "digest"), wire.View(rapid.IntRange(0, 2).Draw(t, "view"))))
				q = p
			}
			vcs = append(vcs, report(wire.ReplicaID(i), p, q))
		}
		one, ok1 := computeNewView(vcs, 1, 16)
		two, ok2 := computeNewView(rapid.Permutation(vcs).Draw(t, "order"), 1, 16)
		if ok1 != ok2 || fmt.Sprint(one) != fmt.Sprint(two) {
			t.Fatalf("%v (%t) and %v (%t)", one, ok1, two, ok2)
		}
	})
}
