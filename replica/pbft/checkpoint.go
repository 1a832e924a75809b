package pbft

import "bfsd/replica/wire"

// checkpointState holds my snapshots and everybody's CHECKPOINTs (TOCS §4.4).
type checkpointState struct {
	stable wire.CheckpointRef // durable, or becoming so
	low    wire.CheckpointRef // of the low water mark; above stable while I am catching up
	proof  []*wire.Checkpoint // of stable
	mine   []snapshot         // ascending; above stable

	logged wire.Seq // the log says what was decided up to here

	// When and where I was when f+1 CHECKPOINTs first showed that I am behind.
	behindSince int64
	behindAt    wire.Seq
	// received holds, by replica, its newest CHECKPOINTs, ascending by sequence number and above the low water mark.
	received [][]*wire.Checkpoint
	// diverged holds, by replica, the last checkpoint for which another root of its was reported.
	diverged []wire.Seq
}

// snapshot is a state of mine at a multiple of K.
type snapshot struct {
	id     uint64
	seq    wire.Seq
	root   wire.Digest
	hashed bool
	sent   bool
}

// checkpointsKept bounds what is kept of one replica's CHECKPOINTs: the window holds two of them, and one further shows
// that I am behind.
const checkpointsKept = 4

func newCheckpointState(n int) checkpointState {
	return checkpointState{received: make([][]*wire.Checkpoint, n), diverged: make([]wire.Seq, n)}
}

func (c *Core) snapshot(seq wire.Seq, out *Effects) {
	sn := snapshot{id: c.id(), seq: seq}
	c.ckpt.mine = append(c.ckpt.mine, sn)
	out.add(TakeSnapshot{ID: sn.id, Seq: seq})
}

func (c *Core) dropSnapshotsAbove(seq wire.Seq, out *Effects) {
	kept := c.ckpt.mine[:0]
	for _, sn := range c.ckpt.mine {
		if sn.seq > seq {
			out.add(ReleaseSnapshot{ID: sn.id})
			continue
		}
		kept = append(kept, sn)
	}
	c.ckpt.mine = kept
}

func (c *Core) onSnapshotted(ev Snapshotted, out *Effects) {
	for i := range c.ckpt.mine {
		if sn := &c.ckpt.mine[i]; sn.id == ev.ID {
			sn.root, sn.hashed = ev.Root, true
			c.sendCheckpoints(out)
			c.checkStable(out)
			return
		}
	}
}

// sendCheckpoints announces the snapshots that have committed and whose roots are known.
func (c *Core) sendCheckpoints(out *Effects) {
	for i := range c.ckpt.mine {
		sn := &c.ckpt.mine[i]
		if sn.hashed && !sn.sent && sn.seq <= c.exec.committed {
			sn.sent = true
			c.logDecided(sn.seq, out)
			out.add(Broadcast{Msg: &wire.Checkpoint{Seq: sn.seq, Root: sn.root, Replica: c.me}})
		}
	}
}

// logDecided records what is needed to come to a checkpoint's state again. A CHECKPOINT, and the C set of a VIEW-CHANGE,
// promise that the sender has that state: should everybody crash before it is durable as such, the log must lead there.
func (c *Core) logDecided(seq wire.Seq, out *Effects) {
	first := max(c.ckpt.logged, c.ckpt.stable.Seq) + 1
	var digests []wire.Digest
	for n := first; n <= seq; n++ {
		s := c.window.find(n)
		if s == nil || !s.decided {
			return // executed in a state that was fetched, hence durable
		}
		if b, _ := s.content(s.decision); b != nil && !b.logged {
			c.persist(n, func() []byte { return contentRecord(s, b) }, out)
		}
		digests = append(digests, s.decision)
	}
	c.ckpt.logged = max(c.ckpt.logged, seq)
	if len(digests) > 0 {
		c.persist(seq, func() []byte { return decidedRecord(first, digests) }, out)
	}
}

func (c *Core) onCheckpoint(m *wire.Checkpoint, out *Effects) {
	c.compare(m, out)
	if m.Seq <= c.ckpt.stable.Seq || m.Seq%wire.Seq(c.cfg.CheckpointInterval) != 0 {
		return
	}
	list := c.ckpt.received[m.Replica]
	at := 0
	for at < len(list) && list[at].Seq < m.Seq {
		at++
	}
	if at < len(list) && list[at].Seq == m.Seq {
		// A replica that repaired itself says another root than before, and a faulty one may have told me another than it told
		// those whose certificate I am being sent. Its newest word counts, unless more of the others share the one before:
		// whoever sends an old word again cannot undo a certificate that is forming.
		old := list[at]
		if old.Root != m.Root && len(c.certificate(wire.CheckpointRef{Seq: m.Seq, Root: m.Root}))+1 >= len(c.certificate(wire.CheckpointRef{Seq: old.Seq, Root: old.Root})) {
			list[at] = m
			c.checkStable(out)
		}
		return
	}
	list = append(list, nil)
	copy(list[at+1:], list[at:])
	list[at] = m
	if len(list) > checkpointsKept {
		list = list[1:] // the oldest: the newest ones show that I am behind
	}
	c.ckpt.received[m.Replica] = list
	c.checkStable(out)
}

// certificate gathers the CHECKPOINTs for a sequence number and root.
func (c *Core) certificate(ref wire.CheckpointRef) []*wire.Checkpoint {
	var cert []*wire.Checkpoint
	for _, list := range c.ckpt.received {
		for _, m := range list {
			if m.Seq == ref.Seq && m.Root == ref.Root {
				cert = append(cert, m)
			}
		}
	}
	return cert
}

// certified finds the newest checkpoint above a sequence number that at least so many replicas announced.
func (c *Core) certified(above wire.Seq, replicas int) (best wire.CheckpointRef, ok bool) {
	for _, list := range c.ckpt.received {
		for _, m := range list {
			ref := wire.CheckpointRef{Seq: m.Seq, Root: m.Root}
			if m.Seq > above && m.Seq > best.Seq && len(c.certificate(ref)) >= replicas {
				best, ok = ref, true
			}
		}
	}
	return best, ok
}

// checkStable looks for a quorum certificate of a state that I have: 2f+1 CHECKPOINTs with my root (TOCS §4.4).
func (c *Core) checkStable(out *Effects) {
	for i := len(c.ckpt.mine) - 1; i >= 0; i-- {
		sn := c.ckpt.mine[i]
		if !sn.hashed || sn.seq > c.exec.committed {
			continue
		}
		root, proof := c.quorumRoot(sn.seq)
		switch {
		case proof == nil:
		case root == sn.root:
			c.stabilise(sn, proof, out)
			return
		default:
			// Memory or disk lied, or the service is not deterministic: repair by state transfer.
			c.trace(TraceCorrupt, sn.seq, sn.root, c.me, out)
			c.startFetch(wire.CheckpointRef{Seq: sn.seq, Root: root}, proof, out)
			return
		}
	}
	c.checkBehind(out)
}

// quorumRoot finds the root that 2f+1 replicas announced for a sequence number.
func (c *Core) quorumRoot(seq wire.Seq) (wire.Digest, []*wire.Checkpoint) {
	for _, list := range c.ckpt.received {
		for _, m := range list {
			if m.Seq != seq {
				continue
			}
			if cert := c.certificate(wire.CheckpointRef{Seq: seq, Root: m.Root}); len(cert) >= c.cfg.quorum() {
				return m.Root, cert
			}
		}
	}
	return wire.NullDigest, nil
}

// stabilise makes a snapshot the stable checkpoint: the log up to it goes, the window moves.
func (c *Core) stabilise(sn snapshot, proof []*wire.Checkpoint, out *Effects) {
	ref := wire.CheckpointRef{Seq: sn.seq, Root: sn.root}
	c.ckpt.stable, c.ckpt.proof = ref, proof
	out.add(StableCheckpoint{ID: sn.id, Seq: sn.seq, Root: sn.root, Proof: proof})
	c.trace(TraceStable, sn.seq, sn.root, c.me, out)
	kept := c.ckpt.mine[:0]
	for _, other := range c.ckpt.mine {
		switch {
		case other.seq > sn.seq:
			kept = append(kept, other)
		case other.id != sn.id:
			out.add(ReleaseSnapshot{ID: other.id})
		}
	}
	c.ckpt.mine = kept
	for _, list := range c.ckpt.received {
		for _, m := range list {
			c.compare(m, out)
		}
	}
	c.dropCheckpoints(sn.seq)
	c.advanceWindow(ref)
	c.checkRejoined(out)
	c.tryExecute(out)
}

// compare reports a replica whose state differs from the stable checkpoint, once for each checkpoint: it lies, or its memory
// or disk did.
func (c *Core) compare(m *wire.Checkpoint, out *Effects) {
	if m.Seq == c.ckpt.stable.Seq && m.Root != c.ckpt.stable.Root && m.Replica != c.me && c.ckpt.diverged[m.Replica] < m.Seq {
		c.ckpt.diverged[m.Replica] = m.Seq
		c.trace(TraceDivergence, m.Seq, m.Root, m.Replica, out)
	}
}

// dropCheckpoints forgets the CHECKPOINTs up to a stable one.
func (c *Core) dropCheckpoints(seq wire.Seq) {
	for i, list := range c.ckpt.received {
		at := 0
		for at < len(list) && list[at].Seq <= seq {
			at++
		}
		c.ckpt.received[i] = append([]*wire.Checkpoint(nil), list[at:]...)
	}
}

// advanceWindow moves the water marks to a checkpoint that is proven, though perhaps not yet durable here or not yet
// fetched; what they leave below is collected (TOCS §4.4).
func (c *Core) advanceWindow(ref wire.CheckpointRef) {
	if ref.Seq <= c.window.low {
		return
	}
	high := c.window.high()
	c.window.advance(ref.Seq)
	c.ckpt.low = ref
	incomplete := c.order.incomplete[:0]
	for _, seq := range c.order.incomplete {
		if seq > ref.Seq {
			incomplete = append(incomplete, seq)
		}
	}
	c.order.incomplete = incomplete
	c.order.next = max(c.order.next, ref.Seq+1)
	if nv := c.vc.newView; nv != nil {
		c.setPlan(nv, high)
	}
	c.replayLate()
	c.reindexBodies()
}
