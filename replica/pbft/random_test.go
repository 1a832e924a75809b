package pbft

import (
	"flag"
	"fmt"
	"math/rand"
	"testing"

	"bfsd/replica/wire"
)

var (
	seedFlag  = flag.Int64("seed", 0, "run this one seed of the random test")
	seedsFlag = flag.Int("seeds", 40, "how many seeds the random test runs")
)

// testClient invokes operations one after another in each of its slots, as package client does: to the primary first,
// then, after a timeout, to everybody, with the wish for full replies.
type testClient struct {
	id    wire.ClientID
	slots []clientRun
}

type clientRun struct {
	number uint64
	op     string
	sent   int64
	tries  int
	done   int
	read   bool
}

// chaos runs a cluster under faults drawn from one seed: first a phase with everything, then the faults end and
// whatever is pending must complete.
type chaos struct {
	*cluster
	rng      *rand.Rand
	clients  []*testClient
	goal     int // operations a slot completes
	loss     float64
	twice    float64
	slow     int64
	crashes  bool
	calm     bool // the faults are over
	cut      map[[2]uint32]bool
	restarts int
	liar     *liar // nil: nobody is Byzantine
	mallory  bool  // a Byzantine client is at work
	mischief uint64
}

func newChaos(t *testing.T, seed int64, f int) *chaos {
	rng := rand.New(rand.NewSource(seed))
	x := &chaos{rng: rng, goal: 8 + rng.Intn(20), cut: map[[2]uint32]bool{}}
	ids := []wire.ClientID{alice, bob}
	x.cluster = newCluster(t, f, func(cfg *Config) {
		cfg.CheckpointInterval = 4 + rng.Intn(6)
		cfg.BatchWindow = 1 + rng.Intn(4)
		cfg.BatchRequests = 1 + rng.Intn(4)
		cfg.NoTentative = rng.Intn(5) == 0
		cfg.NoPiggyback = rng.Intn(3) == 0
		cfg.NoDigestReplies = rng.Intn(5) == 0
		cfg.InlineBytes = 4 + rng.Intn(4) // operations have 5 to 7 bytes
		cfg.DigestReplyBytes = rng.Intn(2) * 8
		cfg.ViewChangeTimeout = 100 * millisecond
		cfg.StatusInterval = 20 * millisecond
		cfg.FetchDelay = 5 * millisecond
	}, append(ids, mallory)...)
	for _, id := range ids {
		x.clients = append(x.clients, &testClient{id: id, slots: make([]clientRun, 2)})
	}
	// Swarm: each fault is on or off for the whole run.
	if rng.Intn(2) == 0 {
		x.loss = rng.Float64() * 0.2
	}
	if rng.Intn(2) == 0 {
		x.twice = rng.Float64() * 0.2
	}
	x.slow = int64(rng.Intn(20)) * millisecond
	x.crashes = rng.Intn(3) > 0
	x.mallory = rng.Intn(2) == 0
	x.delayRoot = rng.Intn(2) == 0
	x.route = x.fate
	return x
}

// fate decides when a message arrives, and how often.
func (x *chaos) fate(e envelope) []int64 {
	delay := func() int64 { return 1 + x.rng.Int63n(x.slow+millisecond) }
	if x.calm {
		return []int64{x.rng.Int63n(millisecond)}
	}
	if x.rng.Float64() < x.loss || x.cut[[2]uint32{e.from.ID, e.to.ID}] {
		return nil
	}
	if x.rng.Float64() < x.twice {
		return []int64{delay(), delay()}
	}
	return []int64{delay()}
}

// disturb crashes, restarts and isolates replicas: never more than f down at a time, for disks survive.
func (x *chaos) disturb() {
	if x.rng.Intn(20) == 0 && x.crashes {
		n := x.nodes[x.rng.Intn(len(x.nodes))]
		down := 0
		for _, other := range x.nodes {
			if !other.up {
				down++
			}
		}
		switch {
		case !n.up:
			n.start()
		case x.liar != nil && n.byzantine:
		case down < x.cfg.F || x.rng.Intn(4) == 0: // sometimes everybody: what was promised is on disk
			n.crash()
			x.restarts++
		}
	}
	if x.rng.Intn(40) == 0 {
		clear(x.cut)
		if x.rng.Intn(2) == 0 {
			victim := uint32(x.rng.Intn(len(x.nodes)))
			for i := range uint32(len(x.nodes)) {
				x.cut[[2]uint32{victim, i}], x.cut[[2]uint32{i, victim}] = true, true
			}
		}
	}
}

// act lets the clients send, retransmit and take results.
func (x *chaos) act() {
	for _, cl := range x.clients {
		for i := range cl.slots {
			x.actSlot(cl, wire.Slot(i), &cl.slots[i])
		}
	}
	x.replies = keepRecent(x.replies)
}

func keepRecent(list []*wire.Reply) []*wire.Reply {
	if len(list) > 400 {
		list = append([]*wire.Reply(nil), list[len(list)-200:]...)
	}
	return list
}

func (x *chaos) actSlot(cl *testClient, slot wire.Slot, run *clientRun) {
	if run.op != "" {
		if result, read, ok := x.acceptedAs(cl.id, slot, run.number); ok {
			x.checkResult(run, result, read)
			run.op = ""
			run.done++
		}
	}
	switch {
	case run.op == "" && run.done < x.goal:
		run.number++
		run.op = fmt.Sprintf("%d/%d/%d", cl.id, slot, run.number)
		if x.rng.Intn(6) == 0 {
			run.op = string(large(run.op, 200+x.rng.Intn(300)))
		}
		run.read, run.tries = x.rng.Intn(5) == 0, 0
		x.transmit(cl, slot, run)
	case run.op != "" && x.now-run.sent > 40*millisecond:
		run.tries++
		run.read = false
		x.transmit(cl, slot, run)
	}
}

func (x *chaos) transmit(cl *testClient, slot wire.Slot, run *clientRun) {
	run.sent = x.now
	var flags wire.Flags
	to := []int{x.rng.Intn(len(x.nodes))}
	if run.read {
		flags |= wire.FlagReadOnly
	}
	if run.tries > 0 {
		flags |= wire.FlagFullReply
	}
	if run.read || run.tries > 0 || len(run.op) > 100 {
		to = x.all()
	}
	r := x.keys.Request(cl.id, slot, run.number, flags, wire.ReplicaID(run.number%uint64(len(x.nodes))), []byte(run.op))
	x.request(r, to...)
}

// checkResult compares a result that a client accepted with the one agreed history, when that is already known.
func (x *chaos) checkResult(run *clientRun, result string, read bool) {
	var place int
	if _, err := fmt.Sscanf(result, "%d:", &place); err != nil {
		x.tb.Fatalf("result %q", result)
	}
	if place > 0 && place <= len(x.agreed) && !read && x.agreed[place-1].op != run.op {
		x.tb.Fatalf("a client was told that %q is in place %d, where the replicas have %+v", run.op, place, x.agreed[place-1])
	}
}

func (x *chaos) finished() bool {
	for _, cl := range x.clients {
		for i := range cl.slots {
			if cl.slots[i].done < x.goal {
				return false
			}
		}
	}
	return true
}

func (x *chaos) tick() {
	x.now += millisecond
	x.settle()
	if x.now/millisecond%5 == 0 {
		for _, n := range x.nodes {
			if n.up {
				n.step(Tick{})
			}
		}
	}
	for _, n := range x.nodes {
		if n.up && len(n.hashing) > 0 && x.rng.Intn(10) == 0 {
			s := n.hashing[0]
			n.hashing = n.hashing[1:]
			n.step(Snapshotted{ID: s.id, Root: s.state.root()})
		}
	}
	x.act()
	if x.mallory && x.rng.Intn(4) == 0 {
		x.misbehave()
	}
}

// misbehave is the Byzantine client: authenticators that convince some replicas only, several requests for one number,
// numbers out of order, requests to some replicas only.
func (x *chaos) misbehave() {
	x.mischief++
	number := 1 + x.mischief/4 + uint64(x.rng.Intn(4))
	op := fmt.Sprintf("mischief %d", x.rng.Intn(3))
	if x.rng.Intn(5) == 0 {
		op = string(large(op, 300))
	}
	r := x.keys.Request(mallory, wire.Slot(x.rng.Intn(2)), number, wire.Flags(x.rng.Intn(4)), wire.ReplicaID(x.rng.Intn(4)), []byte(op))
	var to []int
	for i := range r.Auth {
		if x.rng.Intn(2) == 0 {
			r.Auth[i][0] ^= 1
		}
		if x.rng.Intn(3) > 0 {
			to = append(to, i)
		}
	}
	x.request(r, to...)
}

func (x *chaos) run(t *testing.T) {
	for range 1500 {
		x.disturb()
		x.tick()
		if x.finished() {
			break
		}
	}
	x.calm = true
	clear(x.cut)
	// Liveness with f replicas down for good, sometimes.
	down := 0
	for _, n := range x.nodes {
		if !n.up && down < x.cfg.F && x.liar == nil && x.rng.Intn(2) == 0 {
			down++
		} else if !n.up {
			n.start()
		}
	}
	for i := 0; !x.finished() && i < 60_000; i++ {
		x.tick()
	}
	if !x.finished() {
		x.dump(t)
		t.Fatal("operations are pending long after the faults ended")
	}
	x.mallory = false
	for range 1000 {
		x.tick()
	}
	var up []int
	for i, n := range x.nodes {
		if n.up && !n.byzantine {
			up = append(up, i)
		}
	}
	x.mustAgree(up...)
	x.mustBeUnique()
	if t.Failed() {
		x.dump(t)
	}
}

func (x *chaos) dump(t *testing.T) {
	for _, n := range x.nodes {
		t.Logf("replica %d up=%t %+v", n.id, n.up, n.core.Info())
	}
	for _, cl := range x.clients {
		t.Logf("client %d %+v", cl.id, cl.slots)
	}
}

// Safety under loss, duplication, delay, reordering, crashes, restarts and partitions, then liveness. A failing seed is
// run again with -run TestRandomFaults -seed S.
func TestRandomFaults(t *testing.T) {
	for i := range *seedsFlag {
		seed := int64(i) + 1
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		f := 1 + i%4/3 // every fourth with seven replicas
		if *seedFlag != 0 {
			f = 1 + int(seed-1)%4/3
		}
		t.Run(fmt.Sprintf("seed=%d,n=%d", seed, 3*f+1), func(t *testing.T) {
			newChaos(t, seed, f).run(t)
		})
		if *seedFlag != 0 {
			return
		}
	}
}

// With correct replicas and a network that works, nothing that a client does changes the view or stops other clients.
func TestFaultyClientsCauseNoViewChange(t *testing.T) {
	for seed := int64(1); seed <= 30; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			x := newChaos(t, seed, 1)
			x.calm, x.mallory, x.goal = true, true, 40
			for i := 0; !x.finished() && i < 20_000; i++ {
				x.tick()
			}
			if !x.finished() {
				x.dump(t)
				t.Fatal("a faulty client stops others")
			}
			for range 2000 { // with nobody else's progress to hide behind
				x.tick()
			}
			x.mallory = false
			for range 300 {
				x.tick()
			}
			for _, n := range x.nodes {
				if v := n.core.Info().View; v != 0 {
					t.Errorf("replica %d is in view %d", n.id, v)
				}
			}
			x.mustAgree(x.all()...)
			x.mustBeUnique()
			if t.Failed() {
				x.dump(t)
			}
		})
	}
}
