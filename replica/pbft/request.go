package pbft

import (
	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// onReceived dispatches a verified message.
func (c *Core) onReceived(v auth.Verified, out *Effects) {
	if from := v.From(); from.Role == wire.RoleReplica && int64(from.ID) < int64(c.n) {
		c.status.contact[from.ID] = c.now
	}
	switch m := v.Message().(type) {
	case *wire.Request:
		c.onRequest(m, v.From(), out)
	case *wire.Vouch:
		c.onVouch(m, out)
	case *wire.PrePrepare:
		c.onPrePrepare(m, v, out)
	case *wire.Prepare:
		c.onPrepare(m, out)
	case *wire.Commit:
		c.onCommit(m.Replica, m.View, m.Seq, m.Digest, out)
	case *wire.Abandon:
		c.onAbandon(m, out)
	case *wire.Checkpoint:
		c.onCheckpoint(m, out)
	case *wire.ViewChange:
		c.onViewChange(m, out)
	case *wire.NewView:
		c.onNewView(m, out)
	case *wire.Status:
		c.onStatus(m, out)
	case *wire.FetchRequest:
		c.onFetchRequest(m, out)
	case *wire.RequestBody:
		c.onRequestBody(m, v, out)
	case *wire.Decided:
		c.onDecided(m, out)
	case *wire.QueryStable:
		c.onQueryStable(m, out)
	case *wire.ReplyStable:
		c.onReplyStable(m, out)
	}
	// REPLY is for clients; FETCH, META-DATA and DATA are between drivers.
}

// onRequest handles a request whose MAC convinced me (TOCS §4.2, §4.3).
func (c *Core) onRequest(r *wire.Request, from wire.Principal, out *Effects) {
	cs := c.clients.get(r.Client, r.Slot)
	if cs == nil {
		return
	}
	if r.ReadOnly() && !c.cfg.NoReadOnly {
		c.query(r, out)
		return
	}
	c.orderRequest(cs, r, from.Role == wire.RoleClient, out)
}

// orderRequest takes a request into the client's slot: at most one number is pending in it. direct says that it came from
// the client itself.
func (c *Core) orderRequest(cs *clientSlot, r *wire.Request, direct bool, out *Effects) {
	if direct && !c.isPrimary() && r.Large(c.cfg.InlineBytes) {
		c.noteLateness(r.Digest())
	}
	if r.Number <= cs.last {
		if r.Number == cs.last {
			c.resendReply(cs, r, out)
		}
		if direct && !cs.settled(r.Number, c.exec.committed) {
			c.flushCommits(out) // the tentative replies were not enough
			c.vouch(cs, r, out)
		}
		return
	}
	again := cs.pending != nil && cs.pending.Number == r.Number
	admitted := c.admit(cs, r)
	c.bodyArrived(r, true, out)
	if c.isPrimary() {
		c.enqueue(cs)
		c.propose(out)
	}
	// The client tries again, or takes me for the primary: the primary may not have the request. A large request goes to
	// everybody the first time anyway.
	if direct && admitted && (again || r.Full() || !r.Large(c.cfg.InlineBytes) && !c.isPrimary()) {
		c.vouch(cs, r, out)
		if again && c.now-c.status.last >= c.cfg.StatusInterval/4 {
			c.sendStatus(out) // perhaps it has executed everywhere but here
		}
	}
}

// admit makes a request its slot's pending one, if it is the newest, and says whether the slot has it. While a quorum waits
// for a request it takes precedence over all others: else a client could make a primary forget what the backups' timers
// run for.
func (c *Core) admit(cs *clientSlot, r *wire.Request) bool {
	awaited := cs.awaited(c.now, 2*c.cfg.ViewChangeTimeout, c.exec.committed)
	switch {
	case awaited && !cs.awaits(r) && (cs.waiting.number != r.Number || cs.awaits(cs.pending)):
		return cs.pending != nil && cs.pending.Digest() == r.Digest()
	case cs.pending == nil || cs.pending.Number < r.Number || cs.awaits(r) && !cs.awaits(cs.pending):
		c.dropPending(cs)
		c.arrival++
		cs.pending, cs.full, cs.arrival = r, r.Full(), c.arrival
		c.bodies.hold(r, true)
		return true
	case cs.pending.Number > r.Number:
		return false
	}
	cs.full = cs.full || r.Full()
	if cs.pending.Digest() == r.Digest() {
		return true
	}
	if v := cs.variant; v != nil && v.Digest() != r.Digest() {
		if cs.vouchers(v.Number, v.Digest()) >= c.cfg.weak() {
			return false
		}
		c.bodies.release(v.Digest())
	}
	cs.variant = r
	c.bodies.hold(r, true)
	return true
}

func (c *Core) dropPending(cs *clientSlot) {
	if cs.pending != nil {
		c.bodies.release(cs.pending.Digest())
	}
	if cs.variant != nil {
		c.bodies.release(cs.variant.Digest())
	}
	cs.pending, cs.variant, cs.full = nil, nil, false
}

// resendReply answers a request that was executed already. While the service has not answered yet, onExecuted will.
func (c *Core) resendReply(cs *clientSlot, r *wire.Request, out *Effects) {
	if cs.answered {
		c.reply(cs, r.Number, cs.lastSeq, cs.result, r.Full() || r.Replier == c.me, out)
	}
}

// vouch tells everybody that I authenticated a request and wait for it (wire.Vouch). I stand by my word for a while: a
// client that sends one request after the other into a slot would otherwise make a quorum appear to some replicas and
// not to others. A correct client has one request at a time in a slot, first without, then with FlagFullReply.
func (c *Core) vouch(cs *clientSlot, r *wire.Request, out *Effects) {
	mine := cs.vouches[c.me]
	same := mine.number == r.Number && (mine.digest == r.Digest() || r.Full())
	if !same && !cs.settled(mine.number, c.exec.committed) && c.now-cs.vouched < c.cfg.ViewChangeTimeout {
		return
	}
	if mine.number != r.Number || mine.digest != r.Digest() {
		cs.vouched = c.now
	}
	m := &wire.Vouch{Replica: c.me, Client: cs.client, Slot: cs.slot, Number: r.Number, Digest: r.Digest()}
	out.add(Broadcast{Msg: m})
	c.onVouch(m, out)
}

func (c *Core) onVouch(m *wire.Vouch, out *Effects) {
	cs := c.clients.get(m.Client, m.Slot)
	if cs == nil || cs.settled(m.Number, c.exec.committed) || m.Number < cs.vouches[m.Replica].number {
		return
	}
	cs.vouches[m.Replica] = vouch{number: m.Number, digest: m.Digest}
	if m.Number == cs.last {
		c.flushCommits(out) // executed, and held up by its commits alone
	}
	if !cs.awaited(c.now, 2*c.cfg.ViewChangeTimeout, c.exec.committed) {
		c.startWaiting(cs)
	}
	c.pursue(cs, m.Replica, out)
	c.propose(out)
}

// pursue makes the primary order what others vouch for, and fetch it if it lacks it.
func (c *Core) pursue(cs *clientSlot, peer wire.ReplicaID, out *Effects) {
	v := cs.vouches[peer]
	if !c.isPrimary() || v.number <= cs.last || v.number <= cs.proposed {
		return
	}
	r := c.bodies.get(v.digest)
	switch {
	case r == nil && peer != c.me:
		if awaited := v == cs.waiting; awaited || cs.pending == nil || cs.pending.Number < v.number {
			c.send(peer, &wire.FetchRequest{Replica: c.me, Digests: []wire.Digest{v.digest}}, out)
		}
	case r != nil && cs.vouchers(v.number, v.digest) >= c.cfg.weak():
		c.admit(cs, r)
		c.enqueue(cs)
	}
}
