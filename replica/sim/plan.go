package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

const (
	microsecond = int64(1e3)
	millisecond = int64(1e6)
	second      = int64(1e9)
)

// plan is everything that is drawn before a run begins: swarm testing (Groce et al., "Swarm Testing", ISSTA '12) says to
// leave out some kinds of fault altogether in each run, since they hide each other.
type plan struct {
	f, n     int
	core     pbft.Config // without ID and upcalls
	duration int64       // of the safety phase
	goal     int         // operations of each slot in the safety phase, at most
	tail     int         // operations of each slot that begin in the liveness phase

	clients, slots int
	rogues         int // faulty clients

	traitors  []wire.ReplicaID // Byzantine from the start to the end
	habits    []habit          // what traitors do
	forgetful []wire.ReplicaID // may lose their disks' contents; the rest of the time they are correct
	stayDown  int              // replicas that are down for the whole liveness phase

	loss, twice    float64
	delay, jitter  int64 // ordinary delay: delay + up to jitter
	spike          float64
	spikes         int64 // a message in a spike is late by up to this
	crashes        bool
	powerCuts      bool
	pauses         bool
	partitions     bool
	disturbEvery   int64
	sync           int64 // time of a disk's sync, at most
	torn           bool  // what was not synced may survive in part
	skew           int64 // clocks are wrong by up to this
	drift          float64
	hashing        int64 // time to hash a snapshot or to write a checkpoint, at most
	secret         uint64
	coreTickEvery  int64
	requestTimeout int64
}

// clientBase is the number of the first client: those below are the replicas' own (config.FirstGateway).
const clientBase = 100

// draw makes the plan of a seed. f 0: drawn, too.
func draw(rng *rand.Rand, f int, duration int64) plan {
	p := plan{f: f, duration: duration}
	if f == 0 {
		p.f = []int{1, 1, 1, 1, 1, 1, 2, 2, 2, 3}[rng.IntN(10)]
	}
	p.n = 3*p.f + 1
	if p.duration == 0 {
		p.duration = 200*millisecond + rng.Int64N(600*millisecond)
	}
	p.secret = rng.Uint64()
	p.drawCore(rng)
	p.drawClients(rng)
	p.drawNetwork(rng)
	p.drawFaults(rng) // after the clients: it may add a faulty one
	p.core.Clients = make([]wire.ClientID, p.clients+p.rogues)
	for i := range p.core.Clients {
		p.core.Clients[i] = wire.ClientID(clientBase + i)
	}
	return p
}

func (p *plan) drawCore(rng *rand.Rand) {
	c := &p.core
	c.F = p.f
	c.CheckpointInterval = 3 + rng.IntN(10)
	c.BatchWindow = 1 + rng.IntN(min(c.CheckpointInterval, 6))
	c.BatchRequests = 1 + rng.IntN(6)
	c.BatchBytes = 200 << rng.IntN(8)
	c.InlineBytes = []int{0, 16, 32, 8 << 10}[rng.IntN(4)]
	c.DigestReplyBytes = []int{0, 8, 64}[rng.IntN(3)]
	c.QueriesHeld = 4 + rng.IntN(60)
	c.ViewChangeTimeout = 80*millisecond + rng.Int64N(120*millisecond)
	c.StatusInterval = 15*millisecond + rng.Int64N(20*millisecond)
	c.IdleStatusEvery = 2 + rng.IntN(6)
	c.FetchDelay = 2*millisecond + rng.Int64N(15*millisecond)
	c.DoubtDelay = 8*millisecond + rng.Int64N(30*millisecond)
	c.NoTentative = rng.IntN(6) == 0
	c.NoDigestReplies = rng.IntN(6) == 0
	c.NoReadOnly = rng.IntN(6) == 0
	c.NoPiggyback = rng.IntN(3) == 0
	p.coreTickEvery = 5 * millisecond
	p.requestTimeout = 30*millisecond + rng.Int64N(50*millisecond)
}

func (p *plan) drawClients(rng *rand.Rand) {
	p.clients = 1 + rng.IntN(3)
	p.slots = 1 + rng.IntN(3)
	p.core.Slots = p.slots
	per := 60 / (p.clients * p.slots)
	p.goal = per/2 + rng.IntN(per+1)
	p.goal = int(int64(p.goal) * max(1, p.duration/(500*millisecond)))
	p.tail = 1 + rng.IntN(3)
	if rng.IntN(3) == 0 {
		p.rogues = 1 + rng.IntN(2)
	}
}

func (p *plan) drawNetwork(rng *rand.Rand) {
	p.delay = rng.Int64N(2 * millisecond)
	p.jitter = 1 + rng.Int64N(1+int64(rng.IntN(3))*6*millisecond)
	if rng.IntN(2) == 0 {
		p.loss = rng.Float64() * rng.Float64() * 0.3
	}
	if rng.IntN(3) == 0 {
		p.twice = rng.Float64() * 0.2
	}
	if rng.IntN(3) == 0 {
		p.spike, p.spikes = rng.Float64()*0.05, 200*millisecond
	}
	if rng.IntN(2) == 0 {
		p.skew = rng.Int64N(300 * millisecond)
		p.drift = rng.Float64() * 0.05
	}
	if rng.IntN(4) > 0 {
		p.sync = rng.Int64N(5 * millisecond)
	}
	if rng.IntN(2) == 0 {
		p.hashing = rng.Int64N(60 * millisecond)
	}
}

// drawFaults shares the f faulty replicas out: traitors and the forgetful count alike.
func (p *plan) drawFaults(rng *rand.Rand) {
	p.crashes = rng.IntN(2) == 0
	p.powerCuts = rng.IntN(4) == 0
	p.pauses = rng.IntN(4) == 0
	p.partitions = rng.IntN(3) == 0
	p.torn = rng.IntN(2) == 0
	p.disturbEvery = 10*millisecond + rng.Int64N(90*millisecond)
	order := rng.Perm(p.n)
	for _, id := range order[:p.f] {
		switch rng.IntN(6) {
		case 0:
			p.forgetful = append(p.forgetful, wire.ReplicaID(id))
		case 1, 2, 3, 4:
			p.traitors = append(p.traitors, wire.ReplicaID(id))
		}
	}
	p.drawHabits(rng)
	p.stayDown = rng.IntN(p.f - len(p.traitors) - len(p.forgetful) + 1)
}

// drawHabits gives the traitors a few of many habits, or just those that together attack one part of the protocol: what
// one habit prepares, another would spoil more often than not.
func (p *plan) drawHabits(rng *rand.Rand) {
	campaigns := [...][]habit{
		{equivocating, plotting, badViewChanges},
		{equivocating, plotting, badNewViews},
		{forgedRequests, plotting, badViewChanges, selective},
		{voiding, badViewChanges},
		{starving},
		{impersonating},
	}
	if i := rng.IntN(2 * len(campaigns)); i < len(campaigns) {
		p.habits = campaigns[i]
		if len(p.traitors) > 0 && len(p.forgetful) == 0 && rng.IntN(2) == 0 {
			for k := range p.traitors { // the first primaries
				p.traitors[k] = wire.ReplicaID(k)
			}
		}
		if p.habits[0] == voiding {
			p.rogues = max(p.rogues, 1)
		}
		return
	}
	for h := range habits {
		if rng.IntN(4) == 0 {
			p.habits = append(p.habits, habit(h))
		}
	}
}

func (p *plan) isTraitor(id wire.ReplicaID) bool   { return contains(p.traitors, id) }
func (p *plan) isForgetful(id wire.ReplicaID) bool { return contains(p.forgetful, id) }

func contains(list []wire.ReplicaID, id wire.ReplicaID) bool {
	for _, other := range list {
		if other == id {
			return true
		}
	}
	return false
}

// String is the plan in one line.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "n=%d K=%d window=%d batch=%d clients=%d×%d", p.n, p.core.CheckpointInterval, p.core.BatchWindow, p.core.BatchRequests, p.clients, p.slots)
	if p.rogues > 0 {
		fmt.Fprintf(&b, " rogues=%d", p.rogues)
	}
	if len(p.traitors) > 0 {
		fmt.Fprintf(&b, " traitors=%v%v", p.traitors, p.habits)
	}
	if len(p.forgetful) > 0 {
		fmt.Fprintf(&b, " forgetful=%v", p.forgetful)
	}
	for _, fault := range []struct {
		name string
		on   bool
	}{
		{"loss", p.loss > 0},
		{"duplicates", p.twice > 0},
		{"spikes", p.spike > 0},
		{"skew", p.skew > 0},
		{"crashes", p.crashes},
		{"power-cuts", p.powerCuts},
		{"pauses", p.pauses},
		{"partitions", p.partitions},
		{"slow-disk", p.sync > millisecond},
	} {
		if fault.on {
			b.WriteString(" " + fault.name)
		}
	}
	return b.String()
}
