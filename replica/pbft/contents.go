package pbft

import (
	"crypto/sha256"
	"slices"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// bodies finds requests by digest. A body is held while it is pending in its client's slot or part of a batch in the
// window: both are bounded.
type bodies struct{ m map[wire.Digest]heldBody } // for look-up only

type heldBody struct {
	req       *wire.Request
	authentic bool
	inBatch   bool
}

func newBodies() bodies { return bodies{m: make(map[wire.Digest]heldBody)} }

func (b *bodies) get(d wire.Digest) *wire.Request { return b.m[d].req }

func (b *bodies) hold(r *wire.Request, authentic bool) {
	h := b.m[r.Digest()]
	h.req, h.authentic = r, h.authentic || authentic
	b.m[r.Digest()] = h
}

func (b *bodies) holdInBatch(r *wire.Request, authentic bool) {
	h := b.m[r.Digest()]
	h.req, h.authentic, h.inBatch = r, h.authentic || authentic, true
	b.m[r.Digest()] = h
}

// release forgets a body that is not pending any more, unless a batch has it.
func (b *bodies) release(d wire.Digest) {
	if h, ok := b.m[d]; ok && !h.inBatch {
		delete(b.m, d)
	}
}

// reindexBodies drops the bodies of batches that left the window.
func (c *Core) reindexBodies() {
	old := c.bodies
	c.bodies = newBodies()
	for i := range c.clients.rows {
		for j := range c.clients.rows[i] {
			cs := &c.clients.rows[i][j]
			if cs.pending != nil {
				c.bodies.hold(cs.pending, old.m[cs.pending.Digest()].authentic)
			}
			if cs.variant != nil {
				c.bodies.hold(cs.variant, old.m[cs.variant.Digest()].authentic)
			}
		}
	}
	for _, s := range c.window.old {
		c.reindexSlot(s)
	}
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil {
			c.reindexSlot(s)
		}
	}
}

func (c *Core) reindexSlot(s *slot) {
	for _, b := range s.contents {
		for i, r := range b.requests {
			if r != nil {
				c.bodies.holdInBatch(r, b.authentic[i])
			}
		}
	}
}

// addContent makes a batch's content known to a slot, with the bodies at hand.
func (c *Core) addContent(s *slot, d wire.Digest, content []byte, w *wire.Batch) *batch {
	if b, known := s.content(d); known {
		return b
	}
	b := newBatch(d, content, w, c.cfg.BatchBytes)
	s.contents = append(s.contents, b)
	c.fill(b)
	return b
}

// fill looks for missing bodies and for authenticity; it says whether all bodies are there.
func (c *Core) fill(b *batch) bool {
	for i, d := range b.digests {
		if b.requests[i] != nil && b.authentic[i] {
			continue
		}
		if h, ok := c.bodies.m[d]; ok {
			b.put(i, h.req, h.authentic)
			if !h.inBatch {
				c.bodies.holdInBatch(h.req, h.authentic)
			}
		}
	}
	return b.missing == 0
}

// Large requests come from their clients, and under load they come late: long after the proposal that names them. To ask
// the others for one too early costs its bytes again, on links that are late already. So a replica waits for FetchDelay and,
// besides, for as long as requests have been late lately, within bounds. It asks the primary first, who has what it proposed;
// then the others in turn. Whom it has asked it gives time to answer, twice as long each time, up to 2^askDoublings times
// FetchDelay.
const askDoublings = 3

// latenessMax bounds what a client that sends its requests late, or not to all, costs the others.
func (c *Core) latenessMax() int64 { return min(2*c.cfg.FetchDelay, c.cfg.ViewChangeTimeout/8) }

// noteLateness learns from a large request that its client sent how long after its proposal they come.
func (c *Core) noteLateness(d wire.Digest) {
	c.order.late -= c.order.late / 8
	note := func(s *slot) {
		if s == nil || !s.proposed {
			return
		}
		if b, _ := s.content(s.digest); b != nil && slices.Contains(b.digests, d) {
			c.order.late = max(c.order.late, min(c.now-s.since, c.latenessMax()))
		}
	}
	if !c.bodies.m[d].inBatch {
		for _, seq := range c.order.incomplete {
			note(c.window.peek(seq))
		}
		return
	}
	for seq := c.window.low + 1; seq <= min(c.order.newest, c.window.high()); seq++ { // I have had it fetched meanwhile
		note(c.window.peek(seq))
	}
}

// bodyArrived lets the proposals that were waiting for a request continue; it says whether there were any.
func (c *Core) bodyArrived(r *wire.Request, authentic bool, out *Effects) (wanted bool) {
	for _, seq := range c.order.incomplete {
		s := c.window.peek(seq)
		if s == nil {
			continue
		}
		for _, b := range s.contents {
			for i, d := range b.digests {
				if d == r.Digest() {
					wanted = wanted || b.requests[i] == nil
					b.put(i, r, authentic)
					c.bodies.holdInBatch(r, authentic)
				}
			}
		}
	}
	c.retryIncomplete(out)
	return wanted
}

// retryIncomplete tries again to accept and execute what lacked content.
func (c *Core) retryIncomplete(out *Effects) {
	if len(c.order.incomplete) == 0 {
		return
	}
	waiting := c.order.incomplete
	c.order.incomplete = nil
	for _, seq := range waiting {
		if s := c.window.peek(seq); s != nil {
			c.tryAccept(s, out)
			c.noteIncomplete(s)
		}
	}
	c.tryExecute(out)
}

// noteIncomplete remembers a slot whose proposal or decision lacks content or authenticity.
func (c *Core) noteIncomplete(s *slot) {
	if !c.lacks(s) {
		return
	}
	for _, seq := range c.order.incomplete {
		if seq == s.seq {
			return
		}
	}
	c.order.incomplete = append(c.order.incomplete, s.seq)
}

// lacks says whether a slot waits for content or authenticity.
func (c *Core) lacks(s *slot) bool {
	if s.proposed && !s.accepted && !s.abandoned {
		return true
	}
	return s.decided && s.incomplete(s.decision) || s.incomplete(s.wanted)
}

// fetchMissing asks for what incomplete slots lack: the primary for its proposals, at first, and hint for anything else; then,
// for each slot, the others in turn, so that one that does not answer does not matter.
func (c *Core) fetchMissing(hint wire.ReplicaID, out *Effects) {
	c.status.fetched = c.now
	primary := c.primary(c.view)
	want := make([][]wire.Digest, c.n) // by whom I ask
	count := 0
	for _, seq := range c.order.incomplete {
		s := c.window.peek(seq)
		if s == nil || c.now < s.fetchAt || count >= wire.MaxDigests {
			continue
		}
		switch {
		case s.asks > 0:
			s.asked = c.after(s.asked)
		case c.active && s.proposed && !s.planned && !s.decided && primary != c.me:
			s.asked = primary
		default:
			s.asked = hint
		}
		missing := c.missingOf(s, s.wanted, nil)
		if s.decided {
			missing = c.missingOf(s, s.decision, missing)
		} else if s.proposed {
			missing = c.missingOf(s, s.digest, missing)
		}
		want[s.asked] = append(want[s.asked], missing...)
		count += len(missing)
		s.asks++
		s.fetchAt = c.now + c.cfg.FetchDelay<<min(s.asks, askDoublings)
	}
	for i := range want {
		c.ask(wire.ReplicaID(i), want[i], out)
	}
}

// after is the replica whose turn it is after another's.
func (c *Core) after(id wire.ReplicaID) wire.ReplicaID {
	next := (int(id) + 1) % c.n
	if next == int(c.me) {
		next = (next + 1) % c.n
	}
	return wire.ReplicaID(next)
}

func (c *Core) ask(peer wire.ReplicaID, want []wire.Digest, out *Effects) {
	if len(want) > wire.MaxDigests {
		want = want[:wire.MaxDigests]
	}
	if len(want) > 0 {
		c.send(peer, &wire.FetchRequest{Replica: c.me, Digests: want}, out)
	}
}

func (c *Core) missingOf(s *slot, d wire.Digest, want []wire.Digest) []wire.Digest {
	b, known := s.content(d)
	if !known {
		return append(want, d)
	}
	if b == nil || c.fill(b) {
		return want
	}
	for i, r := range b.requests {
		if r == nil {
			want = append(want, b.digests[i])
		}
	}
	return want
}

// nextPeer takes turns among the other replicas, so that a mute one does not matter.
func (c *Core) nextPeer() wire.ReplicaID {
	c.order.peer = int(c.after(wire.ReplicaID(c.order.peer)))
	return wire.ReplicaID(c.order.peer)
}

// fetchAnswerBytes bounds the answer to one FETCH-REQUEST; the asker asks again for the rest. servedBytes bounds what one
// peer gets in a status interval; looking for a digest costs as much as sending fetchLookup bytes.
const (
	fetchAnswerBytes = 4 << 20
	servedBytes      = 32 << 20
	fetchLookup      = 4 << 10
)

func (c *Core) onFetchRequest(m *wire.FetchRequest, out *Effects) {
	if c.now-c.status.servedSince >= c.cfg.StatusInterval {
		c.status.servedSince = c.now
		clear(c.status.served)
	}
	if c.status.served[m.Replica] > servedBytes {
		return
	}
	var reqs []*wire.Request
	var batches [][]byte
	size := 0
	for _, d := range m.Digests {
		if r := c.bodies.get(d); r != nil {
			reqs = append(reqs, r)
			size += r.Size()
		} else if b := c.batchByDigest(d); b != nil {
			batches = append(batches, b.content)
			size += len(b.content)
			for _, r := range b.requests { // whoever lacks the batch lacks most of these
				if r != nil && size <= fetchAnswerBytes && len(reqs) < wire.MaxDigests {
					reqs = append(reqs, r)
					size += r.Size()
				}
			}
		}
		if size > fetchAnswerBytes || len(reqs) >= wire.MaxDigests {
			break
		}
	}
	c.status.served[m.Replica] += size + fetchLookup*len(m.Digests)
	if len(reqs)+len(batches) > 0 {
		c.send(m.Replica, wire.NewRequestBody(c.me, reqs, batches), out)
	}
}

func (c *Core) batchByDigest(d wire.Digest) *batch {
	for seq := c.window.low + 1; seq <= c.window.high(); seq++ {
		if s := c.window.peek(seq); s != nil {
			if b, _ := s.content(d); b != nil {
				return b
			}
		}
	}
	for _, s := range c.window.old {
		if b, _ := s.content(d); b != nil {
			return b
		}
	}
	return nil
}

// onRequestBody takes contents that I asked for; what nobody waits for is dropped.
func (c *Core) onRequestBody(m *wire.RequestBody, v auth.Verified, out *Effects) {
	progress := false
	for _, content := range m.Batches {
		progress = c.batchArrived(content) || progress
	}
	for i, r := range m.Requests() {
		cs := c.clients.get(r.Client, r.Slot)
		if cs == nil {
			continue
		}
		authentic := v.Authentic(i)
		if r.Number > cs.last && (authentic || cs.vouchers(r.Number, r.Digest()) >= c.cfg.weak()) {
			c.admit(cs, r)
			if c.isPrimary() {
				c.enqueue(cs)
			}
		}
		progress = c.bodyArrived(r, authentic, out) || progress
	}
	c.retryIncomplete(out)
	if progress && len(c.order.incomplete) > 0 {
		c.askForRest(m.Replica, out)
	}
	c.considerNewView(out) // condition A3 may hold now
	c.propose(out)
}

// askForRest asks a peer that has answered for what its answer had no room for.
func (c *Core) askForRest(peer wire.ReplicaID, out *Effects) {
	for _, seq := range c.order.incomplete {
		if s := c.window.peek(seq); s != nil && s.asks > 0 && s.asked == peer {
			s.fetchAt, s.asks = min(s.fetchAt, c.now), 0
		}
	}
	c.fetchMissing(peer, out)
}

func (c *Core) batchArrived(content []byte) (wanted bool) {
	d := wire.Digest(sha256.Sum256(content))
	for _, seq := range c.order.incomplete {
		s := c.window.peek(seq)
		if s == nil || (!s.proposed || s.digest != d) && (!s.decided || s.decision != d) && s.wanted != d {
			continue
		}
		if _, known := s.content(d); known {
			continue
		}
		if w, err := wire.DecodeBatch(content); err == nil {
			wanted = true
			c.addContent(s, d, content, w)
		}
	}
	return wanted
}
