package pbft

import (
	"errors"
	"slices"

	"bfsd/replica/auth"
	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

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
// while some are tentative, the same view and number; one of them with the result.
func (c *cluster) accepted(client wire.ClientID, slot wire.Slot, number uint64) (string, bool) {
	result, _, ok := c.acceptedAs(client, slot, number)
	return result, ok
}

// acceptedAs tells also whether the result came without ordering.
func (c *cluster) acceptedAs(client wire.ClientID, slot wire.Slot, number uint64) (result string, readOnly, ok bool) {
	var mine []*wire.Reply
	results := map[wire.Digest]string{}
	for _, r := range c.replies {
		if r.Client == client && r.Slot == slot && r.Number == number {
			mine = append(mine, r)
			if r.Full {
				results[r.Digest] = string(r.Result)
			}
		}
	}
	for _, a := range mine {
		who := map[wire.ReplicaID]bool{}
		for _, b := range mine {
			if a.SupportedBy(b) {
				who[b.Replica] = true
			}
		}
		if result, known := results[a.Digest]; known && len(who) >= c.cfg.quorum() {
			return result, a.ReadOnly, true
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
