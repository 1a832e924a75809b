package pbft

import "bfsd/replica/wire"

// transferState is the core's side of state transfer (TOCS §4.6): which state, when. Fetching it is the driver's.
type transferState struct {
	active bool // FetchState is out
	wanted bool // target is needed; stays true when nobody had it
	target wire.CheckpointRef
	proof  []*wire.Checkpoint
	retry  int64
}

// checkBehind starts a state transfer when f+1 signed CHECKPOINTs show a state that the log will not lead to: beyond the
// window, or no progress towards it for a while, because the peers dropped those batches from their logs.
func (c *Core) checkBehind(out *Effects) {
	if c.fetch.active {
		return
	}
	ref, ok := c.certified(c.exec.committed, c.cfg.weak())
	if c.fetch.wanted {
		if c.now < c.fetch.retry {
			return
		}
		if !ok || ref.Seq <= c.fetch.target.Seq {
			c.fetchFrom(c.fetch.target, c.fetch.proof, c.others(), out)
			return
		}
	}
	if !ok {
		c.ckpt.behindSince = 0
		return
	}
	if c.ckpt.behindSince == 0 || c.ckpt.behindAt != c.exec.committed {
		c.ckpt.behindSince, c.ckpt.behindAt = c.now, c.exec.committed
	}
	stuck := c.now-c.ckpt.behindSince >= 3*c.cfg.StatusInterval
	if c.fetch.wanted || ref.Seq > c.window.high() || stuck {
		c.startFetch(ref, c.certificate(ref), out)
	}
}

// startFetch begins a state transfer from those who announced the checkpoint.
func (c *Core) startFetch(ref wire.CheckpointRef, proof []*wire.Checkpoint, out *Effects) {
	sources := make([]wire.ReplicaID, 0, len(proof))
	for _, m := range proof {
		if m.Replica != c.me {
			sources = append(sources, m.Replica)
		}
	}
	c.fetchFrom(ref, proof, sources, out)
}

// fetchFrom begins a state transfer. The window moves at once, so that the batches ordered meanwhile are not lost: they
// execute when the state is there.
func (c *Core) fetchFrom(ref wire.CheckpointRef, proof []*wire.Checkpoint, sources []wire.ReplicaID, out *Effects) {
	c.raiseReadFloor(c.exec.last)
	c.rollback(out) // the driver keeps nothing to undo on top of a state that goes
	c.fetch = transferState{active: true, wanted: true, target: ref, proof: proof}
	c.exec.running = nil
	for _, sn := range c.ckpt.mine {
		out.add(ReleaseSnapshot{ID: sn.id})
	}
	c.ckpt.mine = nil
	c.advanceWindow(ref)
	c.trace(TraceFetching, ref.Seq, ref.Root, c.me, out)
	out.add(FetchState{Seq: ref.Seq, Root: ref.Root, Sources: sources, Proof: proof})
}

// others lists the other replicas: state is addressed by content, so anybody may have it.
func (c *Core) others() []wire.ReplicaID {
	var ids []wire.ReplicaID
	for i := range c.n {
		if i != int(c.me) {
			ids = append(ids, wire.ReplicaID(i))
		}
	}
	return ids
}

func (c *Core) onStateFetched(ev StateFetched, out *Effects) {
	if !c.fetch.active || ev.Seq != c.fetch.target.Seq || ev.Root != c.fetch.target.Root {
		return
	}
	ref := c.fetch.target
	c.ckpt.stable, c.ckpt.proof = ref, c.fetch.proof
	c.fetch = transferState{}
	c.dropCheckpoints(ref.Seq)
	c.trace(TraceFetched, ref.Seq, ref.Root, c.me, out)
	c.clients.restore(ev.Replies, ref.Seq)
	c.exec = execState{last: ref.Seq, committed: ref.Seq, readFloor: c.exec.readFloor}
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil {
			s.executed, s.undo = false, nil
		}
	}
	c.dropExecuted()
	c.status.progress = c.now
	c.checkRejoined(out)
	c.repeatReads(out)
	c.progressed(out)
	c.tryExecute(out)
	c.checkStable(out)
}

// dropExecuted forgets the pending requests that a fetched state has executed.
func (c *Core) dropExecuted() {
	for i := range c.clients.rows {
		for j := range c.clients.rows[i] {
			cs := &c.clients.rows[i][j]
			if cs.pending != nil && cs.pending.Number <= cs.last {
				c.dropPending(cs)
			}
		}
	}
}

func (c *Core) onStateUnavailable(ev StateUnavailable, out *Effects) {
	if !c.fetch.active || ev.Seq != c.fetch.target.Seq || ev.Root != c.fetch.target.Root {
		return
	}
	c.trace(TraceStateOutdated, ev.Seq, ev.Root, c.me, out)
	c.fetch.active = false
	c.fetch.retry = c.now + c.cfg.StatusInterval
}
