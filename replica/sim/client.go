package sim

import (
	"math/rand/v2"
	"slices"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// client is a correct client. It keeps to the rules of replica/client: to the primary first, to everybody when that takes
// too long, and a result counts when 2f+1 replicas give it. It is written anew here, since the real one waits with
// goroutines and the machine's clock.
type client struct {
	w        *world
	id       wire.ClientID
	keys     *keys
	verifier *auth.Verifier
	rng      *rand.Rand
	views    []wire.View // by replica: the highest that it was heard to be in
	slots    []*session
}

// session is one slot of a client: one operation at a time.
type session struct {
	c        *client
	slot     wire.Slot
	workload Workload
	last     []byte // result
	number   uint64
	open     bool
	isRead   bool // sent as read-only at first: unordered replies count
	reading  bool // sent as read-only so far
	op       []byte
	at       int // the operation's place in the history
	tries    int
	replier  wire.ReplicaID
	ordered  []vote
	reads    []vote
	done     int
	goal     int
	begun    int64
}

// vote is one replica's reply.
type vote struct {
	cast bool
	wire.Reply
}

func newClient(w *world, id wire.ClientID, seed uint64) *client {
	c := &client{w: w, id: id, rng: stream(seed, streamClients+uint64(id)), views: make([]wire.View, w.plan.n)}
	c.keys = &keys{self: clientPrincipal(id), world: w.plan.secret, replicas: w.plan.n, clients: w.plan.core.Clients}
	c.verifier = auth.NewVerifier(c.keys.self, w.plan.n, c.keys)
	for i := range w.plan.slots {
		s := &session{c: c, slot: wire.Slot(i), goal: w.plan.goal, ordered: make([]vote, w.plan.n), reads: make([]vote, w.plan.n)}
		s.workload = w.scenario.Workload(c.rng, id, s.slot)
		c.slots = append(c.slots, s)
		w.after(c.rng.Int64N(10*millisecond), s.begin)
	}
	return c
}

// begin invokes the next operation, unless there is one or the goal is reached.
func (s *session) begin() {
	if s.open || s.done >= s.goal {
		return
	}
	w := s.c.w
	s.open, s.tries, s.begun = true, 0, w.now
	s.number += 1 + uint64(s.c.rng.IntN(2))
	s.op, s.isRead = s.workload.Next(s.last)
	s.reading = s.isRead
	s.replier = wire.ReplicaID(s.c.rng.IntN(w.plan.n))
	clear(s.ordered)
	clear(s.reads)
	s.at = w.check.invoked(Operation{Client: s.c.id, Slot: s.slot, Number: s.number, Op: s.op, ReadOnly: s.reading})
	s.sendFirst()
}

func (s *session) sendFirst() {
	var flags wire.Flags
	if s.reading {
		flags = wire.FlagReadOnly
	}
	r := s.request(flags)
	if s.reading || r.Large(s.c.w.plan.core.InlineBytes) {
		s.toAll(r)
	} else {
		s.c.send(s.c.primary(), r)
	}
	s.arm()
}

func (s *session) request(flags wire.Flags) *wire.Request {
	r := wire.NewRequest(s.c.id, s.slot, s.number, flags, s.replier, s.op)
	if err := auth.Authenticate(s.c.keys, r, s.c.w.plan.n); err != nil {
		s.c.w.fail("client %d: %v", s.c.id, err)
	}
	return r
}

func (s *session) toAll(r *wire.Request) {
	for i := range s.c.w.plan.n {
		s.c.send(wire.ReplicaID(i), r)
	}
}

func (c *client) send(to wire.ReplicaID, r *wire.Request) {
	c.w.net.send(c.keys.self, replicaPrincipal(to), wire.Encode(r), 0)
}

// primary is that of the highest view that f+1 replicas have reached.
func (c *client) primary() wire.ReplicaID {
	all := slices.Sorted(slices.Values(c.views))
	return wire.ReplicaID(uint64(all[len(all)-1-c.w.plan.f]) % uint64(c.w.plan.n))
}

// arm sends the request again when it takes too long: to everybody, ordered, all to send the result.
func (s *session) arm() {
	number, tries := s.number, s.tries
	s.c.w.after(s.c.w.plan.requestTimeout<<min(s.tries, 3), func() {
		if s.open && s.number == number && s.tries == tries {
			s.again()
		}
	})
}

func (s *session) again() {
	s.tries++
	s.reading = false
	s.toAll(s.request(wire.FlagFullReply))
	s.arm()
}

// arrive takes a reply.
func (c *client) arrive(from wire.Principal, frame []byte) {
	v, err := c.verifier.Verify(from, frame)
	if err != nil {
		return
	}
	r, ok := v.Message().(*wire.Reply)
	if !ok || r.Client != c.id || int(r.Slot) >= len(c.slots) {
		return
	}
	c.w.tracef("%v → c%d %s", short(from), c.id, traced{frame})
	c.views[r.Replica] = max(c.views[r.Replica], r.View)
	s := c.slots[r.Slot]
	if !s.open || r.Number != s.number {
		return
	}
	place := &s.ordered[r.Replica]
	if r.ReadOnly {
		place = &s.reads[r.Replica]
	}
	cast := vote{true, *r}
	if !cast.Full && place.Full && place.Digest == cast.Digest {
		cast.Full, cast.Result = true, place.Result
	}
	*place = cast
	s.count()
}

// count ends the operation when a quorum agrees on its result (wire.Reply.SupportedBy).
func (s *session) count() {
	digest, ordered, ok := s.quorum()
	if !ok {
		if s.reading && s.hopeless() {
			if s.tries == 0 && s.dropTentative() {
				s.askForAll()
				return
			}
			s.reading = false
			s.sendFirst()
		}
		return
	}
	for _, list := range [][]vote{s.ordered, s.reads} {
		for i := range list {
			if list[i].Full && list[i].Digest == digest {
				s.accept(list[i].Result, ordered)
				return
			}
		}
	}
	if s.tries == 0 && (s.ordered[s.replier].cast || s.reads[s.replier].cast) {
		s.askForAll() // who was to send the result has answered without it: ask the others
	}
}

// askForAll asks all for the full result.
func (s *session) askForAll() {
	s.tries++
	flags := wire.FlagFullReply
	if s.reading {
		flags |= wire.FlagReadOnly
	}
	s.toAll(s.request(flags))
	s.arm()
}

// dropTentative forgets the tentative replies to a reading; whether there were any.
func (s *session) dropTentative() (found bool) {
	for i := range s.reads {
		if s.reads[i].Tentative {
			s.reads[i], found = vote{}, true
		}
	}
	return found
}

func (s *session) quorum() (digest wire.Digest, ordered, ok bool) {
	need := 2*s.c.w.plan.f + 1
	for i := range s.ordered {
		if same, _ := agreeing(s.ordered, i); same >= need {
			return s.ordered[i].Digest, true, true
		}
	}
	for i := range s.reads {
		if same, _ := agreeing(s.reads, i); s.isRead && same >= need {
			return s.reads[i].Digest, false, true
		}
	}
	return digest, false, false
}

// agreeing counts the votes that match number i, and those that have not come.
func agreeing(votes []vote, i int) (same, silent int) {
	for j := range votes {
		switch {
		case !votes[j].cast:
			silent++
		case votes[i].cast && votes[i].SupportedBy(&votes[j].Reply):
			same++
		}
	}
	return same, silent
}

// hopeless says whether the unordered replies can no longer agree.
func (s *session) hopeless() bool {
	best := 0
	silent := 0
	for i := range s.reads {
		var same int
		same, silent = agreeing(s.reads, i)
		best = max(best, same)
	}
	return best+silent < 2*s.c.w.plan.f+1
}

func (s *session) accept(result []byte, ordered bool) {
	w := s.c.w
	s.open = false
	s.done++
	s.last = result
	w.tracef("c%d/%d #%d has its result %q after %d ms", s.c.id, s.slot, s.number, clip(result), (w.now-s.begun)/millisecond)
	w.check.accepted(s.at, result, ordered)
	if w.taken != nil {
		w.taken(s.c.id, s.isRead, w.now-s.begun)
	}
	pause := int64(0)
	if s.c.rng.IntN(3) == 0 {
		pause = s.c.rng.Int64N(20 * millisecond)
	}
	w.after(pause, s.begin)
}
