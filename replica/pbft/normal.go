package pbft

import (
	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// orderState is the state of the three-phase protocol outside of the slots.
type orderState struct {
	next       wire.Seq        // primary: the next sequence number to propose
	newest     wire.Seq        // the highest sequence number proposed in this view, as far as I know
	queue      []*clientSlot   // primary: FIFO of slots with a request to order
	incomplete []wire.Seq      // slots that lack content or authenticity
	peer       int             // whom fetchMissing asked last
	late       int64           // how long after their proposal requests come lately (contents.go)
	fence      wire.Seq        // the last slot whose proposal in this view I abandoned
	held       []wire.SlotVote // my COMMITs that wait for a message to ride on
}

// enqueue puts a slot's pending request into the primary's queue.
func (c *Core) enqueue(cs *clientSlot) {
	if cs.queued || cs.pending == nil || cs.pending.Number <= cs.proposed {
		return
	}
	if cs.suspect && !cs.awaits(cs.pending) {
		return // its authenticators do not convince everybody: wait for a quorum of vouchers (doubt.go)
	}
	cs.queued = true
	c.order.queue = append(c.order.queue, cs)
}

// inFlight counts the batches that I proposed and have not executed.
func (c *Core) inFlight() int {
	if !c.isPrimary() || c.order.next <= c.exec.last {
		return 0
	}
	return int(c.order.next - 1 - c.exec.last)
}

// propose orders what is in the queue: at once when the system is idle, else as batches in flight complete, so that the
// queue gathers larger batches exactly when there is load (TOCS §6.1).
func (c *Core) propose(out *Effects) {
	for c.isPrimary() && len(c.order.queue) > 0 && c.inFlight() < c.cfg.BatchWindow && c.mayPropose() {
		reqs, inline := c.cutBatch()
		if len(reqs) == 0 {
			return
		}
		c.proposeBatch(reqs, inline, out)
	}
}

// mayPropose says whether the next number is mine to propose for.
func (c *Core) mayPropose() bool { return c.window.contains(c.order.next) && c.mayVote(c.order.next) }

// proposeBatch proposes requests, perhaps none, for the next number.
func (c *Core) proposeBatch(reqs []*wire.Request, inline []bool, out *Effects) {
	seq := c.order.next
	c.order.next++
	c.order.newest = max(c.order.newest, seq)
	pp := wire.NewPrePrepare(c.view, seq, c.me, c.cfg.Propose(c.now), reqs, inline)
	pp.Commits = c.takeHeld()
	s := c.window.slot(seq)
	c.setProposal(s, pp.BatchDigest())
	b := c.addContent(s, s.digest, pp.Content(), pp.Batch())
	for i, r := range reqs {
		b.put(i, r, true)
		c.bodies.holdInBatch(r, true)
	}
	c.accept(s, b, out)
	out.add(Broadcast{Msg: pp})
	c.checkPrepared(s, out)
}

// cutBatch takes requests off the queue.
func (c *Core) cutBatch() (reqs []*wire.Request, inline []bool) {
	size, taken := 0, 0
	for _, cs := range c.order.queue {
		if cs.pending == nil {
			cs.queued = false
			taken++
			continue
		}
		r := cs.candidate(c.cfg.weak())
		if r.Number <= cs.last || r.Number <= cs.proposed {
			cs.queued = false
			taken++
			continue
		}
		byDigest := r.Large(c.cfg.InlineBytes)
		if len(reqs) > 0 && (len(reqs) == c.cfg.BatchRequests || size+r.Size() > c.cfg.BatchBytes) {
			break
		}
		size += r.Size()
		reqs, inline = append(reqs, r), append(inline, !byDigest)
		cs.proposed, cs.queued = r.Number, false
		taken++
	}
	c.order.queue = append(c.order.queue[:0], c.order.queue[taken:]...)
	return reqs, inline
}

// setProposal makes a digest the proposal of this view for a slot.
func (c *Core) setProposal(s *slot, d wire.Digest) {
	s.proposed, s.digest, s.since = true, d, c.now
	s.fetchAt, s.asks = c.now+c.cfg.FetchDelay+c.order.late, 0
}

// onPrePrepare is TOCS §4.3: a backup accepts the primary's proposal if it is in the view, between the water marks, and
// the first for its sequence number.
func (c *Core) onPrePrepare(m *wire.PrePrepare, v auth.Verified, out *Effects) {
	if !c.active || m.View != c.view || m.Replica != c.primary(c.view) || m.Replica == c.me {
		return
	}
	for _, sv := range m.Commits {
		c.onCommit(m.Replica, m.View, sv.Seq, sv.Digest, out)
	}
	if !c.window.contains(m.Seq) {
		return
	}
	s := c.window.slot(m.Seq)
	d := m.BatchDigest()
	if !c.fits(m.Batch().Requests, m.Requests()) {
		c.trace(TraceBadProposal, m.Seq, d, m.Replica, out)
		return
	}
	if s.proposed && s.digest != d {
		c.trace(TraceEquivocation, m.Seq, d, m.Replica, out)
		return
	}
	if !s.proposed {
		if err := c.cfg.Check(m.Choice, c.now); err != nil {
			if !c.rejoin.doubt && m.Seq > c.Ahead() { // else it is sent again, long after others took it
				c.trace(TraceBadChoice, m.Seq, d, m.Replica, out)
			}
			return
		}
		c.setProposal(s, d)
		c.order.newest = max(c.order.newest, m.Seq)
		cast(s.prepares, m.Replica, m.View, d) // the pre-prepare counts as the primary's prepare
	}
	if !s.accepted {
		b := c.addContent(s, d, m.Content(), m.Batch())
		for i, r := range m.Requests() {
			if r != nil {
				b.put(i, r, v.Authentic(i))
				c.bodies.holdInBatch(r, v.Authentic(i))
			}
		}
		c.tryAccept(s, out)
		c.noteIncomplete(s)
	}
	c.tryExecute(out)
}

// fits says whether a batch keeps to the configured bounds, which are all that bounds the log's memory. Bodies that are not
// there yet are counted when they arrive (batch.put).
func (c *Core) fits(digests []wire.Digest, requests []*wire.Request) bool {
	size := 0
	for _, r := range requests {
		if r != nil {
			size += r.Size()
		}
	}
	return len(digests) == 1 || len(digests) <= c.cfg.BatchRequests && size <= c.cfg.BatchBytes
}

// tryAccept accepts a proposal when all its requests are there and authentic.
func (c *Core) tryAccept(s *slot, out *Effects) {
	if !c.active || !s.proposed || s.accepted || s.abandoned || !c.mayVote(s.seq) {
		return
	}
	b, known := s.content(s.digest)
	if !known || b != nil && !c.fill(b) {
		return
	}
	if b != nil && !c.credible(s, b, out) {
		return
	}
	c.accept(s, b, out)
	if c.primary(c.view) != c.me {
		m := &wire.Prepare{View: c.view, Seq: s.seq, Digest: s.digest, Replica: c.me, Commits: c.takeHeld()}
		out.add(Broadcast{Msg: m})
	}
	c.checkPrepared(s, out)
}

// credible says whether every request in a proposal comes from its client: my MAC is right, or f+1 replicas vouch for it,
// by VOUCH or by having pre-prepared the batch (TOCS §4.3).
func (c *Core) credible(s *slot, b *batch, out *Effects) bool {
	if s.planned || count(s.prepares, c.view, s.digest) >= c.cfg.weak() {
		return true
	}
	for i, r := range b.requests {
		if b.authentic[i] {
			continue
		}
		cs := c.clients.get(r.Client, r.Slot)
		if cs != nil && cs.vouchers(r.Number, r.Digest()) >= c.cfg.weak() {
			continue
		}
		if !s.doubting {
			s.doubting = true
			c.trace(TraceUnauthentic, s.seq, b.digests[i], c.primary(c.view), out)
		}
		return false
	}
	return true
}

// accept makes a proposal pre-prepared: recorded before the vote for it leaves.
func (c *Core) accept(s *slot, b *batch, out *Effects) {
	s.accepted, s.doubting = true, false
	s.enterQ(wire.PreparedEntry{Seq: s.seq, Digest: s.digest, View: c.view})
	c.persist(s.seq, func() []byte { return acceptRecord(s, c.view, b) }, out)
	cast(s.prepares, c.me, c.view, s.digest)
}

func (c *Core) onPrepare(m *wire.Prepare, out *Effects) {
	for _, sv := range m.Commits {
		c.onCommit(m.Replica, m.View, sv.Seq, sv.Digest, out)
	}
	if !c.window.contains(m.Seq) || m.View < c.view {
		return
	}
	if m.Replica == c.primary(m.View) && m.Digest != wire.NullDigest {
		return // its pre-prepare is its vote
	}
	s := c.window.slot(m.Seq)
	if m.Digest == wire.NullDigest && cast(s.voidPreps, m.Replica, m.View, m.Digest) && m.View == c.view {
		c.checkVoid(s, out) // in a planned slot the ballot never opens, and the vote counts below
	}
	if !cast(s.prepares, m.Replica, m.View, m.Digest) || m.View != c.view || !c.active {
		return
	}
	if m.Seq > c.order.newest && count(s.prepares, c.view, m.Digest) >= c.cfg.weak() {
		c.order.newest = m.Seq
	}
	c.tryAccept(s, out)
	c.checkPrepared(s, out)
	c.tryExecute(out)
}

// checkPrepared looks for a prepared certificate: the pre-prepare and 2f matching prepares of different backups (TOCS §4.3).
func (c *Core) checkPrepared(s *slot, out *Effects) {
	if !c.active || !s.accepted || s.prepared || s.abandoned || count(s.prepares, c.view, s.digest) < c.cfg.quorum() {
		return
	}
	s.prepared = true
	s.enterP(wire.PreparedEntry{Seq: s.seq, Digest: s.digest, View: c.view})
	c.persist(s.seq, func() []byte { return preparedRecord(s.p) }, out)
	c.trace(TracePrepared, s.seq, s.digest, c.me, out)
	cast(s.commits, c.me, c.view, s.digest)
	c.sendCommit(s, out)
	c.checkCommitted(s, c.view, s.digest, out)
}

// sendCommit lets my COMMIT ride on my next message of the normal case (TOCS §5). Waiting costs no latency that a client sees:
// what prepared executes tentatively, and is read tentatively. The next Tick flushes what found no ride.
func (c *Core) sendCommit(s *slot, out *Effects) {
	if c.cfg.NoPiggyback || c.cfg.NoTentative || len(c.reads) > 0 {
		out.add(Broadcast{Msg: &wire.Commit{View: c.view, Seq: s.seq, Digest: s.digest, Replica: c.me}})
		return
	}
	c.order.held = append(c.order.held, wire.SlotVote{Seq: s.seq, Digest: s.digest})
	if len(c.order.held) >= min(c.cfg.BatchWindow, wire.MaxVotes) {
		c.flushCommits(out)
	}
}

func (c *Core) takeHeld() []wire.SlotVote {
	held := c.order.held
	c.order.held = nil
	return held
}

func (c *Core) flushCommits(out *Effects) {
	for _, sv := range c.takeHeld() {
		out.add(Broadcast{Msg: &wire.Commit{View: c.view, Seq: sv.Seq, Digest: sv.Digest, Replica: c.me}})
	}
}

func (c *Core) onCommit(from wire.ReplicaID, v wire.View, seq wire.Seq, d wire.Digest, out *Effects) {
	if !c.window.contains(seq) {
		return
	}
	s := c.window.slot(seq)
	if d == wire.NullDigest && cast(s.voidCom, from, v, d) {
		c.checkVoidCommitted(s, v, out)
	}
	if cast(s.commits, from, v, d) {
		c.checkCommitted(s, v, d, out)
	}
	c.tryExecute(out)
}

// checkCommitted looks for 2f+1 matching commits (TOCS §4.3). They prove that f+1 correct replicas prepared the batch in
// that view, so it has committed, whether or not I prepared it and whatever view I am in.
func (c *Core) checkCommitted(s *slot, v wire.View, d wire.Digest, out *Effects) {
	if !s.decided && count(s.commits, v, d) >= c.cfg.quorum() {
		c.decide(s, d, TraceCommitted, out)
	}
}

// decide fixes the outcome of a slot.
func (c *Core) decide(s *slot, d wire.Digest, how TraceEvent, out *Effects) {
	s.decided, s.decision = true, d
	if how == TraceAdopted && s.asks == 0 {
		s.fetchAt = c.now // nobody will send the content by himself
	}
	c.trace(how, s.seq, d, c.me, out)
	c.noteIncomplete(s)
}
