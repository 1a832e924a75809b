package pbft

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

const millisecond = int64(1e6)

// counterState is the toy service: a log of the operations that it executed. An operation's result is its place in the
// log and its text, so a lost, repeated or reordered execution shows in a result and in the root.
type counterState struct{ ops []appliedOp }

type appliedOp struct {
	seq    wire.Seq
	client wire.ClientID
	slot   wire.Slot
	number uint64
	op     string
	choice string
}

func (s *counterState) apply(seq wire.Seq, choice []byte, r *wire.Request) []byte {
	s.ops = append(s.ops[:len(s.ops):len(s.ops)], appliedOp{seq, r.Client, r.Slot, r.Number, string(r.Op), string(choice)})
	return counterResult(len(s.ops), string(r.Op))
}

func counterResult(place int, op string) []byte { return fmt.Appendf(nil, "%d:%s", place, op) }

func (s counterState) root() wire.Digest {
	h := sha256.New()
	for _, op := range s.ops {
		fmt.Fprintf(h, "%+v\n", op)
	}
	return wire.Digest(h.Sum(nil))
}

func (s counterState) replies() []ClientReply {
	var list []ClientReply
	for i, op := range s.ops {
		r := ClientReply{op.client, op.slot, op.number, counterResult(i+1, op.op)}
		at := slices.IndexFunc(list, func(o ClientReply) bool { return o.Client == r.Client && o.Slot == r.Slot })
		if at < 0 {
			list = append(list, r)
		} else {
			list[at] = r
		}
	}
	return list
}

// envelope is a frame on its way.
type envelope struct {
	from, to wire.Principal
	frame    []byte
	msg      wire.Message // for traces and filters
	due      int64
}

// snap is a snapshot that a node holds.
type snap struct {
	id    uint64
	seq   wire.Seq
	state counterState
}

// node is a replica: a core, and the driver that package replica has for real.
type node struct {
	c        *cluster
	id       wire.ReplicaID
	core     *Core
	verifier *auth.Verifier
	up       bool

	byzantine bool // its messages are tampered with, its state does not matter

	state     counterState
	undo      []snap // before tentative executions, by Seq−1
	snaps     []snap
	hashing   []snap // snapshots whose root the test has yet to deliver, when it delays that
	stable    snap
	proof     []*wire.Checkpoint
	committed wire.Seq

	log      []logged // what Persist wrote
	doubt    *Doubt   // the log is not all of it
	deferred []Event
}

type logged struct {
	seq    wire.Seq
	record []byte
}

// cluster is a group in memory. Time passes only when the test says so.
type cluster struct {
	tb      testing.TB
	cfg     Config
	keys    *authtest.Cluster
	nodes   []*node
	now     int64
	net     []envelope
	replies []*wire.Reply

	// route decides when a message arrives; ok false: never. nil: at once.
	route func(e envelope) (delays []int64)
	// tamper replaces what a Byzantine replica sends to one receiver; nil: everybody is honest.
	tamper func(n *node, to wire.Principal, m wire.Message) []wire.Message
	// trace sees every effect, before it is applied.
	trace func(n *node, e Effect)
	// agreed is the history that the replicas committed, in order: the first to commit writes it, the others must agree.
	agreed    []appliedOp
	nonces    uint64
	delayRoot bool
	// transfer, if set, says whether a state transfer is answered now; the test answers it otherwise.
	transfer func(n *node, e FetchState) bool
	bench    bool // histories are thrown away: do not compare them
}

func newCluster(tb testing.TB, f int, change func(*Config), clients ...wire.ClientID) *cluster {
	tb.Helper()
	c := &cluster{tb: tb, now: 1000 * millisecond}
	c.cfg = Config{
		F: f, Clients: clients, Slots: 4, CheckpointInterval: 8, BatchWindow: 4,
		Propose: func(now int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(now)) },
		Check: func(choice []byte, now int64) error {
			if len(choice) != 8 {
				return errors.New("no time")
			}
			if d := int64(binary.BigEndian.Uint64(choice)) - now; d > 1e9*3600 || d < -1e9*3600 {
				return errors.New("far from my clock")
			}
			return nil
		},
	}
	if change != nil {
		change(&c.cfg)
	}
	c.keys = authtest.New(tb, c.cfg.N(), clients...)
	for i := range c.cfg.N() {
		n := &node{c: c, id: wire.ReplicaID(i), verifier: c.keys.Verifier(authtest.Replica(wire.ReplicaID(i)))}
		c.nodes = append(c.nodes, n)
		n.start()
	}
	return c
}

// start makes the node's core from what its disk holds.
func (n *node) start() {
	cfg := n.c.cfg
	cfg.ID = n.id
	rec := Recovered{Proof: n.proof, Doubt: n.doubt}
	if n.stable.seq > 0 {
		rec.Stable = wire.CheckpointRef{Seq: n.stable.seq, Root: n.stable.state.root()}
	}
	n.state = n.stable.state
	rec.Replies = n.state.replies()
	for _, l := range n.log {
		rec.Records = append(rec.Records, l.record)
	}
	n.undo, n.snaps, n.hashing, n.deferred, n.committed = nil, nil, nil, nil, n.stable.seq
	n.core, n.up = New(cfg, rec), true
	n.step(Tick{})
}

// crash stops a node; its disk stays.
func (n *node) crash() { n.up = false }

// forget loses the log of a node that is down, and its checkpoint if all is lost. knows says that the view is known all the
// same.
func (n *node) forget(all, knows bool) {
	n.c.nonces++
	n.doubt = &Doubt{Nonce: n.c.nonces, ViewKnown: knows}
	if knows {
		n.doubt.View = n.core.view
	}
	n.log = nil
	if all {
		n.stable, n.proof = snap{}, nil
	}
}

// step runs one event and what follows from it, as the driver's contract says.
func (n *node) step(ev Event) {
	n.deferred = append(n.deferred, ev)
	for len(n.deferred) > 0 {
		ev := n.deferred[0]
		n.deferred = n.deferred[1:]
		var out Effects
		n.core.Step(n.c.now, ev, &out)
		answers := n.deferred
		n.deferred = nil
		for _, e := range out {
			if n.c.trace != nil {
				n.c.trace(n, e)
			}
			n.apply(e)
		}
		n.deferred = append(n.deferred, answers...)
	}
}

// answer queues an event that an effect produced.
func (n *node) answer(ev Event) { n.deferred = append(n.deferred, ev) }

func (n *node) apply(e Effect) {
	switch e := e.(type) {
	case Persist:
		n.log = append(n.log, logged{e.Seq, e.Record})
	case Send:
		n.post(e.To, e.Msg)
	case Broadcast:
		n.broadcast(e.Msg)
	case Execute:
		if e.Tentative {
			n.undo = append(n.undo, snap{seq: e.Seq - 1, state: n.state})
		}
		var results [][]byte
		for _, r := range e.Requests {
			results = append(results, n.state.apply(e.Seq, e.Choice, r))
		}
		n.answer(Executed{ID: e.ID, Results: results})
	case Rollback:
		n.rollback(e.ToSeq)
	case Committed:
		n.commit(e.Seq)
	case Query:
		n.answer(Queried{ID: e.ID, Result: counterResult(len(n.state.ops), string(e.Request.Op)), OK: string(e.Request.Op) != "must be ordered"})
	case TakeSnapshot:
		s := snap{e.ID, e.Seq, n.state}
		n.snaps = append(n.snaps, s)
		if n.c.delayRoot {
			n.hashing = append(n.hashing, s)
		} else {
			n.answer(Snapshotted{ID: s.id, Root: s.state.root()})
		}
	case ReleaseSnapshot:
		n.release(e.ID)
	case StableCheckpoint:
		n.makeStable(e)
	case FetchState:
		if n.c.transfer == nil || n.c.transfer(n, e) {
			n.fetchState(e)
		}
	case Reply:
		n.post(authtest.Client(e.Client), e.Reply)
	case Trace:
	case Rejoined:
		n.doubt = nil
	default:
		n.c.tb.Fatalf("effect %T is not applied", e)
	}
}

func (n *node) post(to wire.Principal, m wire.Message) {
	if n.byzantine {
		n.lie(to, m)
		return
	}
	n.c.post(envelope{from: authtest.Replica(n.id), to: to, frame: wire.Encode(m), msg: m})
}

func (n *node) broadcast(m wire.Message) {
	v, err := n.verifier.Seal(m)
	if err != nil {
		n.c.tb.Fatal(err)
	}
	for _, other := range n.c.nodes {
		switch {
		case other == n:
		case n.byzantine:
			n.lie(authtest.Replica(other.id), m)
		default:
			n.c.post(envelope{from: authtest.Replica(n.id), to: authtest.Replica(other.id), frame: v.Raw(), msg: m})
		}
	}
	if _, signed := m.(wire.SignedMessage); signed {
		n.answer(Received{v})
	}
}

// lie sends what a Byzantine replica makes of a message, sealed with its own keys.
func (n *node) lie(to wire.Principal, m wire.Message) {
	for _, m := range n.c.tamper(n, to, m) {
		if s, ok := m.(wire.Sent); ok && s.Sender() != n.id {
			n.c.post(envelope{from: authtest.Replica(n.id), to: to, frame: wire.Encode(m), msg: m}) // relayed
			continue
		}
		v, err := n.verifier.Seal(m)
		if err != nil {
			n.c.tb.Fatal(err)
		}
		n.c.post(envelope{from: authtest.Replica(n.id), to: to, frame: v.Raw(), msg: m})
	}
}

func (n *node) rollback(to wire.Seq) {
	for i, s := range n.undo {
		if s.seq >= to {
			n.state, n.undo = s.state, n.undo[:i]
			return
		}
	}
	n.c.tb.Fatalf("replica %d: rollback to %d, but there is no snapshot for it", n.id, to)
}

// commit checks agreement: what a replica commits is a prefix of one history.
func (n *node) commit(seq wire.Seq) {
	n.committed = seq
	n.undo = slices.DeleteFunc(n.undo, func(s snap) bool { return s.seq < seq })
	n.checkPrefix(seq)
}

func (n *node) checkPrefix(seq wire.Seq) {
	for i, op := range n.state.ops {
		if op.seq > seq || n.byzantine || n.c.bench {
			break
		}
		if i == len(n.c.agreed) {
			n.c.agreed = append(n.c.agreed, op)
		}
		if n.c.agreed[i] != op {
			n.c.tb.Fatalf("replica %d committed %+v in place %d, another replica %+v", n.id, op, i, n.c.agreed[i])
		}
	}
}

func (n *node) release(id uint64) {
	before := len(n.snaps)
	n.snaps = slices.DeleteFunc(n.snaps, func(s snap) bool { return s.id == id })
	if len(n.snaps) == before {
		n.c.tb.Fatalf("replica %d released snapshot %d, which it does not have", n.id, id)
	}
	n.hashing = slices.DeleteFunc(n.hashing, func(s snap) bool { return s.id == id })
}

func (n *node) makeStable(e StableCheckpoint) {
	i := slices.IndexFunc(n.snaps, func(s snap) bool { return s.id == e.ID })
	if i < 0 || n.snaps[i].seq != e.Seq || n.snaps[i].state.root() != e.Root {
		n.c.tb.Fatalf("replica %d: stable checkpoint %d is not a snapshot of it", n.id, e.Seq)
	}
	if len(e.Proof) < n.c.cfg.quorum() {
		n.c.tb.Fatalf("replica %d: stable checkpoint %d with %d signatures", n.id, e.Seq, len(e.Proof))
	}
	n.stable, n.proof = n.snaps[i], e.Proof
	n.snaps = slices.Delete(n.snaps, i, i+1)
	n.truncate(e.Seq)
}

// truncate drops the records that a durable checkpoint makes superfluous, and all view records but the newest.
func (n *node) truncate(seq wire.Seq) {
	var kept []logged
	newestView := -1
	for i, l := range n.log {
		if l.seq == 0 {
			newestView = i
		}
	}
	for i, l := range n.log {
		if l.seq > seq || l.seq == 0 && i == newestView {
			kept = append(kept, l)
		}
	}
	n.log = kept
}

func (n *node) fetchState(e FetchState) {
	for _, src := range e.Sources {
		s := n.c.nodes[src]
		for _, held := range append([]snap{s.stable}, s.snaps...) {
			if held.seq == e.Seq && held.state.root() == e.Root {
				n.state, n.undo = held.state, nil
				n.stable, n.proof, n.committed = held, e.Proof, e.Seq
				n.truncate(e.Seq)
				n.checkPrefix(e.Seq)
				n.answer(StateFetched{Seq: e.Seq, Root: e.Root, Replies: n.state.replies()})
				return
			}
		}
	}
	n.answer(StateUnavailable{Seq: e.Seq, Root: e.Root})
}
