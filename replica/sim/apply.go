package sim

import (
	"slices"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// step gives the core an event and does what it asks for, then the events that came of that (pbft.Executed says in which
// order).
func (n *node) step(ev pbft.Event) {
	n.pending = append(n.pending, ev)
	for i := 0; i < len(n.pending); i++ {
		n.effects = n.effects[:0]
		n.core.Step(n.now(), n.pending[i], &n.effects)
		n.pending[i] = nil
		for j, e := range n.effects {
			n.apply(e)
			n.effects[j] = nil
		}
	}
	n.pending = n.pending[:0]
}

func (n *node) apply(e pbft.Effect) {
	switch e := e.(type) {
	case pbft.Persist:
		n.disk.append(e)
	case pbft.Send:
		n.frame(e.To, wire.Encode(e.Msg), e.Msg)
	case pbft.Broadcast:
		n.broadcast(e.Msg)
	case pbft.Reply:
		n.frame(clientPrincipal(e.Client), wire.Encode(e.Reply), e.Reply)
	case pbft.Execute:
		n.execute(e)
	case pbft.Query:
		answer := pbft.Queried{ID: e.ID}
		if n.transfer == nil {
			answer.Result, answer.OK = n.service.Query(e.Request.Client, e.Request.Op)
		}
		n.pending = append(n.pending, answer)
	case pbft.Committed:
		n.undos = slices.DeleteFunc(n.undos, func(u undo) bool { return u.after < e.Seq })
		n.w.check.committed(n, e.Seq)
	case pbft.Rollback:
		n.rollback(e)
	case pbft.TakeSnapshot:
		n.takeSnapshot(e)
	case pbft.ReleaseSnapshot:
		n.release(e.ID)
	case pbft.StableCheckpoint:
		n.stable(e)
	case pbft.FetchState:
		n.fetch(e)
	case pbft.Rejoined:
		n.w.tracef("r%d has rejoined", n.id)
		n.settles = n.disk.appended + 1
		n.settle()
	case pbft.Trace:
		n.w.tracef("r%d %v v%d n%d %v", n.id, e.Event, e.View, e.Seq, e.Digest)
		n.w.check.traced(n, e)
	default:
		n.w.fail("r%d: the driver does not know effect %T", n.id, e)
	}
}

// broadcast sends to all other replicas; of a signed message the core gets the signed copy back.
func (n *node) broadcast(m wire.Message) {
	sealed, err := n.verifier.Seal(m)
	if err != nil {
		n.w.fail("r%d: the core's own message cannot be sealed: %v", n.id, err)
		return
	}
	for i := range n.w.plan.n {
		if wire.ReplicaID(i) != n.id {
			n.frame(replicaPrincipal(wire.ReplicaID(i)), sealed.Raw(), m)
		}
	}
	if _, signed := m.(wire.SignedMessage); signed {
		n.pending = append(n.pending, pbft.Received{Message: sealed})
	}
}

func (n *node) execute(e pbft.Execute) {
	if e.Tentative {
		if k := len(n.undos); k == 0 || n.undos[k-1].after < e.Seq-1 {
			n.undos = append(n.undos, undo{e.Seq - 1, n.service.Snapshot()})
		}
	}
	results := make([][]byte, len(e.Requests))
	for i, r := range e.Requests {
		results[i] = n.service.Execute(r.Client, r.Op, e.Choice)
		n.service.SetReply(r.Client, r.Slot, r.Number, results[i])
	}
	n.w.check.executed(n, e, results)
	n.pending = append(n.pending, pbft.Executed{ID: e.ID, Results: results})
}

func (n *node) rollback(e pbft.Rollback) {
	n.w.tracef("r%d rolls back to %d", n.id, e.ToSeq)
	n.w.check.rolledBack(n, e.ToSeq)
	for i, u := range n.undos {
		if u.after >= e.ToSeq {
			n.service.Rollback(u.state)
			n.undos = n.undos[:i]
			return
		}
	}
	n.w.fail("r%d rolls back to batch %d, for which no snapshot was to be kept", n.id, e.ToSeq)
}

func (n *node) takeSnapshot(e pbft.TakeSnapshot) {
	s := n.service.Snapshot()
	n.snaps = append(n.snaps, held{id: e.ID, state: s})
	n.alive(n.hashing(), func() {
		for i := range n.snaps {
			n.snaps[i].hashed = n.snaps[i].hashed || n.snaps[i].id == e.ID
		}
		n.step(pbft.Snapshotted{ID: e.ID, Root: s.Root()})
		n.flush()
	})
}

// hashing is how long it takes to hash a snapshot, or to write a checkpoint.
func (n *node) hashing() int64 {
	if n.w.plan.hashing == 0 {
		return 0
	}
	return n.rng.Int64N(n.w.plan.hashing)
}

func (n *node) release(id uint64) {
	for i, h := range n.snaps {
		if h.id == id {
			n.snaps = slices.Delete(n.snaps, i, i+1)
			return
		}
	}
	n.w.fail("r%d releases snapshot %d, which it does not hold", n.id, id)
}

// stable writes a checkpoint to the disk, in the background, and lets peers fetch it.
func (n *node) stable(e pbft.StableCheckpoint) {
	n.w.check.stable(n, e)
	for i, h := range n.snaps {
		if h.id == e.ID {
			n.snaps = slices.Delete(n.snaps, i, i+1)
			n.write(checkpoint{wire.CheckpointRef{Seq: e.Seq, Root: e.Root}, e.Proof, h.state}, nil)
			return
		}
	}
	n.w.fail("r%d: checkpoint %d is stable, but no snapshot is held for it", n.id, e.Seq)
}

// write makes checkpoints durable one after another, and does what follows.
func (n *node) write(c checkpoint, then func()) {
	n.writing = append(n.writing, c)
	if len(n.writing) > 1 && then == nil {
		return // the write that is going on goes on with it
	}
	n.alive(n.hashing(), func() {
		for _, c := range n.writing {
			n.disk.adopt(&c)
			n.pin(c)
		}
		n.writing = nil
		n.settle()
		if then != nil {
			then()
		}
	})
}

// statesPinned is how many stable states are kept for peers, as replica.Node does.
const statesPinned = 2

func (n *node) pin(c checkpoint) {
	n.pinned = append(n.pinned, c)
	if len(n.pinned) > statesPinned {
		n.pinned = slices.Delete(n.pinned, 0, 1)
	}
}
