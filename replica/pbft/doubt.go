package pbft

import (
	"math/bits"

	"bfsd/replica/wire"
)

// A faulty client can give a request MACs that convince the primary and too few backups (the "big MAC" attack, Clement
// et al., "Making Byzantine Fault Tolerant Systems Tolerate Byzantine Faults", NSDI '09). The papers' protocol then
// stands still until a view change. Here the proposal is voided in its own view:
//
//  1. A backup that cannot authenticate a request, and has waited DoubtDelay for vouchers, sends ABANDON(v, n): it has
//     not prepared the proposal and never will in v. A replica that has not prepared joins when f+1 others abandon: one
//     of them is correct.
//  2. With 2f+1 ABANDONs the ballot (v, void) opens: null is pre-prepared (a Q entry), PREPARE(v, n, null) goes out.
//  3. 2f+1 of those make null prepared (a P entry), COMMIT(v, n, null) goes out; 2f+1 of those commit null.
//  4. The primary orders the batch's other requests again, and the doubted request's client, from now on, only what a
//     quorum vouches for.
//
// Why it is safe: (v, void) is a ballot above v and below v+1, led by nobody because its value is fixed. Null can be
// pre-prepared in it only after a quorum promised not to prepare the proposal d; d's certificate needs a quorum of
// COMMITs (and a tentative reply a quorum of prepared replicas), which would share a correct replica with it. So if d
// committed at v, no correct replica has a Q entry for null at (v, void), and condition A2 refuses null; if null
// committed at (v, void), every quorum of VIEW-CHANGEs holds its P entry, which ranks above d's (ballotLess), and A1
// refuses d. Slots that a NEW-VIEW planned are never doubted: f+1 pre-prepares vouch for them.
//
// Tentative replies need more, because a replica may have prepared d, executed it tentatively, and go on while the others
// void n. Two things make 2f+1 tentative replies of one view and one sequence number m (wire.Reply) agree with what commits:
// a replica that abandoned n executes nothing tentatively until n has committed at it (the fence), and replies of different
// numbers do not match. For let n be the last slot up to m that a quorum abandoned. Among the 2f+1 that reply there is a
// correct one of that quorum. Its state had committed up to n, and above n nothing is voided up to m, so its result is right;
// and those that reply prepared m itself, which can therefore not be voided.

// checkDoubts abandons the proposals that have waited long enough for vouchers.
func (c *Core) checkDoubts(out *Effects) {
	for _, seq := range c.order.incomplete {
		s := c.window.peek(seq)
		if s == nil || !s.doubting || s.accepted || s.abandoned || !c.active || c.now-s.since < c.cfg.DoubtDelay {
			continue
		}
		b, _ := s.content(s.digest)
		if b == nil {
			continue
		}
		var doubted []wire.Digest
		for i, ok := range b.authentic {
			if !ok {
				doubted = append(doubted, b.digests[i])
			}
		}
		c.abandon(s, doubted, out)
	}
}

// abandon promises not to prepare a slot's proposal in this view.
func (c *Core) abandon(s *slot, doubted []wire.Digest, out *Effects) {
	if s.abandoned || s.prepared || s.decided || !c.mayVote(s.seq) {
		return
	}
	s.abandoned = true
	c.order.fence = max(c.order.fence, s.seq)
	c.persist(s.seq, func() []byte { return abandonRecord(c.view, s.seq) }, out)
	m := &wire.Abandon{View: c.view, Seq: s.seq, Digest: s.digest, Replica: c.me, Doubted: doubted}
	out.add(Broadcast{Msg: m})
	c.onAbandon(m, out)
}

func (c *Core) onAbandon(m *wire.Abandon, out *Effects) {
	if !c.window.contains(m.Seq) || m.View < c.view {
		return
	}
	s := c.window.slot(m.Seq)
	if !cast(s.abandons, m.Replica, m.View, wire.NullDigest) {
		return
	}
	c.recordDoubts(s, m)
	if m.View != c.view || !c.active || s.planned {
		return
	}
	abandons := count(s.abandons, c.view, wire.NullDigest)
	if abandons >= c.cfg.weak() {
		c.abandon(s, nil, out)
	}
	c.openVoid(s, out)
}

// recordDoubts counts who doubts a request of my proposal.
func (c *Core) recordDoubts(s *slot, m *wire.Abandon) {
	if !c.isPrimary() || m.View != c.view {
		return
	}
	b, _ := s.content(s.digest)
	if b == nil {
		return
	}
	for _, d := range m.Doubted {
		for i := range b.digests {
			if b.digests[i] == d && b.requests[i] != nil {
				if b.doubters == nil {
					b.doubters = make([]uint64, len(b.digests))
				}
				b.doubters[i] |= 1 << m.Replica
			}
		}
	}
}

// openVoid opens the ballot (v, void) once a quorum has abandoned the proposal, me included.
func (c *Core) openVoid(s *slot, out *Effects) {
	if s.voidOpen || !s.abandoned || count(s.abandons, c.view, wire.NullDigest) < c.cfg.quorum() {
		return
	}
	s.voidOpen = true
	e := wire.PreparedEntry{Seq: s.seq, Digest: wire.NullDigest, View: c.view, Void: true}
	s.enterQ(e)
	c.persist(s.seq, func() []byte { return voidRecord(e) }, out)
	c.trace(TraceAbandoned, s.seq, s.digest, c.me, out)
	cast(s.voidPreps, c.me, c.view, wire.NullDigest)
	if c.isPrimary() {
		c.reorder(s)
	}
	out.add(Broadcast{Msg: &wire.Prepare{View: c.view, Seq: s.seq, Digest: wire.NullDigest, Replica: c.me}})
	c.checkVoid(s, out)
}

// reorder puts the requests of a voided proposal back into the queue, and marks the clients whose authenticators failed.
func (c *Core) reorder(s *slot) {
	b, _ := s.content(s.digest)
	if b == nil {
		return
	}
	for i, r := range b.requests {
		cs := c.clients.get(r.Client, r.Slot)
		if cs == nil {
			continue
		}
		if b.doubters != nil && bits.OnesCount64(b.doubters[i]) >= c.cfg.weak() {
			c.suspect(r.Client)
		}
		if cs.proposed == r.Number {
			cs.proposed = 0
		}
	}
	for _, r := range b.requests {
		if cs := c.clients.get(r.Client, r.Slot); cs != nil {
			c.enqueue(cs)
		}
	}
}

// suspect marks every slot of a client.
func (c *Core) suspect(id wire.ClientID) {
	if row, ok := c.clients.index[id]; ok {
		for j := range c.clients.rows[row] {
			c.clients.rows[row][j].suspect = true
		}
	}
}

// checkVoid looks for 2f+1 PREPAREs for null in the void ballot.
func (c *Core) checkVoid(s *slot, out *Effects) {
	if c.active && s.voidOpen && !s.voided && count(s.voidPreps, c.view, wire.NullDigest) >= c.cfg.quorum() {
		s.voided = true
		e := wire.PreparedEntry{Seq: s.seq, Digest: wire.NullDigest, View: c.view, Void: true}
		s.enterP(e)
		c.persist(s.seq, func() []byte { return preparedRecord(e) }, out)
		cast(s.voidCom, c.me, c.view, wire.NullDigest)
		out.add(Broadcast{Msg: &wire.Commit{View: c.view, Seq: s.seq, Digest: wire.NullDigest, Replica: c.me}})
	}
}

// checkVoidCommitted decides null with a quorum of commits for it.
func (c *Core) checkVoidCommitted(s *slot, v wire.View, out *Effects) {
	if !s.decided && count(s.voidCom, v, wire.NullDigest) >= c.cfg.quorum() {
		c.decide(s, wire.NullDigest, TraceCommitted, out)
	}
}

// resendVoid sends my part in voiding a slot again.
func (c *Core) resendVoid(to wire.ReplicaID, s *slot, out *Effects) {
	if s.abandoned && !s.decided {
		c.send(to, &wire.Abandon{View: c.view, Seq: s.seq, Digest: s.digest, Replica: c.me}, out)
	}
	if s.voidOpen {
		c.send(to, &wire.Prepare{View: c.view, Seq: s.seq, Digest: wire.NullDigest, Replica: c.me}, out)
	}
	if s.voided {
		c.send(to, &wire.Commit{View: c.view, Seq: s.seq, Digest: wire.NullDigest, Replica: c.me}, out)
	}
}
