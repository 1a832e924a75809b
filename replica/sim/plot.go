package sim

import (
	"math/rand/v2"

	"bfsd/replica/wire"
)

// plot is what the traitors of a world agree on, so that their lies support each other: f liars with f different lies
// are harmless.
type plot struct {
	w     *world
	rng   *rand.Rand
	twins map[ballot]*twin
	order []ballot // of twins, oldest first
}

type ballot struct {
	view wire.View
	seq  wire.Seq
}

// twin is an equivocation: two proposals for one slot, and who gets which.
type twin struct {
	digests [2]wire.Digest
	frames  [2][]byte
	side    []int // by replica
}

func newPlot(w *world) *plot {
	return &plot{w: w, rng: stream(w.plan.secret, streamNodes-1), twins: make(map[ballot]*twin)}
}

// lie is the digest that traitors pretend for a slot: that of an equivocation there, or one that nothing has.
func (p *plot) lie(seq wire.Seq) wire.Digest {
	for i := len(p.order) - 1; i >= 0; i-- {
		if b := p.order[i]; b.seq == seq {
			return p.twins[b].digests[1]
		}
	}
	return wire.ResultDigest([]byte{'l', 'i', 'e', byte(seq), byte(seq >> 8)})
}

// propose spreads an equivocation: the smaller side gets as many replicas as leave the traitors one short of two quorums.
func (p *plot) propose(b ballot, t *twin) {
	t.side = make([]int, p.w.plan.n)
	fooled := p.w.plan.f
	if p.rng.IntN(3) == 0 {
		fooled = p.rng.IntN(p.w.plan.n)
	}
	for _, i := range p.rng.Perm(p.w.plan.n) {
		if p.w.nodes[i].traitor == nil && fooled > 0 {
			t.side[i] = 1
			fooled--
		}
	}
	p.twins[b] = t
	p.order = append(p.order, b)
	p.w.tracef("plot: two proposals for v%d n%d, %v and %v, to %v", b.view, b.seq, t.digests[0], t.digests[1], t.side)
	for _, n := range p.w.nodes {
		if n.traitor != nil && n.up {
			n.traitor.backTwin(b, t)
		}
	}
}

// backTwin votes for both proposals, each towards those who have it.
func (t *traitor) backTwin(b ballot, tw *twin) {
	for i := range t.n.w.plan.n {
		to := wire.ReplicaID(i)
		if to == t.n.id {
			continue
		}
		d := tw.digests[tw.side[i]]
		if t.n.id != wire.ReplicaID(uint64(b.view)%uint64(t.n.w.plan.n)) {
			t.say(to, &wire.Prepare{View: b.view, Seq: b.seq, Digest: d, Replica: t.n.id})
		}
		t.say(to, &wire.Commit{View: b.view, Seq: b.seq, Digest: d, Replica: t.n.id})
	}
}
