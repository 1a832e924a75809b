package pbft

import (
	"crypto/sha256"
	"math"

	"bfsd/replica/wire"
)

// recover rebuilds the core from the store, so that it never contradicts what it said before the restart: every vote was
// recorded before it left. What others said is not recorded; they say it again when they see my STATUS. What had
// committed here is learned again too, as tentative executions at first.
func (c *Core) recover(rec Recovered) {
	c.ckpt.stable, c.ckpt.low, c.ckpt.proof = rec.Stable, rec.Stable, rec.Proof
	c.exec.last, c.exec.committed = rec.Stable.Seq, rec.Stable.Seq
	c.order.next, c.order.newest = rec.Stable.Seq+1, rec.Stable.Seq
	c.clients.restore(rec.Replies, rec.Stable.Seq)
	c.exec.caughtUp = rec.Stable.Seq == 0 && len(rec.Records) == 0
	records := c.recoverDoubt(rec)
	c.recoverView(records)
	for _, b := range records {
		if !c.recoverRecord(b) {
			c.status.badRecords++
		}
	}
	c.recoverFloor(records)
	c.reindexBodies()
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil {
			c.noteIncomplete(s)
		}
	}
}

// recoverView finds the view: the newest record about it counts.
func (c *Core) recoverView(records [][]byte) {
	for _, b := range records {
		_, fields, err := decodeRecord(b)
		f, ok := fields.(*viewFields)
		if err != nil || !ok || f.View < c.view {
			continue
		}
		if len(f.Births) == c.n {
			c.rejoin.births = f.Births
		}
		c.view, c.active, c.vc.newView = f.View, f.Active, nil
		if f.Proposed {
			c.vc.proposed = f.View
		}
		if f.Active && f.View > 0 {
			m, err := wire.Decode(f.NewView)
			nv, ok := m.(*wire.NewView)
			if err != nil || !ok {
				c.active = false // ask for it again: peers resend NEW-VIEW on my STATUS
				c.status.badRecords++
				continue
			}
			c.vc.newView = nv
		}
	}
	c.recoverLostView(records)
	// The view may have started from a checkpoint that is not durable here. The log leads there (logDecided), or the others do;
	// until then its plan waits for the window.
	if c.vc.newView != nil {
		c.setPlan(c.vc.newView, 0)
	}
}

// recoverLostView leaves the newest view that I voted in for the next one, should a damaged log have lost the record that
// I entered it: a vote for an earlier view could contradict that one, and the NEW-VIEW that it started from is lost.
func (c *Core) recoverLostView(records [][]byte) {
	for _, b := range records {
		_, fields, err := decodeRecord(b)
		if err != nil {
			continue
		}
		if v := votedIn(fields); v > c.view || v == c.view && !c.active && v > 0 {
			c.view, c.active, c.vc.newView = v+1, false, nil
		}
	}
}

// votedIn is the view that a record is a vote in; 0 for one that is none.
func votedIn(fields any) wire.View {
	switch f := fields.(type) {
	case *acceptedFields:
		return f.View
	case *wire.PreparedEntry:
		return f.View
	case *abandonFields:
		return f.View
	}
	return 0
}

// recoverRecord applies one record; false if it cannot be read. The window may have been further on than the checkpoint that
// became durable: what the log says beyond the window is kept, and applied when the window gets there (replayLate).
func (c *Core) recoverRecord(b []byte) bool {
	kind, fields, err := decodeRecord(b)
	if err != nil {
		return false
	}
	seq := recordSeq(fields)
	if f, ok := fields.(*decidedFields); ok {
		c.recoverDecided(f)
	}
	switch {
	case seq > c.window.high():
		c.late = append(c.late, b)
		c.recoverNext(kind, fields)
		return true
	case !c.window.contains(seq):
		return true
	}
	switch f := fields.(type) {
	case *acceptedFields:
		return c.recoverAccepted(kind, f)
	case *wire.PreparedEntry:
		c.recoverEntry(kind, f)
	case *abandonFields:
		if f.View == c.view && c.active {
			s := c.window.slot(f.Seq)
			s.abandoned = true
			c.order.fence = max(c.order.fence, f.Seq)
			cast(s.abandons, c.me, f.View, wire.NullDigest)
		}
	}
	return true
}

// recordSeq is the sequence number that a record is about; 0 for one about the view.
func recordSeq(fields any) wire.Seq {
	switch f := fields.(type) {
	case *acceptedFields:
		return f.Seq
	case *wire.PreparedEntry:
		return f.Seq
	case *abandonFields:
		return f.Seq
	case *executedFields:
		return f.Seq
	case *decidedFields:
		return f.First + wire.Seq(len(f.Digests)) - 1
	}
	return 0
}

// recoverNext keeps a primary from proposing twice for a number beyond its window.
func (c *Core) recoverNext(kind byte, fields any) {
	if f, ok := fields.(*acceptedFields); ok && kind == recordAccepted && f.View == c.view && c.active {
		c.order.next = max(c.order.next, f.Seq+1)
	}
}

// replayLate applies the records that the window has reached.
func (c *Core) replayLate() {
	if len(c.late) == 0 {
		return
	}
	late := c.late
	c.late = nil
	for _, b := range late {
		c.recoverRecord(b) // a record that cannot be read was counted when it was recovered
	}
}

// reportLate puts the P and Q entries beyond the window into a VIEW-CHANGE: what was said was said.
func (c *Core) reportLate(m *wire.ViewChange) {
	if len(c.late) == 0 {
		return
	}
	beyond := newWindow(c.window.high(), wire.MaxWindow, c.n)
	for _, b := range c.late {
		kind, fields, err := decodeRecord(b)
		if err != nil || !beyond.contains(recordSeq(fields)) || recordSeq(fields) > m.Stable+wire.MaxWindow {
			continue
		}
		s := beyond.slot(recordSeq(fields))
		switch f := fields.(type) {
		case *acceptedFields:
			if kind == recordContent {
				continue
			}
			s.enterQ(wire.PreparedEntry{Seq: f.Seq, Digest: f.Digest, View: f.View})
		case *wire.PreparedEntry:
			s.enterQ(*f)
			if kind == recordPrepared {
				s.enterP(*f)
			}
		}
	}
	for seq := beyond.low + 1; seq <= beyond.high(); seq++ {
		if s := beyond.peek(seq); s != nil {
			if s.inP {
				m.Prepared = append(m.Prepared, s.p)
			}
			m.PrePrepared = append(m.PrePrepared, s.q...)
		}
	}
}

// recoverFloor finds how far clients may have replies of mine: everything that prepared, and everything that executed
// without. What prepared in an earlier view counts as far as the NEW-VIEW's plan goes.
func (c *Core) recoverFloor(records [][]byte) {
	end := wire.Seq(math.MaxUint64)
	if nv := c.vc.newView; nv != nil {
		end = nv.Start.Seq + wire.Seq(len(nv.Plan))
	}
	for _, b := range records {
		kind, fields, err := decodeRecord(b)
		if err != nil {
			continue
		}
		switch f := fields.(type) {
		case *executedFields:
			c.raiseReadFloor(f.Seq)
		case *decidedFields:
			c.raiseReadFloor(recordSeq(f))
		case *wire.PreparedEntry:
			if kind == recordPrepared && (f.View == c.view && c.active || f.Seq <= end) {
				c.raiseReadFloor(f.Seq)
			}
		}
	}
}

// recoverDecided takes up what was decided, as far as the window goes.
func (c *Core) recoverDecided(f *decidedFields) {
	for i, d := range f.Digests {
		if seq := f.First + wire.Seq(i); c.window.contains(seq) {
			s := c.window.slot(seq)
			s.decided, s.decision = true, d
			c.ckpt.logged = max(c.ckpt.logged, seq)
		}
	}
}

func (c *Core) recoverAccepted(kind byte, f *acceptedFields) bool {
	s := c.window.slot(f.Seq)
	if _, known := s.content(f.Digest); !known {
		w, err := wire.DecodeBatch(f.Content)
		if err != nil || sha256.Sum256(f.Content) != f.Digest || len(f.Bodies) != len(w.Requests) {
			return false
		}
		b := c.addContent(s, f.Digest, f.Content, w)
		b.room = math.MaxInt // it was accepted, under whatever configuration
		for i, body := range f.Bodies {
			r, err := wire.DecodeRequest(body)
			if err != nil || r.Digest() != w.Requests[i] {
				return false
			}
			b.put(i, r, true)
		}
		b.logged = true
	}
	if kind == recordContent {
		return true
	}
	s.enterQ(wire.PreparedEntry{Seq: f.Seq, Digest: f.Digest, View: f.View})
	if f.View == c.view && c.active {
		c.setProposal(s, f.Digest)
		s.accepted = true
		cast(s.prepares, c.me, f.View, f.Digest)
		cast(s.prepares, c.primary(f.View), f.View, f.Digest)
		c.order.newest = max(c.order.newest, f.Seq)
		c.order.next = max(c.order.next, f.Seq+1)
	}
	return true
}

func (c *Core) recoverEntry(kind byte, e *wire.PreparedEntry) {
	s := c.window.slot(e.Seq)
	current := e.View == c.view && c.active
	if kind == recordVoid {
		s.enterQ(*e)
		if current {
			s.voidOpen = true
			cast(s.voidPreps, c.me, e.View, wire.NullDigest)
		}
		return
	}
	s.enterP(*e)
	switch {
	case !current:
	case e.Void:
		s.voided = true
		cast(s.voidCom, c.me, e.View, wire.NullDigest)
	default:
		s.prepared = true
		cast(s.commits, c.me, e.View, e.Digest)
	}
}

// resume is the first Tick after New: it reports what was wrong with the log, executes what is known to be prepared, and
// asks the peers for the rest.
func (c *Core) resume(out *Effects) {
	c.resumed = true
	c.status.progress = c.now
	for range c.status.badRecords {
		c.trace(TraceBadRecord, 0, wire.NullDigest, c.me, out)
	}
	c.status.badRecords = 0
	if !c.active {
		c.sendViewChange(out)
	} else {
		c.restartTimer()
	}
	c.sendStatus(out)
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil {
			c.tryAccept(s, out)
		}
	}
}
