package pbft

import (
	"math"
	"slices"

	"bfsd/replica/wire"
)

// A replica whose log is damaged or gone has forgotten some of what it said, and does not know what. If it voted on, it
// could contradict itself, which only a faulty replica does. It counts among the f faulty ones until it has rejoined:
//
//  1. It says nothing that could contradict anything: no PRE-PREPARE, PREPARE, COMMIT, ABANDON, VIEW-CHANGE or NEW-VIEW,
//     and no reply but to what has committed. It follows the others by DECIDED and state transfer, as any laggard does.
//  2. It estimates how far it may have got (TOCS §5.2, the estimation protocol): it asks all with QUERY-STABLE, under a
//     nonce, for their views and for the last batches that prepared at them, and takes the first REPLY-STABLE of each that
//     has not forgotten anything itself. With 2f+1 of them, the (2f+1)-th smallest value of each kind is as high as that of
//     some correct replica, and no higher than the highest of one when all have answered.
//  3. With p that number and K the checkpoint interval, it votes for numbers above ⌊p/K⌋·K + 2K alone. With v that view,
//     it goes to view v+1 and waits for its NEW-VIEW, as if it had asked for it; unless it knows its view, which the store
//     keeps in a second place.
//  4. When it holds a stable checkpoint at that number it has rejoined. It sends VIEW-CHANGEs again, the one for v+1 once 2f
//     others say that they are in v or later.
//
// Why it is safe. Let the replica have had the low water mark s, so that it voted up to s+2K. s is a checkpoint of which
// f+1 replicas, hence a correct one, said that it committed there. So s prepared at 2f+1 replicas, f+1 correct ones among
// the others; of the 3f others at most 2f−1 report less, so the (2f+1)-th smallest p is at least s, and s is a multiple of
// K. Let it have asked for view w. The first correct replica to go to w or beyond did so from a view of at least w−1 that
// 2f+1 replicas had gone to, f+1 correct ones among the others; so v ≥ w−1 likewise. In view v+1 it may have voted before
// for numbers that it votes for no more; a VIEW-CHANGE for v+1 that it sends again tells the truth as the first one did:
// its stable checkpoint covers what it has forgotten. It does not send a NEW-VIEW for v+1, for it may have sent one.
//
// How it ends. Where nothing is ordered no checkpoint would be reached: a primary that has nothing else to do proposes
// empty batches for the guest, and is blamed by the others when it does not. A guest that is alone in v+1 is taken back by the others, who follow it there. And a
// primary that says that it has forgotten is left at once. A faulty replica can ask for all this without need; so each
// is granted it once in a while, and less and less often.
//
// A new replica knows that its store is new, not that there was none before. It has vouchers: each replica vouches, once
// and for all, for one beginning of every other, named by its nonce. With 2f vouchers it begins to speak at once. Two
// beginnings would need f+1 correct vouchers each, of 2f+1 there are. Without them it rejoins like one that has forgotten,
// and those who vouched for it help with that, too: they may be the ones that the others need for it.

// rejoinState is both sides' state.
type rejoinState struct {
	doubt     bool // I may have said what I do not know of
	isNew     bool // but perhaps nothing at all
	nonce     uint64
	viewKnown bool
	until     wire.Seq // I do not vote for numbers up to here
	asking    bool     // I have begun to ask
	estimated bool     // until is known, and so is the view
	owing     bool     // I have rejoined in a view that I was not asked into, and have not sent my VIEW-CHANGE for it
	began     int64    // when I asked first
	asked     int64    // and last
	answers   []*wire.ReplyStable

	births []uint64 // by replica: the nonce of the beginning that I vouched for; 0: none yet
	guests []guest  // by replica
}

// guest is another replica that rejoins.
type guest struct {
	nonce  uint64   // of its visit
	heard  int64    // when it asked last
	until  wire.Seq // the checkpoint it waits for
	credit int      // empty batches that I will still propose for it
	visits int
	again  int64 // when the next visit may begin
	taken  bool  // back into the group, by a view change
	blamed bool  // the primary was blamed for not entertaining it
}

const (
	noVouching = math.MaxUint64 // instead of a nonce: I have rejoined, and do not know for whom I vouched before

	// visitInterval, in view-change timeouts, lies between two visits of a guest; it doubles up to 2^visitDoublings times.
	visitInterval  = 20
	visitDoublings = 6
	// guestPatience, in status intervals, is how long a guest is remembered that does not ask again.
	guestPatience = 5
	// answerPatience, in status intervals, is how long I wait for more than 2f+1 answers before I settle on a view.
	answerPatience = 10
)

// mayVote says whether I can be sure to have said nothing about a number, nor asked to leave the view that I am in: before I
// know which views I may have asked for, I vote for nothing.
func (c *Core) mayVote(seq wire.Seq) bool {
	return seq > c.rejoin.until && (!c.rejoin.doubt || c.rejoin.estimated)
}

// recoverDoubt takes up what the store doubts, and returns the records that count.
func (c *Core) recoverDoubt(rec Recovered) [][]byte {
	r := &c.rejoin
	r.births, r.guests, r.answers = make([]uint64, c.n), make([]guest, c.n), make([]*wire.ReplyStable, c.n)
	d := rec.Doubt
	if d == nil {
		return rec.Records
	}
	r.doubt, r.isNew, r.nonce, r.viewKnown, r.until = true, d.New, d.Nonce, d.ViewKnown, math.MaxUint64
	if d.New {
		return rec.Records
	}
	for i := range r.births {
		r.births[i] = noVouching
	}
	if d.ViewKnown {
		c.view, c.active, c.vc.proposed = d.View, d.View == 0, d.View
	}
	return nil // what is left of them would be taken for all
}

// tickRejoin asks, and asks again: it also tells the others how far I am.
func (c *Core) tickRejoin(out *Effects) {
	r := &c.rejoin
	if !r.doubt {
		c.askBack(out)
		return
	}
	first := !r.asking
	if first {
		r.asking, r.began = true, c.now
		c.trace(TraceDoubt, 0, wire.NullDigest, c.me, out)
	}
	if first || c.now-r.asked >= c.cfg.StatusInterval {
		r.asked = c.now
		m := &wire.QueryStable{Replica: c.me, Nonce: r.nonce, New: r.isNew}
		if r.estimated {
			m.Until = r.until
		}
		out.add(Broadcast{Msg: m})
	}
	c.estimate(out)
}

// onReplyStable takes the first answer of each replica that is sound: later ones could only say more.
func (c *Core) onReplyStable(m *wire.ReplyStable, out *Effects) {
	r := &c.rejoin
	if !r.doubt || m.Nonce != r.nonce {
		return
	}
	if old := r.answers[m.Replica]; old != nil && (old.Sound || !m.Sound) {
		return
	}
	r.answers[m.Replica] = m
	c.estimate(out)
}

// estimate draws the conclusions from the answers so far.
func (c *Core) estimate(out *Effects) {
	r := &c.rejoin
	var views []wire.View
	var prepared []wire.Seq
	vouchers := 0
	for i, a := range r.answers {
		if a == nil || i == int(c.me) {
			continue
		}
		if a.Vouched {
			vouchers++
		}
		if a.Sound {
			views, prepared = append(views, a.View), append(prepared, a.Prepared)
		}
	}
	if r.isNew && vouchers >= 2*c.cfg.F {
		r.until = 0
		c.rejoined(out)
		return
	}
	if len(views) < c.cfg.quorum() {
		return
	}
	slices.Sort(views)
	slices.Sort(prepared)
	k := wire.Seq(c.cfg.CheckpointInterval)
	if until := prepared[c.cfg.quorum()-1]/k*k + 2*k; until < r.until {
		r.until = until
	}
	if !r.estimated && (r.viewKnown || len(views) == 3*c.cfg.F || c.now-r.began >= answerPatience*c.cfg.StatusInterval) {
		r.estimated = true
		c.enterEstimated(views[c.cfg.quorum()-1]+1, out)
	}
	c.checkRejoined(out)
}

// enterEstimated goes to the highest view that I may have asked for.
func (c *Core) enterEstimated(v wire.View, out *Effects) {
	if !c.rejoin.viewKnown && v > c.view {
		c.leaveView(v, out)
		c.vc.proposed, c.rejoin.owing = v, true
	}
	for i := range c.rejoin.births { // if I am a new one that is not believed, I vouched for others in ignorance
		c.rejoin.births[i] = noVouching
	}
	c.persistView(out)
}

// checkRejoined looks whether the stable checkpoint covers everything that I may have voted for.
func (c *Core) checkRejoined(out *Effects) {
	if r := &c.rejoin; r.doubt && r.estimated && c.ckpt.stable.Seq >= r.until && !c.fetch.wanted {
		c.rejoined(out)
	}
}

func (c *Core) rejoined(out *Effects) {
	c.rejoin.doubt = false
	out.add(Rejoined{})
	c.trace(TraceRejoined, c.ckpt.stable.Seq, c.ckpt.stable.Root, c.me, out)
	if !c.active && !c.rejoin.owing {
		c.sendViewChange(out)
	}
	c.retryIncomplete(out)
	c.tryExecute(out)
}

// askBack sends the VIEW-CHANGE for the view that I estimated, when the others are where a correct replica could ask for it.
func (c *Core) askBack(out *Effects) {
	if !c.rejoin.owing {
		return
	}
	near := 0
	for i := range c.status.heard {
		if i != int(c.me) && c.status.heard[i].view+1 >= c.view {
			near++
		}
	}
	if near >= 2*c.cfg.F {
		c.sendViewChange(out)
	}
}

// onQueryStable answers, and helps.
func (c *Core) onQueryStable(m *wire.QueryStable, out *Effects) {
	vouched := m.New && c.vouchFor(m.Replica, m.Nonce, out)
	c.send(m.Replica, &wire.ReplyStable{
		Replica: c.me, Nonce: m.Nonce, Sound: !c.rejoin.doubt, Vouched: vouched, View: c.view, Prepared: c.lastPrepared(),
	}, out)
	if (!vouched || m.Until != 0) && !c.rejoin.doubt {
		c.receiveGuest(m, out)
	}
}

// vouchFor vouches for a replica's beginning, unless I did for another one.
func (c *Core) vouchFor(id wire.ReplicaID, nonce uint64, out *Effects) bool {
	birth := &c.rejoin.births[id]
	if *birth == 0 && nonce != 0 && nonce != noVouching {
		*birth = nonce
		c.persistView(out)
	}
	return *birth == nonce && nonce != noVouching
}

// lastPrepared is the last batch that prepared here, or that I know to have committed.
func (c *Core) lastPrepared() wire.Seq {
	last := max(c.exec.committed, c.window.low)
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil && (s.inP || s.decided) {
			last = max(last, seq)
		}
	}
	for _, b := range c.late {
		if kind, fields, err := decodeRecord(b); err == nil && (kind == recordPrepared || kind == recordDecided) {
			last = max(last, recordSeq(fields))
		}
	}
	return last
}

// receiveGuest remembers what a guest waits for, and leaves the view if it is the primary.
func (c *Core) receiveGuest(m *wire.QueryStable, out *Effects) {
	g := &c.rejoin.guests[m.Replica]
	if m.Nonce != g.nonce {
		if c.now < g.again {
			return
		}
		*g = guest{
			nonce: m.Nonce, credit: 4 * c.cfg.CheckpointInterval, visits: g.visits + 1,
			again: c.now + visitInterval*c.cfg.ViewChangeTimeout<<min(g.visits, visitDoublings),
		}
	}
	k := wire.Seq(c.cfg.CheckpointInterval)
	g.heard, g.until = c.now, min(m.Until, c.lastPrepared()/k*k+3*k)
	if c.active && c.primary(c.view) == m.Replica {
		c.startViewChange(c.view+1, ReasonRejoining, out)
	}
}

// entertain proposes empty batches, as the primary of an idle group, until the guests' checkpoints are reached.
func (c *Core) entertain(out *Effects) {
	if !c.isPrimary() || len(c.order.queue) > 0 || c.inFlight() > 0 {
		return
	}
	for range c.cfg.BatchWindow {
		if c.order.next > c.awaitedByGuests(true) || !c.mayPropose() {
			return
		}
		for i := range c.rejoin.guests {
			c.rejoin.guests[i].credit--
		}
		c.proposeBatch(nil, nil, out)
	}
}

// awaitedByGuests is the highest checkpoint that a guest waits for; blamed says that those count, too, for whose sake the
// primary was blamed: once in a visit is enough, for a faulty guest may tell the primary nothing.
func (c *Core) awaitedByGuests(blamed bool) wire.Seq {
	var until wire.Seq
	for i := range c.rejoin.guests {
		g := &c.rejoin.guests[i]
		if g.nonce != 0 && g.credit > 0 && c.now-g.heard <= guestPatience*c.cfg.StatusInterval && (blamed || !g.blamed) {
			until = max(until, g.until)
		}
	}
	return until
}

// blameForGuests notes that the view is left, perhaps because guests were not entertained.
func (c *Core) blameForGuests() {
	for i := range c.rejoin.guests {
		if g := &c.rejoin.guests[i]; g.until > c.exec.committed {
			g.blamed = true
		}
	}
}

// takesBack says whether a VIEW-CHANGE for the next view comes from a guest that has what it waited for and is alone there.
func (c *Core) takesBack(m *wire.ViewChange) bool {
	g := &c.rejoin.guests[m.Replica]
	if !c.active || m.View != c.view+1 || g.nonce == 0 || g.taken || g.until == 0 || m.Stable < g.until || c.rejoin.doubt {
		return false
	}
	g.taken = true
	return true
}
