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
	c.recoverView(rec.Records)
	for _, b := range rec.Records {
		if !c.recoverRecord(b) {
			c.status.badRecords++
		}
	}
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
		c.view, c.active, c.vc.newView = f.View, f.Active, nil
		if f.Proposed {
			c.vc.proposed = f.View
		}
		if f.Active {
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
	if c.vc.newView != nil {
		c.recoverPlan(c.vc.newView)
	}
}

// recoverPlan sets the proposals that come from the NEW-VIEW.
func (c *Core) recoverPlan(nv *wire.NewView) {
	if nv.Start.Seq > c.window.low {
		c.window.advance(nv.Start.Seq)
		c.ckpt.low = nv.Start
		if c.exec.committed < nv.Start.Seq {
			c.fetch = transferState{wanted: true, target: nv.Start}
		}
	}
	c.setPlan(nv)
}

func (c *Core) recoverRecord(b []byte) bool {
	kind, fields, err := decodeRecord(b)
	if err != nil {
		return false
	}
	switch f := fields.(type) {
	case *acceptedFields:
		return !c.window.contains(f.Seq) || c.recoverAccepted(f)
	case *wire.PreparedEntry:
		if c.window.contains(f.Seq) {
			c.recoverEntry(kind, f)
		}
	case *abandonFields:
		if c.window.contains(f.Seq) && f.View == c.view && c.active {
			s := c.window.slot(f.Seq)
			s.abandoned = true
			cast(s.abandons, c.me, f.View, wire.NullDigest)
		}
	}
	return true
}

func (c *Core) recoverAccepted(f *acceptedFields) bool {
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
