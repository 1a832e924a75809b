package sim

import (
	"bfsd/replica/wire"
)

// promises is what one replica has said, over all its lives: a replica that keeps to the protocol never says the opposite
// later, and tells of everything that it voted for when it changes views (TOCS §4.5.2).
type promises struct {
	slots map[wire.Seq]*slotPromises
	left  wire.View // it asked to leave all views below
	top   wire.Seq
}

// slotPromises is what it said about one sequence number, in order of time.
type slotPromises struct {
	votes []promise
}

type promise struct {
	kind   wire.Kind // PRE-PREPARE, PREPARE or COMMIT
	view   wire.View
	digest wire.Digest
	void   bool // null, in a slot whose proposal was another: the ballot that voids it
}

func newPromises() promises { return promises{slots: make(map[wire.Seq]*slotPromises)} }

// says looks at a frame that a node's driver lets go.
func (c *checker) says(n *node, d departure) {
	if !n.trusted || d.msg == nil {
		return
	}
	switch m := d.msg.(type) {
	case *wire.PrePrepare:
		c.votes(n, wire.KindPrePrepare, m.View, m.Seq, m.BatchDigest())
		c.commits(n, m.View, m.Commits)
	case *wire.Prepare:
		c.votes(n, wire.KindPrepare, m.View, m.Seq, m.Digest)
		c.commits(n, m.View, m.Commits)
	case *wire.Commit:
		c.votes(n, wire.KindCommit, m.View, m.Seq, m.Digest)
	case *wire.Checkpoint:
		if m.Replica == n.id {
			c.ofHistory(n, "sends CHECKPOINT", m.Seq, m.Root)
		}
	case *wire.ViewChange:
		if m.Replica == n.id {
			c.leaves(n, m)
		}
	case *wire.Decided:
		for _, sv := range m.Batches {
			if want, known := c.decided[sv.Seq]; !known || want != sv.Digest {
				c.w.fail("r%d says DECIDED %v for batch %d, which was not", n.id, sv.Digest, sv.Seq)
			}
		}
	case *wire.Reply:
		c.replies(n, m)
	}
}

func (c *checker) commits(n *node, v wire.View, votes []wire.SlotVote) {
	for _, sv := range votes {
		c.votes(n, wire.KindCommit, v, sv.Seq, sv.Digest)
	}
}

// votes: in one view a replica votes for one batch in a slot; only null may come later, by the ballot (v, void), and only
// before a COMMIT for the batch.
func (c *checker) votes(n *node, kind wire.Kind, v wire.View, seq wire.Seq, d wire.Digest) {
	p := &c.nodes[n.id].promises
	if v < p.left && kind != wire.KindCommit {
		c.w.fail("r%d says %v in view %d for batch %d, but has asked to leave all views before %d", n.id, kind, v, seq, p.left)
	}
	s := p.slots[seq]
	if s == nil {
		s = &slotPromises{}
		p.slots[seq] = s
		p.top = max(p.top, seq)
	}
	vote := promise{kind: kind, view: v, digest: d}
	for i := range s.votes {
		switch old := &s.votes[i]; {
		case old.view != v:
		case old.kind == kind && old.digest == d:
			return
		case old.digest == d:
			vote.void = vote.void || old.void
		case d == wire.NullDigest && old.kind != wire.KindCommit:
			vote.void = true // the proposal was abandoned
		case old.void && kind == wire.KindPrePrepare:
			// a primary repeats its proposal to one that lacks it
		default:
			c.w.fail("r%d contradicts itself: %v for %v in batch %d, view %d, after %v for %v", n.id, kind, d, seq, v, old.kind, old.digest)
		}
	}
	s.votes = append(s.votes, vote)
}

// leaves: a VIEW-CHANGE tells of every COMMIT in P, and of every vote in Q.
func (c *checker) leaves(n *node, m *wire.ViewChange) {
	p := &c.nodes[n.id].promises
	p.left = max(p.left, m.View)
	for seq := m.Stable + 1; seq <= p.top; seq++ {
		s := p.slots[seq]
		if s == nil {
			continue
		}
		for i := range s.votes {
			if v := &s.votes[i]; v.view < m.View && !told(m, seq, v) {
				c.w.fail("r%d forgets in its VIEW-CHANGE for view %d what it said: %v for %v in batch %d, view %d", n.id, m.View, v.kind, v.digest, seq, v.view)
				return
			}
		}
	}
}

// digestsTold is how many digests of one slot a VIEW-CHANGE may tell of at most: older ones may be left out.
const digestsTold = 4

func told(m *wire.ViewChange, seq wire.Seq, v *promise) bool {
	if v.kind == wire.KindCommit {
		for _, e := range m.Prepared {
			if e.Seq == seq {
				return e.View > v.view || e.View == v.view && (e.Digest == v.digest || e.Void && !v.void)
			}
		}
		return false
	}
	count := 0
	for _, e := range m.PrePrepared {
		if e.Seq != seq {
			continue
		}
		if count++; e.Digest == v.digest && e.View >= v.view {
			return true
		}
	}
	return count >= digestsTold
}

// replies: a final reply is what the agreed history says.
func (c *checker) replies(n *node, m *wire.Reply) {
	if m.Tentative || m.ReadOnly {
		return
	}
	id := requestID{slotID{m.Client, m.Slot}, m.Number}
	switch o, known := c.outcomes[id]; {
	case !known:
		c.w.fail("r%d replies to %v, which no trusted replica has committed", n.id, id)
	case o.digest != m.Digest:
		c.w.fail("r%d replies to %v with digest %v, the model says %v", n.id, id, m.Digest, o.digest)
	}
}
