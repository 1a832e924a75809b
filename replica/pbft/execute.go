package pbft

import "bfsd/replica/wire"

// execState says how far execution has come.
type execState struct {
	last      wire.Seq // executed, perhaps tentatively
	committed wire.Seq // executed and committed
	running   []execution
	readFloor wire.Seq // reads see at least the state after this batch
	caughtUp  bool     // the state was as new as the others', since the start (caughtup.go)
}

// execution is an Execute that the service has not answered yet.
type execution struct {
	id       uint64
	seq      wire.Seq
	requests []*wire.Request
	slots    []*clientSlot
}

// tryExecute executes what can be executed, in order: committed batches, and, tentatively, prepared ones (TOCS §5).
//
// The paper executes a prepared batch once all lower ones have committed. Here it is enough that all lower ones have
// executed, so several batches may be tentative. That is safe because clients wait for 2f+1 replies of one view: each of
// those replicas holds, for every lower batch too, a prepared certificate of that view or the proof that it committed
// (a view change undoes all tentative executions, so what executes tentatively in v prepared in v). Any quorum of
// VIEW-CHANGEs thus contains, for every batch that a client's reply depends on, a correct replica with that batch in its
// P set, and A1 lets nothing else through.
func (c *Core) tryExecute(out *Effects) {
	c.advanceCommitted(out)
	for !c.fetch.wanted {
		s := c.window.peek(c.exec.last + 1)
		if s == nil {
			break
		}
		d, ok := c.executable(s)
		if !ok {
			break
		}
		b, known := s.content(d)
		if !known || b != nil && !c.fill(b) {
			c.noteIncomplete(s)
			break
		}
		c.execute(s, d, b, out)
		c.advanceCommitted(out)
	}
	if c.exec.last > c.order.newest && len(c.order.held) > 0 {
		c.flushCommits(out)
	}
	c.runEarlyReads(out)
	c.propose(out)
}

// executable says which batch a slot may execute.
func (c *Core) executable(s *slot) (wire.Digest, bool) {
	switch {
	case s.decided && (c.exec.committed == c.exec.last || c.unfenced()):
		return s.decision, true
	case c.active && !c.cfg.NoTentative && c.unfenced() && s.prepared && !s.voided:
		return s.digest, true
	}
	return wire.NullDigest, false
}

// unfenced says whether something may execute, or be read, before everything below it has committed. Not while a slot in which I
// abandoned the proposal of this view is open: see doubt.go.
func (c *Core) unfenced() bool { return c.exec.committed >= c.order.fence }

// execute hands a batch to the service, less what was executed before: the client table decides, exactly as on every
// other replica.
func (c *Core) execute(s *slot, d wire.Digest, b *batch, out *Effects) {
	s.executed, s.executedAs, s.undo = true, d, s.undo[:0]
	c.exec.last = s.seq
	if b != nil {
		if !s.prepared || s.digest != d {
			c.persist(s.seq, func() []byte { return executedRecord(s.seq) }, out) // replies will depend on it
		}
		run, urged := execution{seq: s.seq}, false
		for _, r := range b.requests {
			cs := c.clients.get(r.Client, r.Slot)
			if cs == nil || r.Number <= cs.last {
				continue
			}
			s.undo = append(s.undo, undoClient{cs, cs.last, cs.lastSeq, cs.result, cs.answered})
			cs.last, cs.lastSeq, cs.result, cs.answered = r.Number, s.seq, nil, false
			run.requests, run.slots = append(run.requests, r), append(run.slots, cs)
			urged = urged || cs.vouchedFor(r.Number)
		}
		if urged {
			c.flushCommits(out) // until it has committed, its slot's next request is held up (admit, vouch)
		}
		if len(run.requests) > 0 {
			run.id = c.id()
			c.exec.running = append(c.exec.running, run)
			tentative := !s.decided || c.exec.committed != s.seq-1
			out.add(Execute{ID: run.id, Seq: s.seq, Choice: b.choice, Requests: run.requests, Tentative: tentative})
		}
	}
	if s.seq%wire.Seq(c.cfg.CheckpointInterval) == 0 {
		c.snapshot(s.seq, out)
	}
}

// advanceCommitted moves the committed point over what executed and is decided.
func (c *Core) advanceCommitted(out *Effects) {
	before := c.exec.committed
	for c.exec.committed < c.exec.last {
		s := c.window.peek(c.exec.committed + 1)
		if s == nil || !s.decided {
			break
		}
		if s.executedAs != s.decision {
			// What prepared here did not commit: others went to a later view without my certificate, or voided the
			// proposal, and I learn of their decision before I learn of their view.
			c.trace(TraceUndone, s.seq, s.decision, c.me, out)
			c.rollback(out)
			break
		}
		c.exec.committed = s.seq
		c.settle(s)
	}
	if c.exec.committed == before {
		return
	}
	out.add(Committed{Seq: c.exec.committed})
	c.status.progress = c.now
	c.sendCheckpoints(out)
	c.releaseReads(out)
	c.progressed(out)
}

// settle forgets what was needed to undo a batch, and the requests it answered.
func (c *Core) settle(s *slot) {
	for i := range s.undo {
		s.undo[i].result = nil
		cs := s.undo[i].cs
		if cs.pending != nil && cs.pending.Number <= cs.last {
			c.dropPending(cs)
		}
	}
	s.undo = nil
}

// rollback undoes the tentative executions.
func (c *Core) rollback(out *Effects) {
	if c.exec.last == c.exec.committed || c.fetch.wanted {
		return
	}
	undone := false // null batches, and those that executed before, leave nothing to undo
	for seq := c.exec.last; seq > c.exec.committed; seq-- {
		s := c.window.peek(seq)
		undone = undone || len(s.undo) > 0
		for i := len(s.undo) - 1; i >= 0; i-- {
			u := s.undo[i]
			u.cs.last, u.cs.lastSeq, u.cs.result, u.cs.answered = u.last, u.lastSeq, u.result, u.answered
		}
		s.undo, s.executed = nil, false
	}
	c.raiseReadFloor(c.exec.last)
	c.exec.last = c.exec.committed
	c.exec.running = nil
	if undone {
		out.add(Rollback{ToSeq: c.exec.committed})
	}
	c.dropSnapshotsAbove(c.exec.committed, out)
	c.repeatReads(out)
}

// onExecuted takes the service's results and replies.
func (c *Core) onExecuted(ev Executed, out *Effects) {
	if len(c.exec.running) == 0 || c.exec.running[0].id != ev.ID {
		return // undone meanwhile
	}
	run := c.exec.running[0]
	c.exec.running = c.exec.running[1:]
	for i, r := range run.requests {
		cs := run.slots[i]
		if cs.last == r.Number && cs.lastSeq == run.seq {
			cs.result, cs.answered = ev.Results[i], true
		}
		full := r.Full() || r.Replier == c.me || cs.full && cs.pending != nil && cs.pending.Number == r.Number
		c.reply(cs, r.Number, run.seq, ev.Results[i], full, out)
	}
}

// reply answers a client: the designated replier with the result, the others with its digest (TOCS §5, digest replies).
func (c *Core) reply(cs *clientSlot, number uint64, seq wire.Seq, result []byte, full bool, out *Effects) {
	r := &wire.Reply{
		View: c.view, Seq: seq, Client: cs.client, Slot: cs.slot, Number: number, Replica: c.me,
		Tentative: seq > c.exec.committed, Digest: wire.ResultDigest(result),
	}
	c.finishReply(r, result, full)
	out.add(Reply{Client: cs.client, Reply: r})
}

func (c *Core) finishReply(r *wire.Reply, result []byte, full bool) {
	if full || c.cfg.NoDigestReplies || len(result) <= c.cfg.DigestReplyBytes {
		r.Full, r.Result = true, result
	}
}
