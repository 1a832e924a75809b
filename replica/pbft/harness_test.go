package pbft

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	delayRoot bool
	bench     bool // histories are thrown away: do not compare them
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
	rec := Recovered{Proof: n.proof}
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
		n.fetchState(e)
	case Reply:
		n.post(authtest.Client(e.Client), e.Reply)
	case Trace:
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

func (c *cluster) post(e envelope) {
	delays := []int64{0}
	if c.route != nil {
		delays = c.route(e)
	}
	for _, d := range delays {
		e.due = c.now + d
		c.net = append(c.net, e)
	}
}

// deliver hands over the first message that is due; false when there is none.
func (c *cluster) deliver() bool {
	at := -1
	for i := range c.net {
		if c.net[i].due <= c.now && (at < 0 || c.net[i].due < c.net[at].due) {
			at = i
		}
		if at >= 0 && c.route == nil {
			break // nothing is delayed: first come, first served
		}
	}
	if at < 0 {
		return false
	}
	e := c.net[at]
	c.net = slices.Delete(c.net, at, at+1)
	c.arrive(e)
	return true
}

func (c *cluster) arrive(e envelope) {
	if e.to.Role == wire.RoleClient {
		m, err := wire.Decode(e.frame)
		if err != nil {
			c.tb.Fatal(err)
		}
		c.replies = append(c.replies, m.(*wire.Reply))
		return
	}
	n := c.nodes[e.to.ID]
	if !n.up {
		return
	}
	v, err := n.verifier.Verify(e.from, e.frame)
	if err != nil {
		if errors.Is(err, auth.ErrUnverified) && e.msg.Kind() == wire.KindRequest {
			return // a faulty client
		}
		if n.c.tamper != nil {
			return // a Byzantine replica sent something that does not verify
		}
		c.tb.Fatalf("%v → %v: %v", e.from, e.to, err)
	}
	n.step(Received{v})
}

// settle delivers everything that is due.
func (c *cluster) settle() {
	for c.deliver() {
		continue
	}
}

// pass lets time pass in ticks of 5 ms, delivering what becomes due.
func (c *cluster) pass(d int64) {
	for end := c.now + d; c.now < end; {
		c.now = min(end, c.now+5*millisecond)
		c.settle()
		for _, n := range c.nodes {
			if n.up {
				n.step(Tick{})
			}
		}
		c.settle()
	}
}

// request sends a client's request to some replicas.
func (c *cluster) request(r *wire.Request, to ...int) {
	for _, id := range to {
		c.post(envelope{from: authtest.Client(r.Client), to: authtest.Replica(wire.ReplicaID(id)), frame: wire.Encode(r), msg: r})
	}
}

func (c *cluster) all() []int {
	ids := make([]int, len(c.nodes))
	for i := range ids {
		ids[i] = i
	}
	return ids
}

// accepted applies the client's rule to the replies that arrived: 2f+1 replicas with the same digest, the same kind, and,
// while some are tentative, the same view; one of them with the result.
func (c *cluster) accepted(client wire.ClientID, slot wire.Slot, number uint64) (string, bool) {
	result, _, ok := c.acceptedAs(client, slot, number)
	return result, ok
}

// acceptedAs tells also whether the result came without ordering.
func (c *cluster) acceptedAs(client wire.ClientID, slot wire.Slot, number uint64) (result string, readOnly, ok bool) {
	type class struct {
		digest   wire.Digest
		view     wire.View
		readOnly bool
	}
	voters := map[class]map[wire.ReplicaID]bool{}
	results := map[wire.Digest]string{}
	vote := func(k class, from wire.ReplicaID) {
		if voters[k] == nil {
			voters[k] = map[wire.ReplicaID]bool{}
		}
		voters[k][from] = true
	}
	for _, r := range c.replies {
		if r.Client != client || r.Slot != slot || r.Number != number {
			continue
		}
		if r.Full {
			results[r.Digest] = string(r.Result)
		}
		if r.Tentative {
			vote(class{r.Digest, r.View, r.ReadOnly}, r.Replica)
			continue
		}
		for v := range wire.View(32) { // a final reply supports the tentative ones of any view
			vote(class{r.Digest, v, r.ReadOnly}, r.Replica)
		}
	}
	for k, who := range voters {
		if result, known := results[k.digest]; known && len(who) >= c.cfg.quorum() {
			return result, k.readOnly, true
		}
	}
	return "", false, false
}

// mustAgree checks that the replicas in the list have executed and committed the same, and end with equal states.
func (c *cluster) mustAgree(ids ...int) {
	c.tb.Helper()
	first := c.nodes[ids[0]]
	for _, id := range ids {
		n := c.nodes[id]
		if n.core.exec.committed != n.core.exec.last {
			c.tb.Errorf("replica %d executed %d but committed %d", id, n.core.exec.last, n.core.exec.committed)
		}
		if n.core.exec.committed != first.core.exec.committed || n.state.root() != first.state.root() {
			c.tb.Errorf("replica %d committed %d with root %v, replica %d %d with %v", id, n.core.exec.committed, n.state.root(),
				first.id, first.core.exec.committed, first.state.root())
		}
	}
}

// mustBeUnique checks exactly-once execution.
func (c *cluster) mustBeUnique() {
	c.tb.Helper()
	for i, a := range c.agreed {
		for _, b := range c.agreed[:i] {
			if a.client == b.client && a.slot == b.slot && a.number <= b.number {
				c.tb.Fatalf("executed %+v after %+v", a, b)
			}
		}
	}
}

// describe writes a message as one line for traces.
func describe(m wire.Message) string {
	switch m := m.(type) {
	case *wire.Request:
		return fmt.Sprintf("REQUEST c%d/%d #%d%s %q", m.Client, m.Slot, m.Number, flagNames(m.Flags), clip(m.Op))
	case *wire.Vouch:
		return fmt.Sprintf("VOUCH c%d/%d #%d", m.Client, m.Slot, m.Number)
	case *wire.PrePrepare:
		return fmt.Sprintf("PRE-PREPARE v%d n%d [%s]%s", m.View, m.Seq, describeEntries(m), describeVotes(m.Commits))
	case *wire.Prepare:
		return fmt.Sprintf("PREPARE v%d n%d%s%s", m.View, m.Seq, null(m.Digest), describeVotes(m.Commits))
	case *wire.Commit:
		return fmt.Sprintf("COMMIT v%d n%d%s", m.View, m.Seq, null(m.Digest))
	case *wire.Abandon:
		return fmt.Sprintf("ABANDON v%d n%d, doubts %d requests", m.View, m.Seq, len(m.Doubted))
	case *wire.Reply:
		return describeReply(m)
	case *wire.Checkpoint:
		return fmt.Sprintf("CHECKPOINT n%d %v", m.Seq, m.Root)
	case *wire.ViewChange:
		return fmt.Sprintf("VIEW-CHANGE v%d h%d C%s P%s Q%s", m.View, m.Stable, describeRefs(m.Checkpoints), describeEntriesOf(m.Prepared), describeEntriesOf(m.PrePrepared))
	case *wire.NewView:
		return describeNewView(m)
	case *wire.Status:
		return fmt.Sprintf("STATUS v%d active=%t h%d executed=%d pre-prepared=%s prepared=%s committed=%s view-changes=%b",
			m.View, m.Active, m.Stable, m.Executed, bitList(m.Stable, m.PrePrepared), bitList(m.Stable, m.Prepared), bitList(m.Stable, m.Committed), m.ViewChanges)
	case *wire.FetchRequest:
		return fmt.Sprintf("FETCH-REQUEST of %d", len(m.Digests))
	case *wire.RequestBody:
		return fmt.Sprintf("REQUEST-BODY with %d requests, %d batches", len(m.Bodies), len(m.Batches))
	case *wire.Decided:
		var b strings.Builder
		for _, sv := range m.Batches {
			fmt.Fprintf(&b, " n%d%s", sv.Seq, null(sv.Digest))
		}
		return "DECIDED" + b.String()
	}
	return m.Kind().String()
}

func clip(op []byte) string {
	if len(op) > 16 {
		return fmt.Sprintf("%s… %d bytes", op[:8], len(op))
	}
	return string(op)
}

func flagNames(f wire.Flags) string {
	s := ""
	if f&wire.FlagReadOnly != 0 {
		s += " read-only"
	}
	if f&wire.FlagFullReply != 0 {
		s += " full"
	}
	return s
}

func null(d wire.Digest) string {
	if d == wire.NullDigest {
		return " null"
	}
	return ""
}

func describeEntries(m *wire.PrePrepare) string {
	var parts []string
	for i, r := range m.Requests() {
		if r == nil {
			parts = append(parts, "digest "+m.Entries[i].Digest.String())
		} else {
			parts = append(parts, fmt.Sprintf("%q", clip(r.Op)))
		}
	}
	return strings.Join(parts, " ")
}

func describeVotes(v []wire.SlotVote) string {
	var b strings.Builder
	for _, sv := range v {
		fmt.Fprintf(&b, " +COMMIT n%d", sv.Seq)
	}
	return b.String()
}

func describeReply(m *wire.Reply) string {
	s := fmt.Sprintf("REPLY v%d c%d/%d #%d", m.View, m.Client, m.Slot, m.Number)
	if m.Tentative {
		s += " tentative"
	}
	if m.ReadOnly {
		s += " read-only"
	}
	if m.Full {
		return s + fmt.Sprintf(" %q", clip(m.Result))
	}
	return s + " digest"
}

func describeRefs(refs []wire.CheckpointRef) string {
	var parts []string
	for _, r := range refs {
		parts = append(parts, fmt.Sprintf("n%d", r.Seq))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeEntriesOf(list []wire.PreparedEntry) string {
	var parts []string
	for _, e := range list {
		s := fmt.Sprintf("n%d@v%d%s", e.Seq, e.View, null(e.Digest))
		if e.Void {
			s += "(void)"
		}
		parts = append(parts, s)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeNewView(m *wire.NewView) string {
	var from, plan []string
	for _, vc := range m.ViewChanges {
		from = append(from, fmt.Sprint(vc.Replica))
	}
	for i, d := range m.Plan {
		what := "batch"
		if d == wire.NullDigest {
			what = "null"
		}
		plan = append(plan, fmt.Sprintf("n%d=%s", m.Start.Seq+1+wire.Seq(i), what))
	}
	return fmt.Sprintf("NEW-VIEW v%d from {%s} start n%d [%s]", m.View, strings.Join(from, " "), m.Start.Seq, strings.Join(plan, " "))
}

func bitList(low wire.Seq, bits []byte) string {
	var parts []string
	for i := range wire.Seq(8 * len(bits)) {
		if hasBit(bits, i) {
			parts = append(parts, fmt.Sprint(low+1+i))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// large is an operation that travels by digest.
func large(text string, size int) []byte {
	return append([]byte(text), bytes.Repeat([]byte("."), size-len(text))...)
}
