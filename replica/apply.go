package replica

import (
	"fmt"
	"strconv"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// step gives the core an event and does what it asks for, in the order in which it asks; the events that come of that
// follow at once (pbft.Executed documents the order).
func (n *Node) step(ev pbft.Event) {
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

// apply does one effect.
func (n *Node) apply(e pbft.Effect) {
	switch e := e.(type) {
	case pbft.Persist:
		if err := n.out.record(e); err != nil {
			n.storeFailed(err)
		}
	case pbft.Send:
		n.emit(e.To, e.Msg)
	case pbft.Broadcast:
		n.broadcast(e.Msg)
	case pbft.Reply:
		n.emit(wire.Principal{Role: wire.RoleClient, ID: uint32(e.Client)}, e.Reply)
		if n.flows.watched.Load() {
			n.flows.replied(e.Reply)
		}
	case pbft.Execute:
		n.execute(e)
	case pbft.Query:
		n.query(e)
	case pbft.Committed:
		n.snaps.committed(e.Seq)
	case pbft.Rollback:
		n.rollback(e)
	case pbft.TakeSnapshot:
		s := n.service.Snapshot()
		n.snaps.keep(e.ID, s)
		n.worker.root(e, s)
	case pbft.ReleaseSnapshot:
		n.worker.release(n.snaps.forget(e.ID))
	case pbft.StableCheckpoint:
		n.worker.checkpoint(e, n.snaps.forget(e.ID))
	case pbft.FetchState:
		n.fetch.start(e)
	case pbft.Rejoined:
		n.rejoined()
	case pbft.Trace:
		n.trace(e)
	default:
		panic(fmt.Sprintf("replica: the core asks for %T, which the node does not know", e))
	}
}

// broadcast sends to all other replicas; of a signed message the core gets the signed copy back.
func (n *Node) broadcast(m wire.Message) {
	sealed, err := n.verifier.Seal(m)
	if err != nil {
		panic(fmt.Sprintf("replica: the core's own message cannot be sealed: %v", err))
	}
	if pp, ok := m.(*wire.PrePrepare); ok {
		n.proposed(pp, len(sealed.Raw()))
	}
	n.emitAll(sealed)
	if n.flows.watched.Load() {
		n.flows.saw(m, FlowSent, n.info.Load())
	}
	if _, signed := m.(wire.SignedMessage); signed {
		n.pending = append(n.pending, pbft.Received{Message: sealed})
	}
}

// execute runs a batch and records its replies under the root.
func (n *Node) execute(e pbft.Execute) {
	if e.Tentative {
		n.snaps.keepUndo(e.Seq-1, n.service)
	}
	results := make([][]byte, len(e.Requests))
	for i, r := range e.Requests {
		if n.keys.stale(r) {
			results[i] = n.keys.service.RefuseKey(r.Op)
			n.refused(clientPrincipal(r.Client), refusedKey)
		} else {
			results[i] = n.service.Execute(r.Client, r.Op, e.Choice)
		}
		n.service.SetReply(r.Client, r.Slot, r.Number, results[i])
	}
	n.keys.install(n, false)
	if n.flows.watched.Load() {
		n.flows.executed(&e)
	}
	n.metrics.executed.Add(float64(len(e.Requests)))
	n.load.executed += uint64(len(e.Requests))
	n.pending = append(n.pending, pbft.Executed{ID: e.ID, Results: results})
}

// query answers a read-only operation.
func (n *Node) query(e pbft.Query) { n.pending = append(n.pending, n.answer(e)) }

// answer executes a read-only operation, unless the state is just being replaced.
func (n *Node) answer(e pbft.Query) pbft.Queried {
	a := pbft.Queried{ID: e.ID}
	switch {
	case n.fetch.running():
	case n.keys.stale(e.Request):
		a.Result, a.OK = n.keys.service.RefuseKey(e.Request.Op), true
		n.refused(clientPrincipal(e.Request.Client), refusedKey)
	default:
		a.Result, a.OK = n.service.Query(e.Request.Client, e.Request.Op)
		n.metrics.queried.Inc()
		n.load.queried++
	}
	return a
}

func (n *Node) rollback(e pbft.Rollback) {
	s := n.snaps.undo(e.ToSeq)
	if s == nil {
		panic(fmt.Sprintf("replica: the core rolls back to batch %d, for which no snapshot was kept", e.ToSeq))
	}
	n.service.Rollback(s)
	s.Release()
	n.keys.install(n, true)
}

// trace turns what the core reports into metrics and, if somebody is faulty or something was lost, a warning.
func (n *Node) trace(e pbft.Trace) {
	n.metrics.events.WithLabelValues(label(e.Event.String())).Inc()
	n.chronicle.note(e, time.Now())
	switch e.Event {
	case pbft.TraceAdopted:
		n.progress.adopted()
		n.decided(e.Seq)
	case pbft.TraceCommitted:
		n.decided(e.Seq)
	case pbft.TraceViewChange:
		n.metrics.viewChanges.WithLabelValues(e.Reason.String()).Inc()
	case pbft.TraceCorrupt:
		n.metrics.corruptions.Inc()
	default:
	}
	if accusing(e.Event) {
		n.suspect(uint32(e.Replica), label(e.Event.String()))
	}
	switch {
	case e.Event.Loud():
		n.log.Warn(e.Event.String(), "replica", n.self, "view", e.View, "seq", e.Seq, "digest", e.Digest, "about", e.Replica)
	case e.Event == pbft.TraceViewChange || e.Event == pbft.TraceNewView || e.Event == pbft.TraceFetching || e.Event == pbft.TraceFetched ||
		e.Event == pbft.TraceDoubt || e.Event == pbft.TraceRejoined:
		n.log.Info(e.Event.String(), "replica", n.self, "view", e.View, "seq", e.Seq, "reason", e.Reason)
	}
}

// suspect notes that a replica did what a correct one does not.
func (n *Node) suspect(replica uint32, what string) {
	n.metrics.suspicions.WithLabelValues(strconv.FormatUint(uint64(replica), 10), what).Inc()
	n.chronicle.suspect(replica, what, time.Now())
}

// rejoined has the store told that nothing is in doubt any more, behind the log and the checkpoint that this rests on.
func (n *Node) rejoined() {
	if n.store == nil {
		return
	}
	n.out.then(func() { n.worker.do(n.worker.settle) })
}
