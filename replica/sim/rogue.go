package sim

import (
	"math/rand/v2"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// rogue is a faulty client: it has keys of its own and no manners. Nobody else may suffer for what it does.
type rogue struct {
	w       *world
	id      wire.ClientID
	keys    *keys
	rng     *rand.Rand
	number  uint64
	old     [][]byte // frames that it sent
	stopped bool
}

// rogueActs is how often a rogue acts in the safety phase and after it, at most.
const rogueActs = 60

func newRogue(w *world, id wire.ClientID, seed uint64) *rogue {
	r := &rogue{w: w, id: id, rng: stream(seed, streamClients+uint64(id))}
	r.keys = &keys{self: clientPrincipal(id), world: w.plan.secret, replicas: w.plan.n, clients: w.plan.core.Clients}
	r.live(rogueActs)
	return r
}

func (r *rogue) live(left int) {
	r.w.after(1+r.rng.Int64N(30*millisecond), func() {
		if left > 0 && !r.stopped {
			r.act()
			r.live(left - 1)
		}
	})
}

func (r *rogue) act() {
	switch r.rng.IntN(6) {
	case 0: // MACs that convince some replicas only (the "big MAC" attack)
		r.send(r.request(r.next(), func(int) bool { return r.rng.IntN(2) == 0 }), r.all())
	case 1: // two requests under one number, each to some replicas
		number, side := r.next(), r.some()
		r.send(r.request(number, always), side)
		r.send(r.request(number, always), r.others(side))
	case 2: // replays
		for range 1 + r.rng.IntN(4) {
			if len(r.old) > 0 {
				r.emit(r.old[r.rng.IntN(len(r.old))], r.some())
			}
		}
	case 3: // a flood
		for range 3 + r.rng.IntN(12) {
			r.send(r.request(r.next(), always), r.some())
		}
	case 4: // numbers far ahead and far behind
		number := []uint64{1, r.number + 1000, 1 << 62}[r.rng.IntN(3)]
		if number < 1<<62 {
			r.number = max(r.number, number)
		}
		r.send(r.request(number, always), r.all())
	default: // as it should be
		r.send(r.request(r.next(), always), r.all())
	}
}

func (r *rogue) next() uint64 {
	r.number++
	return r.number
}

func always(int) bool { return true }

// request makes one whose MAC convinces the replicas that good says.
func (r *rogue) request(number uint64, good func(replica int) bool) []byte {
	slot := wire.Slot(r.rng.IntN(r.w.plan.slots + 1)) // one too many: it does not exist
	flags := []wire.Flags{0, 0, wire.FlagReadOnly, wire.FlagFullReply, wire.FlagReadOnly | wire.FlagFullReply}[r.rng.IntN(5)]
	m := wire.NewRequest(r.id, slot, number, flags, wire.ReplicaID(r.rng.IntN(r.w.plan.n+1)), r.w.scenario.Rogue(r.rng))
	if err := auth.Authenticate(r.keys, m, r.w.plan.n); err != nil {
		r.w.fail("rogue %d: %v", r.id, err)
	}
	for i := range m.Auth {
		if !good(i) {
			m.Auth[i][0]++
		}
	}
	return wire.Encode(m)
}

func (r *rogue) send(frame []byte, to []bool) {
	if len(r.old) < 50 {
		r.old = append(r.old, frame)
	}
	r.emit(frame, to)
}

func (r *rogue) emit(frame []byte, to []bool) {
	for i, yes := range to {
		if yes {
			r.w.net.send(r.keys.self, replicaPrincipal(wire.ReplicaID(i)), frame, 0)
		}
	}
}

func (r *rogue) all() []bool {
	to := make([]bool, r.w.plan.n)
	for i := range to {
		to[i] = true
	}
	return to
}

func (r *rogue) some() []bool {
	to := make([]bool, r.w.plan.n)
	for i := range to {
		to[i] = r.rng.IntN(2) == 0
	}
	return to
}

func (r *rogue) others(side []bool) []bool {
	to := make([]bool, len(side))
	for i := range to {
		to[i] = !side[i]
	}
	return to
}
