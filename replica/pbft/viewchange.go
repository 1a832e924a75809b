package pbft

import (
	"slices"

	"bfsd/replica/wire"
)

// viewChangeState is the state of the view-change protocol (TOCS §4.5).
type viewChangeState struct {
	received []*wire.ViewChange // by replica: that of the latest view
	newView  *wire.NewView      // what started the current view; nil in view 0 and while not active
	proposed wire.View          // the view for which I sent NEW-VIEW
	strays   []stray            // by replica
	followed *wire.ViewChange   // whose asker I followed alone, last
}

// startViewChange leaves the view: tentative executions are undone, and from now on only view changes, checkpoints and
// catching up happen (TOCS §4.5.2).
func (c *Core) startViewChange(v wire.View, why Reason, out *Effects) {
	c.leaveView(v, out)
	c.persistView(out)
	out.add(Trace{Event: TraceViewChange, View: c.view, Replica: c.primary(v), Reason: why})
	c.sendViewChange(out)
}

func (c *Core) leaveView(v wire.View, out *Effects) {
	c.flushCommits(out)
	c.rollback(out)
	c.view, c.active = v, false
	c.vc.newView, c.rejoin.owing = nil, false
	c.timer.deadline, c.timer.deferred = 0, false
	c.order.incomplete, c.order.newest, c.order.next, c.order.fence = nil, c.exec.committed, c.window.low+1, 0
	c.order.queue = c.order.queue[:0]
	for i := range c.clients.rows {
		for j := range c.clients.rows[i] {
			c.clients.rows[i][j].proposed, c.clients.rows[i][j].queued = 0, false
		}
	}
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil {
			s.leaveView()
			c.noteIncomplete(s) // a decision may still lack its content
		}
	}
}

// sendViewChange tells the others what I prepared and pre-prepared. The driver signs it and hands it back.
func (c *Core) sendViewChange(out *Effects) {
	if c.rejoin.doubt {
		return // it could not tell all that it must
	}
	c.rejoin.owing = false
	m := &wire.ViewChange{View: c.view, Stable: c.window.low, Replica: c.me, Checkpoints: []wire.CheckpointRef{c.ckpt.low}}
	for _, sn := range c.ckpt.mine {
		if sn.sent && sn.seq > c.window.low && len(m.Checkpoints) < wire.MaxCheckpoints {
			m.Checkpoints = append(m.Checkpoints, wire.CheckpointRef{Seq: sn.seq, Root: sn.root})
		}
	}
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		s := c.window.peek(seq)
		if s == nil {
			continue
		}
		if s.inP {
			m.Prepared = append(m.Prepared, s.p)
		}
		m.PrePrepared = append(m.PrePrepared, s.q...)
	}
	c.reportLate(m)
	out.add(Broadcast{Msg: m})
}

// onViewChange gathers VIEW-CHANGEs, and joins when f+1 replicas ask for later views: one of them is correct (TOCS §4.5.2).
func (c *Core) onViewChange(m *wire.ViewChange, out *Effects) {
	if m.View < c.view {
		return
	}
	if c.takesBack(m) {
		c.vc.received[m.Replica] = m // it may have sent one for that view before it forgot
		c.startViewChange(m.View, ReasonRejoining, out)
		return
	}
	if old := c.vc.received[m.Replica]; old != nil && old.View >= m.View {
		return
	}
	c.vc.received[m.Replica] = m
	if c.followPrimary(m, out) {
		return
	}
	c.joinViewChange(out)
	c.considerNewView(out)
}

func (c *Core) joinViewChange(out *Effects) {
	later, lowest := 0, wire.View(0)
	for i, m := range c.vc.received {
		if m == nil || i == int(c.me) || m.View <= c.view {
			continue
		}
		if later == 0 || m.View < lowest {
			lowest = m.View
		}
		later++
	}
	if later >= c.cfg.weak() {
		c.startViewChange(lowest, ReasonJoined, out)
	}
}

// considerNewView starts the timer for the NEW-VIEW once 2f+1 replicas want this view (TOCS §4.5.2: no sooner, else a
// replica would run ahead of the others), and, as the new primary, tries to start the view. Who wants a later view
// counts too: he has been here and gone on, and the others must not wait for a VIEW-CHANGE that nobody sends any more.
func (c *Core) considerNewView(out *Effects) {
	if c.active {
		return
	}
	if c.timer.deadline == 0 && c.leftBehind() >= c.cfg.quorum() {
		c.timer.deadline = c.now + c.timer.timeout
		c.doubleTimeout()
	}
	vcs := c.viewChanges()
	if len(vcs) < c.cfg.quorum() || c.primary(c.view) != c.me || c.vc.proposed >= c.view || c.rejoin.doubt {
		return
	}
	plan, ok := computeNewView(vcs, c.cfg.F, c.cfg.window())
	if !ok || !c.conditionA3(plan, vcs, out) {
		return
	}
	// Recorded first: a primary that restarts must not start the same view with another plan. If nobody received this one,
	// the timers lead to the next view.
	c.vc.proposed = c.view
	c.persistView(out)
	out.add(Broadcast{Msg: &wire.NewView{View: c.view, ViewChanges: vcs, Start: plan.start, Plan: plan.digests, Replica: c.me}})
}

// leftBehind counts the replicas that left all views below the current one.
func (c *Core) leftBehind() int {
	n := 0
	for _, m := range c.vc.received {
		if m != nil && m.View >= c.view {
			n++
		}
	}
	return n
}

// viewChanges gives the VIEW-CHANGEs for the current view, ascending by replica.
func (c *Core) viewChanges() []*wire.ViewChange {
	var vcs []*wire.ViewChange
	for _, m := range c.vc.received {
		if m != nil && m.View == c.view {
			vcs = append(vcs, m)
		}
	}
	return vcs
}

// conditionA3: the new primary has the batches it will propose (TOCS §4.5.4). What it lacks it asks for.
func (c *Core) conditionA3(plan newViewPlan, vcs []*wire.ViewChange, out *Effects) bool {
	c.moveTo(plan.start, vcs, out)
	complete := true
	for i, d := range plan.digests {
		seq := plan.start.Seq + 1 + wire.Seq(i)
		if d == wire.NullDigest || !c.window.contains(seq) {
			continue
		}
		s := c.window.slot(seq)
		s.wanted = d
		if b, known := s.content(d); !known || !c.fill(b) {
			complete = false
			c.noteIncomplete(s)
		}
	}
	if !complete {
		c.fetchMissing(c.nextPeer(), out)
	}
	return complete
}

// moveTo makes a NEW-VIEW's starting checkpoint the low water mark. f+1 replicas have it, so it is right; whoever has not
// executed that far fetches it.
func (c *Core) moveTo(start wire.CheckpointRef, vcs []*wire.ViewChange, out *Effects) {
	if start.Seq <= c.window.low {
		return
	}
	if c.exec.committed >= start.Seq {
		c.advanceWindow(start)
		return
	}
	var sources []wire.ReplicaID
	for _, m := range vcs {
		if m.Replica != c.me && slices.Contains(m.Checkpoints, start) {
			sources = append(sources, m.Replica)
		}
	}
	c.fetchFrom(start, c.certificate(start), sources, out)
}

// onNewView checks the primary's NEW-VIEW by computing it again, and enters the view (TOCS §4.5.4). My own NEW-VIEW comes
// back from the driver, signed, and takes the same way.
func (c *Core) onNewView(m *wire.NewView, out *Effects) {
	if m.View < c.view || m.View == c.view && c.active || m.Replica != c.primary(m.View) {
		return
	}
	plan, ok := computeNewView(m.ViewChanges, c.cfg.F, c.cfg.window())
	if !ok || plan.start != m.Start || !slices.Equal(plan.digests, m.Plan) {
		c.trace(TraceBadNewView, 0, wire.NullDigest, m.Replica, out)
		return
	}
	c.leaveView(m.View, out)
	c.moveTo(m.Start, m.ViewChanges, out)
	c.active, c.vc.newView = true, m
	if m.Replica == c.me {
		c.vc.proposed = m.View
	}
	c.persistView(out)
	c.trace(TraceNewView, m.Start.Seq, m.Start.Root, m.Replica, out)
	c.setPlan(m, 0)
	for i := range m.Plan {
		if s := c.window.peek(m.Start.Seq + 1 + wire.Seq(i)); s != nil {
			c.tryAccept(s, out)
			c.noteIncomplete(s)
		}
	}
	c.exec.readFloor = min(c.exec.readFloor, max(c.exec.committed, m.Start.Seq+wire.Seq(len(m.Plan))))
	c.requeue()
	c.restartTimer()
	if len(c.order.incomplete) > 0 {
		c.fetchMissing(m.Replica, out)
	}
	c.tryExecute(out)
}

// setPlan makes a NEW-VIEW's batches above a number the proposals of the view, as far as the window goes.
func (c *Core) setPlan(m *wire.NewView, above wire.Seq) {
	for i, d := range m.Plan {
		seq := m.Start.Seq + 1 + wire.Seq(i)
		if !c.window.contains(seq) || seq <= above {
			continue
		}
		s := c.window.slot(seq)
		c.setProposal(s, d)
		s.planned, s.fetchAt = true, c.now // nobody will send the content by himself
		cast(s.prepares, m.Replica, m.View, d)
		c.noteIncomplete(s)
	}
	end := m.Start.Seq + wire.Seq(len(m.Plan))
	c.order.newest = max(c.order.newest, c.exec.committed, end)
	c.order.next = max(c.order.next, c.window.low+1, end+1)
}

// requeue puts the pending requests into a new primary's queue, in the order in which they arrived; those in the plan are
// under way.
func (c *Core) requeue() {
	if !c.isPrimary() {
		return
	}
	for seq := c.window.low + 1; seq < c.order.next; seq++ {
		s := c.window.peek(seq)
		if s == nil || !s.proposed {
			continue
		}
		if b, _ := s.content(s.digest); b != nil {
			for _, r := range b.requests {
				if r == nil {
					continue
				}
				if cs := c.clients.get(r.Client, r.Slot); cs != nil {
					cs.proposed = max(cs.proposed, r.Number)
				}
			}
		}
	}
	var pending []*clientSlot
	for i := range c.clients.rows {
		for j := range c.clients.rows[i] {
			if cs := &c.clients.rows[i][j]; cs.pending != nil && cs.pending.Number > cs.last {
				pending = append(pending, cs)
			}
		}
	}
	slices.SortFunc(pending, func(a, b *clientSlot) int {
		if a.arrival < b.arrival {
			return -1
		}
		return 1
	})
	for _, cs := range pending {
		c.enqueue(cs)
	}
}
