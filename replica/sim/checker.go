package sim

import (
	"bytes"
	"slices"

	"bfsd/replica"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// checker watches what trusted replicas do and say, and what correct clients are told, and compares it with one history:
// the batches that trusted replicas commit, in order, applied to a service of its own, the model. It knows the paper's
// promises and none of the protocol's code.
type checker struct {
	w     *world
	keys  *keys
	nodes []watched
	model replica.Service
	// agreed[i] is batch i+1 as the first trusted replica committed it, states[i] the model after batch i.
	agreed   []agreement
	states   []replica.Snapshot
	outcomes map[requestID]outcome
	last     map[slotID]uint64
	decided  map[wire.Seq]wire.Digest // what trusted replicas say the decision was
	history  []Operation
	places   map[requestID]int // in history
	clock    int64
	stats    *Stats
}

type slotID struct {
	client wire.ClientID
	slot   wire.Slot
}

type requestID struct {
	slotID
	number uint64
}

// agreement is what executed in one batch: requests that executed before are left out.
type agreement struct {
	choice   []byte
	requests []executedRequest
	root     wire.Digest
	hashed   bool
}

type executedRequest struct {
	id     requestID
	op     []byte
	result []byte
}

// outcome is what the model says of a request.
type outcome struct {
	seq    wire.Seq
	digest wire.Digest
	result []byte
}

// watched is what the checker knows of one replica.
type watched struct {
	committed wire.Seq
	runs      []batchRun // executed, by rising sequence number
	promises  promises
}

type batchRun struct {
	seq wire.Seq
	agreement
}

func newChecker(w *world, stats *Stats) *checker {
	c := &checker{
		w: w, keys: &keys{world: w.plan.secret}, nodes: make([]watched, w.plan.n), model: w.scenario.New(), outcomes: make(map[requestID]outcome),
		last: make(map[slotID]uint64), decided: make(map[wire.Seq]wire.Digest), places: make(map[requestID]int), stats: stats,
	}
	c.states = []replica.Snapshot{c.model.Snapshot()}
	for i := range c.nodes {
		c.nodes[i].promises = newPromises()
	}
	return c
}

// restarted: execution begins anew after the stable checkpoint.
func (c *checker) restarted(n *node, stable wire.Seq) {
	v := &c.nodes[n.id]
	v.committed, v.runs = stable, nil
}

func (c *checker) executed(n *node, e pbft.Execute, results [][]byte) {
	r := batchRun{seq: e.Seq, agreement: agreement{choice: e.Choice}}
	for i, q := range e.Requests {
		r.requests = append(r.requests, executedRequest{requestID{slotID{q.Client, q.Slot}, q.Number}, q.Op, results[i]})
	}
	c.w.tracef("r%d executes n%d: %d requests, tentative %t", n.id, e.Seq, len(e.Requests), e.Tentative)
	v := &c.nodes[n.id]
	if k := len(v.runs); n.trusted && k > 0 && v.runs[k-1].seq >= e.Seq {
		c.w.fail("r%d executes batch %d after batch %d", n.id, e.Seq, v.runs[k-1].seq)
	}
	v.runs = append(v.runs, r)
}

func (c *checker) rolledBack(n *node, to wire.Seq) {
	v := &c.nodes[n.id]
	if n.trusted && to < v.committed {
		c.w.fail("r%d rolls back to %d, but %d had committed", n.id, to, v.committed)
	}
	v.runs = slices.DeleteFunc(v.runs, func(r batchRun) bool { return r.seq > to })
	c.stats.Rollbacks++
}

// committed: everything up to seq has committed at n. It must be what the others committed there.
func (c *checker) committed(n *node, seq wire.Seq) {
	v := &c.nodes[n.id]
	for s := v.committed + 1; s <= seq; s++ {
		r := batchRun{seq: s}
		if len(v.runs) > 0 && v.runs[0].seq == s {
			r, v.runs = v.runs[0], v.runs[1:]
		}
		if n.trusted {
			c.agree(n, r)
		}
	}
	v.committed = max(v.committed, seq)
}

func (c *checker) agree(n *node, r batchRun) {
	switch next := wire.Seq(len(c.agreed)) + 1; {
	case r.seq > next:
		c.w.fail("r%d commits batch %d, but no trusted replica has committed %d", n.id, r.seq, next)
		return
	case r.seq == next:
		c.extend(n, r.agreement)
		return
	}
	a := &c.agreed[r.seq-1]
	if !bytes.Equal(a.choice, r.choice) && len(a.requests)+len(r.requests) > 0 || len(a.requests) != len(r.requests) {
		c.w.fail("two histories: r%d commits batch %d with %d requests and choice %x, another replica with %d and %x",
			n.id, r.seq, len(r.requests), r.choice, len(a.requests), a.choice)
		return
	}
	for i := range r.requests {
		mine, theirs := &r.requests[i], &a.requests[i]
		if mine.id != theirs.id || !bytes.Equal(mine.op, theirs.op) {
			c.w.fail("two histories: r%d commits %v in place %d of batch %d, another replica %v", n.id, mine.id, i, r.seq, theirs.id)
		}
		if !bytes.Equal(mine.result, theirs.result) {
			c.w.fail("r%d executed %v with result %q, the model says %q", n.id, mine.id, clip(mine.result), clip(theirs.result))
		}
	}
}

// extend adds a batch to the history, and applies it to the model.
func (c *checker) extend(n *node, a agreement) {
	seq := wire.Seq(len(c.agreed)) + 1
	if t, ok := timeOf(a.choice); ok && (t < epoch-timeSlack || t > epoch+c.w.now+timeSlack) {
		c.w.fail("r%d commits batch %d under the time %d, which no correct clock has shown", n.id, seq, t)
	}
	for _, q := range a.requests {
		if q.id.number <= c.last[q.id.slotID] {
			c.w.fail("r%d executes request %v after number %d of that slot: not exactly once", n.id, q.id, c.last[q.id.slotID])
		}
		c.last[q.id.slotID] = q.id.number
		c.genuine(n, q)
		result := c.model.Execute(q.id.client, q.op, a.choice)
		c.model.SetReply(q.id.client, q.id.slot, q.id.number, result)
		if !bytes.Equal(result, q.result) {
			c.w.fail("r%d executed %v with result %q, the model says %q", n.id, q.id, clip(q.result), clip(result))
		}
		c.outcomes[q.id] = outcome{seq, wire.ResultDigest(result), result}
		c.stats.Requests++
	}
	c.agreed = append(c.agreed, a)
	c.states = append(c.states, c.model.Snapshot())
	c.stats.Batches++
}

// timeSlack is by how much the agreed time may differ from the true one: a primary's lie that the services let pass, and
// the error of a backup's clock.
const timeSlack = 2 * second

// genuine: a correct client's request is one that it made.
func (c *checker) genuine(n *node, q executedRequest) {
	i := int(q.id.client) - clientBase
	if i < 0 || i >= len(c.w.clients) {
		return // a rogue's
	}
	at, made := c.places[q.id]
	if !made || !bytes.Equal(c.history[at].Op, q.op) {
		c.w.fail("r%d executes %v %q, which client %d never sent", n.id, q.id, clip(q.op), q.id.client)
	}
}

// rootAt is the root of the agreed state after a batch.
func (c *checker) rootAt(seq wire.Seq) (wire.Digest, bool) {
	if seq == 0 || seq > wire.Seq(len(c.agreed)) {
		return wire.Digest{}, false
	}
	a := &c.agreed[seq-1]
	if !a.hashed {
		a.root, a.hashed = c.states[seq].Root(), true
	}
	return a.root, true
}

// ofHistory checks that a trusted replica takes a state for the agreed one only if it is.
func (c *checker) ofHistory(n *node, what string, seq wire.Seq, root wire.Digest) {
	if !n.trusted {
		return
	}
	switch want, ok := c.rootAt(seq); {
	case !ok:
		c.w.fail("r%d %s %d, which no trusted replica has committed", n.id, what, seq)
	case want != root:
		c.w.fail("r%d %s %d with root %v, the agreed state's is %v", n.id, what, seq, root, want)
	}
}

// stable: 2f+1 replicas must have signed for it.
func (c *checker) stable(n *node, e pbft.StableCheckpoint) {
	c.ofHistory(n, "makes stable checkpoint", e.Seq, e.Root)
	c.stats.Checkpoints++
	if !n.trusted {
		return
	}
	var signers []wire.ReplicaID
	for _, m := range e.Proof {
		genuine := c.keys.VerifySignature(replicaPrincipal(m.Replica), m.SignedBytes(), m.SignatureBytes())
		if m.Seq == e.Seq && m.Root == e.Root && genuine && !contains(signers, m.Replica) {
			signers = append(signers, m.Replica)
		}
	}
	if len(signers) < 2*c.w.plan.f+1 {
		c.w.fail("r%d makes checkpoint %d stable with the word of %v alone", n.id, e.Seq, signers)
	}
}

func (c *checker) fetching(n *node, e pbft.FetchState) {
	c.stats.Transfers++
	c.ofHistory(n, "fetches state", e.Seq, e.Root)
}

func (c *checker) fetched(n *node, e pbft.FetchState, s replica.Service) {
	c.ofHistory(n, "has fetched state", e.Seq, s.Snapshot().Root())
	v := &c.nodes[n.id]
	v.committed, v.runs = e.Seq, nil
}

// traced looks at what a replica reports: decisions must be the same everywhere, and nobody trusted may be accused.
func (c *checker) traced(n *node, e pbft.Trace) {
	switch e.Event {
	case pbft.TraceNewView:
		c.stats.NewViews++
	case pbft.TraceAbandoned:
		c.stats.Abandoned++
	case pbft.TraceRejoined:
		if e.Seq > 0 {
			c.stats.Rejoins++
		}
	default:
	}
	if !n.trusted {
		return
	}
	switch e.Event {
	case pbft.TraceCommitted, pbft.TraceAdopted:
		if d, known := c.decided[e.Seq]; known && d != e.Digest {
			c.w.fail("two histories: r%d decides %v for batch %d, another replica %v", n.id, e.Digest, e.Seq, d)
		}
		c.decided[e.Seq] = e.Digest
	case pbft.TraceEquivocation, pbft.TraceBadNewView, pbft.TraceBadProposal, pbft.TraceDivergence:
		if c.w.nodes[e.Replica].trusted {
			c.w.fail("r%d accuses r%d of %v, which keeps to the protocol", n.id, e.Replica, e.Event)
		}
	case pbft.TraceCorrupt, pbft.TraceBadRecord:
		c.w.fail("r%d reports %v at batch %d, but nothing was damaged", n.id, e.Event, e.Seq)
	default:
	}
}

// refused: no message of a trusted replica or a correct client may fail verification.
func (c *checker) refused(n *node, from wire.Principal, frame []byte, err error) {
	c.w.tracef("%v → r%d refused: %v", short(from), n.id, err)
	c.stats.Refused++
	correct := from.Role == wire.RoleReplica && c.w.nodes[from.ID].trusted ||
		from.Role == wire.RoleClient && int(from.ID)-clientBase < len(c.w.clients)
	if correct && len(frame) > 0 {
		c.w.fail("r%d refuses a message of %v, which keeps to the protocol: %v", n.id, from, err)
	}
}

// invoked notes that a client begins an operation; the place it returns is for accepted.
func (c *checker) invoked(op Operation) int {
	c.clock++
	op.Invoked = c.clock
	c.history = append(c.history, op)
	c.places[requestID{slotID{op.Client, op.Slot}, op.Number}] = len(c.history) - 1
	return len(c.history) - 1
}

func (c *checker) accepted(at int, result []byte, ordered bool) {
	c.clock++
	op := &c.history[at]
	op.Result, op.Done, op.Ordered, op.Returned = result, true, ordered, c.clock
	if !ordered {
		c.stats.Reads++
		return
	}
	if o, known := c.outcomes[op.id()]; known && !bytes.Equal(o.result, result) {
		c.w.fail("client %d was told %q for %q, the model says %q", op.Client, clip(result), clip(op.Op), clip(o.result))
	}
}

func (o *Operation) id() requestID { return requestID{slotID{o.Client, o.Slot}, o.Number} }
