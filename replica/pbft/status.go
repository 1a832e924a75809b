package pbft

import "bfsd/replica/wire"

// statusState drives retransmission: nothing is acknowledged, but a replica that lacks something says what it has, and the
// others send the rest again (the thesis, §5.2 "message retransmission").
type statusState struct {
	last        int64        // when I sent STATUS
	fetched     int64        // when I asked for missing contents
	progress    int64        // when the committed point last moved
	answered    []int64      // by peer: when I answered its STATUS
	heard       []peerStatus // by peer: the last STATUS
	contact     []int64      // by peer: when any message came from it
	served      []int        // by peer: what its FETCH-REQUESTs cost since servedSince
	servedSince int64
	badRecords  int // records that recovery could not read
}

type peerStatus struct {
	said     bool
	view     wire.View
	executed wire.Seq
}

// retransmitted bounds the answer to one STATUS.
const (
	retransmittedSlots = 32
	retransmittedBytes = 2 << 20
)

// tickStatus sends STATUS: at the interval while something is missing, else now and then, so that a replica that missed
// everything learns of it.
func (c *Core) tickStatus(out *Effects) {
	interval := c.cfg.StatusInterval
	if !c.lacking() {
		interval *= int64(c.cfg.IdleStatusEvery)
	}
	if c.now-c.status.last >= interval {
		c.sendStatus(out)
	}
}

// lacking says whether I wait for anything from my peers.
func (c *Core) lacking() bool {
	if !c.active || c.fetch.active || c.rejoin.doubt || c.exec.committed < c.order.newest || len(c.order.incomplete) > 0 || len(c.timer.waiting) > 0 {
		return true
	}
	for i := range c.status.heard {
		if c.status.heard[i].executed > c.exec.committed || c.status.heard[i].view > c.view {
			return true
		}
	}
	return len(c.ckpt.mine) > 0 && c.ckpt.mine[0].sent // not stable yet
}

func (c *Core) sendStatus(out *Effects) {
	c.status.last = c.now
	size := (len(c.window.slots) + 7) / 8
	m := &wire.Status{
		Replica: c.me, View: c.view, Active: c.active, Stable: c.window.low, Executed: c.exec.committed,
		PrePrepared: make([]byte, size), Prepared: make([]byte, size), Committed: make([]byte, size),
	}
	for i := range wire.Seq(len(c.window.slots)) {
		s := c.window.peek(c.window.low + 1 + i)
		if s == nil {
			continue
		}
		if s.accepted {
			setBit(m.PrePrepared, i)
		}
		if s.prepared || s.voided {
			setBit(m.Prepared, i)
		}
		if s.decided {
			setBit(m.Committed, i)
		}
	}
	for i, vc := range c.vc.received {
		if !c.active && vc != nil && vc.View == c.view {
			m.ViewChanges |= 1 << i
		}
	}
	out.add(Broadcast{Msg: m})
}

// onStatus sends a peer what it lacks and I have.
func (c *Core) onStatus(m *wire.Status, out *Effects) {
	c.status.heard[m.Replica] = peerStatus{said: true, view: m.View, executed: m.Executed}
	if len(c.reads) > 0 && !c.exec.caughtUp {
		c.runEarlyReads(out)
	}
	if c.now-c.status.answered[m.Replica] < c.cfg.StatusInterval/2 {
		return
	}
	c.status.answered[m.Replica] = c.now
	c.resendViews(m, out)
	c.resendCheckpoints(m, out)
	c.resendSlots(m, out)
}

// resendViews helps a peer into my view.
func (c *Core) resendViews(m *wire.Status, out *Effects) {
	if m.View > c.view || m.View == c.view && m.Active {
		return
	}
	if c.active {
		if c.vc.newView != nil {
			c.send(m.Replica, c.vc.newView, out)
		}
		return
	}
	for i, vc := range c.vc.received {
		if vc == nil || vc.View != c.view || i == int(m.Replica) {
			continue
		}
		if m.View == c.view && m.ViewChanges&(1<<i) != 0 || m.View < c.view && i != int(c.me) {
			continue
		}
		c.send(m.Replica, vc, out)
	}
	// A faulty replica that shows its VIEW-CHANGE to one of us alone does not lead it away from the group: its signed word goes
	// round, whatever it has said since.
	if vc := c.vc.followed; vc != nil && vc.View == c.view && vc.Replica != m.Replica && m.View+1 == c.view {
		c.send(m.Replica, vc, out)
	}
}

// resendCheckpoints sends the proof of my stable checkpoint to a peer that is below it, and my own later CHECKPOINTs.
func (c *Core) resendCheckpoints(m *wire.Status, out *Effects) {
	if m.Stable < c.ckpt.stable.Seq {
		for _, cp := range c.ckpt.proof {
			c.send(m.Replica, cp, out)
		}
	}
	for _, cp := range c.ckpt.received[c.me] {
		if cp.Seq > m.Stable {
			c.send(m.Replica, cp, out)
		}
	}
}

func (c *Core) resendSlots(m *wire.Status, out *Effects) {
	var decided []wire.SlotVote
	bytes, slots := 0, 0
	for _, s := range c.window.old {
		if s.seq > m.Executed && s.seq > m.Stable && slots < retransmittedSlots && !hasBit(m.Committed, s.seq-m.Stable-1) {
			slots++
			decided = append(decided, wire.SlotVote{Seq: s.seq, Digest: s.decision})
		}
	}
	if m.Stable >= c.window.high() {
		return // it is ahead of me, or says so
	}
	for seq := max(m.Stable, c.window.low) + 1; seq <= c.window.high() && slots < retransmittedSlots && bytes < retransmittedBytes; seq++ {
		i := seq - m.Stable - 1
		s := c.window.peek(seq)
		if s == nil || seq <= m.Executed || hasBit(m.Committed, i) {
			continue
		}
		slots++
		if s.decided {
			decided = append(decided, wire.SlotVote{Seq: seq, Digest: s.decision})
		}
		if m.View == c.view && m.Active && c.active {
			bytes += c.resendSlot(m, s, i, out)
		}
	}
	if len(decided) > 0 {
		c.send(m.Replica, &wire.Decided{Replica: c.me, Batches: decided}, out)
	}
}

// resendSlot sends my messages of the current view for a slot again, and says how many bytes they are, roughly.
func (c *Core) resendSlot(m *wire.Status, s *slot, i wire.Seq, out *Effects) int {
	bytes := 0
	if c.primary(c.view) == c.me && s.accepted && !s.planned && !hasBit(m.PrePrepared, i) {
		if b, _ := s.content(s.digest); b != nil {
			pp, size := c.rebuildPrePrepare(s, b)
			c.send(m.Replica, pp, out)
			bytes += size
		}
	}
	if c.primary(c.view) != c.me && s.accepted && !hasBit(m.Prepared, i) {
		c.send(m.Replica, &wire.Prepare{View: c.view, Seq: s.seq, Digest: s.digest, Replica: c.me}, out)
	}
	if s.prepared {
		c.send(m.Replica, &wire.Commit{View: c.view, Seq: s.seq, Digest: s.digest, Replica: c.me}, out)
	}
	c.resendVoid(m.Replica, s, out)
	return bytes
}

func (c *Core) rebuildPrePrepare(s *slot, b *batch) (*wire.PrePrepare, int) {
	inline := make([]bool, len(b.requests))
	size := 0
	for i, r := range b.requests {
		inline[i] = !r.Large(c.cfg.InlineBytes)
		if inline[i] {
			size += r.Size()
		}
	}
	return wire.NewPrePrepare(c.view, s.seq, c.me, b.choice, b.requests, inline), size
}

// onDecided adopts what f+1 replicas say has committed: one of them is correct (PROTOCOL: the laggards' way back, against
// the attack of arXiv 2107.11144).
func (c *Core) onDecided(m *wire.Decided, out *Effects) {
	for _, sv := range m.Batches {
		if !c.window.contains(sv.Seq) {
			continue
		}
		s := c.window.slot(sv.Seq)
		s.decideds[m.Replica] = vote{set: true, digest: sv.Digest} // a correct replica never changes its word
		c.order.newest = c.newestDecided(s, sv)
		if !s.decided && count(s.decideds, 0, sv.Digest) >= c.cfg.weak() {
			c.decide(s, sv.Digest, TraceAdopted, out)
		}
	}
	c.tryExecute(out)
	if len(c.order.incomplete) > 0 && c.now-c.status.fetched >= c.cfg.FetchDelay/4 {
		c.fetchMissing(m.Replica, out)
	}
}

// newestDecided raises the newest known sequence number once f+1 replicas speak of it.
func (c *Core) newestDecided(s *slot, sv wire.SlotVote) wire.Seq {
	if count(s.decideds, 0, sv.Digest) >= c.cfg.weak() {
		return max(c.order.newest, s.seq)
	}
	return c.order.newest
}
