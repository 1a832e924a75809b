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

	victims []bool        // f correct replicas that they pick on
	victim  wire.ClientID // the client that they pick on

	// The coup: after an equivocation the traitors say nothing more until the others have left that view.
	coup bool
	over wire.View
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
	p := &plot{w: w, rng: stream(w.plan.secret, streamNodes-1), twins: make(map[ballot]*twin)}
	p.victim = wire.ClientID(clientBase + p.rng.IntN(w.plan.clients))
	p.victims = make([]bool, w.plan.n)
	left := w.plan.f
	for _, i := range p.rng.Perm(w.plan.n) {
		if left > 0 && !w.plan.isTraitor(wire.ReplicaID(i)) {
			p.victims[i] = true
			left--
		}
	}
	return p
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
	for _, n := range p.w.nodes {
		if n.traitor != nil && n.traitor.has[plotting] && p.rng.IntN(4) > 0 {
			p.coup, p.over = true, b.view
			n.alive(p.rng.Int64N(20*millisecond), func() { n.traitor.defect(b.view + 1) })
		}
	}
}

// claim is the entry of a VIEW-CHANGE that serves the plot best: the other proposal of an equivocation, in the view of
// that.
func (p *plot) claim(seq wire.Seq, v wire.View) wire.PreparedEntry {
	for i := len(p.order) - 1; i >= 0; i-- {
		if b := p.order[i]; b.seq == seq && b.view < v {
			return wire.PreparedEntry{Seq: seq, Digest: p.twins[b].digests[min(1, p.rng.IntN(4))], View: b.view}
		}
	}
	return wire.PreparedEntry{Seq: seq, Digest: p.lie(seq), View: v - 1}
}

// hushed says whether a coup is on, in which case a traitor's message does not leave: only what concerns views does.
func (p *plot) hushed(n *node, m wire.Message) bool {
	if !p.coup || m == nil {
		return false
	}
	if n.core.Info().View > p.over {
		p.coup = false
		return false
	}
	switch m.(type) {
	case *wire.ViewChange, *wire.NewView:
		return false
	}
	return true
}

// defect asks for a view before anybody else does, so that the new primary is sure to count it, and claims that the other
// proposal of every equivocation was prepared.
func (t *traitor) defect(v wire.View) {
	info := t.n.core.Info()
	m := &wire.ViewChange{View: v, Stable: info.Low, Checkpoints: []wire.CheckpointRef{info.Stable}, Replica: t.n.id}
	if info.Stable.Seq != info.Low {
		return
	}
	for seq := info.Low + 1; seq <= info.High; seq++ {
		for _, b := range t.n.w.plot.order {
			if b.seq == seq && b.view < v {
				m.Prepared = append(m.Prepared, wire.PreparedEntry{Seq: seq, Digest: t.n.w.plot.twins[b].digests[1], View: b.view})
				break
			}
		}
	}
	m.PrePrepared = m.Prepared
	t.sayAll(m)
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
