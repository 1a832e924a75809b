package pbft

import (
	"slices"

	"bfsd/replica/wire"
)

// timerState runs the view-change timer (TOCS §4.5). It runs while a request that a quorum vouched for waits, and stops
// only when the first one in FIFO order has executed, so that a primary cannot starve a client by serving others.
type timerState struct {
	timeout  int64 // how long the timer runs; doubles with each view change, back to the start with progress
	deadline int64 // 0: stopped
	ticked   int64 // the last Tick
	pursued  int64 // primary: the last time it looked after the waiting requests
	deferred bool  // ran out, but the fault seemed mine

	// Where I and the others were then.
	deferredAt   wire.Seq
	deferredThem []wire.Seq

	stalledAt    wire.Seq      // where the committed point is
	stalledSince int64         // since when, although more is proposed
	waiting      []*clientSlot // FIFO
}

// timeoutDoublings bounds the doubling: 2^7 times the configured timeout.
const timeoutDoublings = 7

func (c *Core) onTick(out *Effects) {
	if !c.resumed {
		c.resume(out)
	}
	c.tickRejoin(out)
	c.flushCommits(out)
	c.checkDoubts(out)
	c.tickViewChange(out)
	c.followStrays(out)
	if c.now-c.status.fetched >= c.cfg.FetchDelay && len(c.order.incomplete) > 0 {
		c.fetchMissing(c.nextPeer(), out)
	}
	if c.isPrimary() && c.now-c.timer.pursued >= c.cfg.FetchDelay {
		c.timer.pursued = c.now
		c.pursueWaiting(out)
	}
	c.retryIncomplete(out)
	c.checkBehind(out)
	c.tickStatus(out)
	c.tryExecute(out)
	c.entertain(out)
}

// tickViewChange leaves the view when the timer has run out, unless the fault is mine: I was stopped and have not yet read
// what arrived meanwhile, or f+1 replicas have executed more than I, so it is I who must catch up, not the primary who
// must go. A replica that leaves a view alone cannot come back to it.
func (c *Core) tickViewChange(out *Effects) {
	gap := c.now - c.timer.ticked
	c.timer.ticked = c.now
	if gap > c.cfg.ViewChangeTimeout/4 {
		c.timer.stalledSince += gap
		if c.timer.deadline != 0 {
			c.timer.deadline += gap
		}
	}
	if c.rejoin.doubt {
		// I have no say in it, nor could the primary be blamed, if it is I: what waits is given its time once I have.
		c.timer.stalledSince = c.now
		if c.timer.deadline != 0 {
			c.timer.deadline = c.now + c.timer.timeout
		}
		return
	}
	expired := c.timer.deadline != 0 && c.now >= c.timer.deadline
	if !expired && !c.stalled() {
		return
	}
	if c.active && c.mineToMend(expired) {
		c.deferViewChange()
		return
	}
	if c.inTouch() < 2*c.cfg.F {
		// Cut off: a view change could not succeed, and would leave me outside when I am back.
		c.timer.stalledSince = c.now
		if expired {
			c.timer.deadline = c.now + c.cfg.StatusInterval
		}
		return
	}
	c.blameForGuests()
	why := ReasonStalled
	if expired {
		why = ReasonTimeout
	}
	c.startViewChange(c.view+1, why, out)
}

// mineToMend says whether the timer ran out because I lag. The first time it is enough that f+1 replicas are ahead. Again
// and again only while I stand still, as during the transfer of a large state, and f+1 replicas move: those who are ahead
// may be gone, and then only a view change helps; and while I move, a request that still waits is being passed over. That
// cannot keep a view alive in which some request is never served: those who move, f+1 correct ones among them, do not
// defer twice, and all others join them.
func (c *Core) mineToMend(expired bool) bool {
	if !c.fetch.wanted && c.ahead() < c.cfg.weak() {
		return false
	}
	if !c.timer.deferred {
		return true
	}
	if c.timer.deferredAt != c.exec.committed {
		return !expired // it stalls again, at another place
	}
	moved := 0
	for i := range c.status.heard {
		if c.status.heard[i].executed > c.timer.deferredThem[i] {
			moved++
		}
	}
	return moved >= c.cfg.weak()
}

func (c *Core) deferViewChange() {
	c.timer.deferred, c.timer.deferredAt = true, c.exec.committed
	c.timer.deferredThem = c.timer.deferredThem[:0]
	for i := range c.status.heard {
		c.timer.deferredThem = append(c.timer.deferredThem, c.status.heard[i].executed)
	}
	c.timer.stalledSince = c.now
	c.restartTimer()
}

// inTouch counts the other replicas that were heard while the timer ran. Whoever lacks something sends STATUS all the time.
func (c *Core) inTouch() int {
	n := 0
	for i, at := range c.status.contact {
		if i != int(c.me) && at != 0 && c.now-at <= c.timer.timeout+c.cfg.StatusInterval {
			n++
		}
	}
	return n
}

// stalled says whether a batch that was proposed has not committed for a long time. A correct primary's proposals all
// commit or are voided; when one does not, its clients may be content with tentative replies, but the state is not.
func (c *Core) stalled() bool {
	if !c.active || c.exec.committed >= max(c.order.newest, c.awaitedByGuests(false)) || c.timer.stalledAt != c.exec.committed {
		c.timer.stalledAt, c.timer.stalledSince = c.exec.committed, c.now
		return false
	}
	return c.now-c.timer.stalledSince >= 2*c.timer.timeout
}

// ahead counts the replicas that executed more than I, by their STATUS.
func (c *Core) ahead() int {
	n := 0
	for i := range c.status.heard {
		if c.status.heard[i].executed > c.exec.committed {
			n++
		}
	}
	return n
}

// startWaiting puts a slot at the end of the FIFO queue if a quorum vouches for a request in it. What a slot waits for stays
// until it settles, whatever else its client gets vouched for meanwhile.
func (c *Core) startWaiting(cs *clientSlot) {
	number := cs.last
	if number > 0 && !cs.settled(number, c.exec.committed) {
		number-- // executed, but perhaps not for good
	}
	v, ok := cs.quorumVouch(number, c.cfg.quorum())
	if !ok {
		return
	}
	if cs.waiting == v && slices.Contains(c.timer.waiting, cs) {
		return
	}
	cs.waiting, cs.since = v, c.now
	if slices.Contains(c.timer.waiting, cs) {
		return // it keeps its place: no progress has been made
	}
	c.timer.waiting = append(c.timer.waiting, cs)
	if c.active && c.timer.deadline == 0 {
		c.timer.deadline = c.now + c.timer.timeout
	}
}

// pursueWaiting looks, as the primary, after the requests that run the backups' timers.
func (c *Core) pursueWaiting(out *Effects) {
	for _, cs := range c.timer.waiting {
		for peer, v := range cs.vouches {
			if v == cs.waiting && peer != int(c.me) {
				c.pursue(cs, wire.ReplicaID(peer), out)
			}
		}
	}
	c.propose(out)
}

// progressed looks whether the first waiting request has executed, and restarts or stops the timer.
func (c *Core) progressed(*Effects) {
	if len(c.timer.waiting) == 0 {
		return
	}
	first := c.timer.waiting[0]
	stopped := first.settled(first.waiting.number, c.exec.committed)
	kept := make([]*clientSlot, 0, len(c.timer.waiting))
	var settled []*clientSlot
	for _, cs := range c.timer.waiting {
		if cs.settled(cs.waiting.number, c.exec.committed) {
			settled = append(settled, cs)
		} else {
			kept = append(kept, cs)
		}
	}
	c.timer.waiting = kept
	for _, cs := range settled {
		c.startWaiting(cs)
	}
	if !stopped || !c.active {
		return
	}
	c.timer.timeout, c.timer.deferred = c.cfg.ViewChangeTimeout, false
	c.restartTimer()
}

// restartTimer runs the timer for the first waiting request, if there is one.
func (c *Core) restartTimer() {
	c.timer.deadline = 0
	if len(c.timer.waiting) > 0 {
		c.timer.deadline = c.now + c.timer.timeout
	}
}

func (c *Core) doubleTimeout() {
	c.timer.timeout = min(2*c.timer.timeout, c.cfg.ViewChangeTimeout<<timeoutDoublings)
}

// hasBit and setBit address a STATUS bitmap: bit i stands for sequence number low+1+i.
func hasBit(bits []byte, i wire.Seq) bool {
	return i/8 < wire.Seq(len(bits)) && bits[i/8]&(1<<(i%8)) != 0
}

func setBit(bits []byte, i wire.Seq) { bits[i/8] |= 1 << (i % 8) }
