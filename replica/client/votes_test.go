package client

import (
	"testing"

	"pgregory.net/rapid"

	"bfsd/replica/wire"
)

// decidedNaively is the definition: some 2f+1 of the votes, tried one subset after the other, agree on the digest, and
// those of them that are tentative on the view and the number.
func decidedNaively(votes []vote, quorum int) map[wire.Digest]bool {
	digests := map[wire.Digest]bool{}
	for subset := range 1 << len(votes) {
		size, agree := 0, true
		var first, firstTentative *vote
		for i := range votes {
			if subset>>i&1 == 0 {
				continue
			}
			v := &votes[i]
			size++
			if first == nil {
				first = v
			}
			agree = agree && v.cast && v.Digest == first.Digest
			if v.Tentative {
				if firstTentative == nil {
					firstTentative = v
				}
				agree = agree && v.View == firstTentative.View && v.Seq == firstTentative.Seq
			}
		}
		if size == quorum && agree {
			digests[first.Digest] = true
		}
	}
	return digests
}

func TestDecidedIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.IntRange(0, 3).Draw(t, "f")
		var v votes
		v.init(3*f + 1)
		for i := range v.ordered {
			if rapid.IntRange(0, 5).Draw(t, "cast") > 0 {
				v.ordered[i] = vote{true, wire.Reply{
					Tentative: rapid.Bool().Draw(t, "tentative"),
					View:      wire.View(rapid.IntRange(0, 1).Draw(t, "view")),
					Seq:       wire.Seq(rapid.IntRange(0, 1).Draw(t, "seq")),
					Digest:    wire.Digest{byte(rapid.IntRange(0, 5).Draw(t, "digest") / 5)},
				}}
			}
		}
		want := decidedNaively(v.ordered, 2*f+1)
		got, ok := v.decided(2*f + 1)
		if ok != (len(want) > 0) || ok && !want[got] {
			t.Fatalf("decided gives %v, %v; by the definition it is one of %v, in %+v", got, ok, want, v.ordered)
		}
	})
}

func TestWhatMakesAResultBelieved(t *testing.T) {
	x, y := wire.Digest{'x'}, wire.Digest{'y'}
	tentative := func(d wire.Digest, view wire.View) vote {
		return vote{true, wire.Reply{Tentative: true, View: view, Digest: d}}
	}
	at := func(v vote, seq wire.Seq) vote { v.Seq = seq; return v }
	committed := func(d wire.Digest) vote { return vote{true, wire.Reply{View: 9, Digest: d}} }
	for _, tc := range []struct {
		name          string
		isRead        bool
		ordered, read []vote
		want          bool
	}{
		{"three tentative of one view", false, []vote{tentative(x, 1), {}, tentative(x, 1), tentative(x, 1)}, nil, true},
		{"three tentative of two views", false, []vote{tentative(x, 1), {}, tentative(x, 2), tentative(x, 1)}, nil, false},
		{"three tentative of two numbers", false, []vote{at(tentative(x, 1), 5), {}, at(tentative(x, 1), 6), at(tentative(x, 1), 5)}, nil, false},
		{"unordered, tentative, of one state", true, nil, []vote{at(tentative(x, 1), 5), {}, at(tentative(x, 1), 5), at(tentative(x, 1), 5)}, true},
		{"unordered, tentative, of two states", true, nil, []vote{at(tentative(x, 1), 5), {}, at(tentative(x, 1), 6), at(tentative(x, 1), 5)}, false},
		{"unordered, tentative, of two views", true, nil, []vote{at(tentative(x, 1), 5), {}, at(tentative(x, 2), 5), at(tentative(x, 1), 5)}, false},
		{"unordered, one of the same state committed", true, nil, []vote{at(tentative(x, 1), 5), {}, at(committed(x), 5), at(tentative(x, 1), 5)}, true},
		{"unordered, one of another state committed", true, nil, []vote{at(tentative(x, 1), 5), {}, at(committed(x), 4), at(tentative(x, 1), 5)}, false},
		{"unordered, committed, of three states", true, nil, []vote{at(committed(x), 6), {}, at(committed(x), 5), at(committed(x), 4)}, true},
		{"committed ones match any view", false, []vote{tentative(x, 1), {}, committed(x), committed(x)}, nil, true},
		{"two committed are not enough", false, []vote{committed(x), {}, {}, committed(x)}, nil, false},
		{"two and one that differs", false, []vote{committed(x), committed(y), {}, committed(x)}, nil, false},
		{"three unordered to a reading", true, nil, []vote{committed(x), committed(x), committed(x)}, true},
		{"three unordered to a write", false, nil, []vote{committed(x), committed(x), committed(x)}, false},
		{"ordered and unordered mixed", true, []vote{committed(x), {}, {}, {}}, []vote{{}, committed(x), committed(x), {}}, false},
	} {
		var v votes
		v.init(4)
		v.reset(tc.isRead)
		copy(v.ordered, tc.ordered)
		copy(v.reads, tc.read)
		for i := range v.reads {
			v.reads[i].ReadOnly = true
		}
		if got, ok := v.decided(3); ok != tc.want || ok && got != x {
			t.Errorf("%s: decided %v, %v, want %v", tc.name, got, ok, tc.want)
		}
	}
}

func TestALiarCannotCrowdOutTheResult(t *testing.T) {
	var v votes
	v.init(4)
	for i := range 1000 {
		lie := []byte{byte(i), byte(i >> 8)}
		v.add(&wire.Reply{Replica: 3, Full: true, Result: lie, Digest: wire.ResultDigest(lie)})
	}
	truth := []byte("truth")
	for i := range wire.ReplicaID(3) {
		v.add(&wire.Reply{Replica: i, Full: i == 2, Result: map[bool][]byte{true: truth}[i == 2], Digest: wire.ResultDigest(truth)})
	}
	digest, ok := v.decided(3)
	if got, known := v.result(digest); !ok || !known || string(got) != "truth" {
		t.Fatalf("got %q (decided %v, known %v)", got, ok, known)
	}
	v.add(&wire.Reply{Replica: 2, Digest: digest}) // the digest again does not take the result back
	if _, known := v.result(digest); !known {
		t.Fatal("the result was forgotten")
	}
}
