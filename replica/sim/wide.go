package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// Wide is a group whose replicas are far from each other. Replica i is at place i, and so is client i. Nothing is faulty, and
// whatever happens inside a machine takes no time: what is measured is the messages' way.
type Wide struct {
	F int
	// Delay is how long a message takes from place to place, for at least 3F+1 places.
	Delay [][]time.Duration
	Calls int // of each client, one after the other
	// Reads is the share of calls that only read, of 1.
	Reads float64
	// The timers must be above what the delays make of a call.
	ViewChangeTimeout, RequestTimeout time.Duration
	Seed                              uint64
}

// WideCall is one call of the client at a place.
type WideCall struct {
	Place    int
	ReadOnly bool
	Took     time.Duration
}

// wideLimit is the simulated time after which a run is given up.
const wideLimit = 24 * 3600 * second

// Run measures. The error tells what was wrong with the run, which is then worth nothing.
func (o Wide) Run() (calls []WideCall, err error) {
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	w := &world{plan: p, scenario: o.scenario()}
	defer func() {
		if r := recover(); r != nil {
			calls, err = nil, fmt.Errorf("simulate a wide area: panic: %v", r)
		}
	}()
	var stats Stats
	w.populate(o.Seed, &stats)
	w.net.wide = o.delays(p)
	w.taken = func(c wire.ClientID, read bool, took int64) {
		calls = append(calls, WideCall{int(c) - clientBase, read, time.Duration(took)})
	}
	done := w.runUntil(wideLimit, w.idle)
	if done && !w.runUntil(w.now+convergeWithin, w.converged) {
		w.fail("the replicas do not reach one state: %s", w.state())
	}
	if w.failure == nil {
		w.check.finish()
	}
	switch {
	case w.failure != nil:
		return nil, fmt.Errorf("simulate a wide area: %s", w.failure.Reason)
	case !done:
		return nil, fmt.Errorf("simulate a wide area: not done after a day: %s", w.pending())
	case stats.NewViews > 0:
		return nil, errors.New("simulate a wide area: the view changed although nothing was wrong: the timers are too short for these delays")
	}
	return calls, nil
}

// plan is one without faults.
func (o Wide) plan() (plan, error) {
	p := plan{f: o.F, n: 3*o.F + 1, goal: o.Calls, slots: 1, coreTickEvery: 5 * millisecond, requestTimeout: int64(o.RequestTimeout), jitter: 1}
	p.clients = p.n
	if o.F < 1 || p.n > wire.MaxReplicas || len(o.Delay) < p.n || o.Calls < 1 {
		return p, fmt.Errorf("simulate a wide area: f = %d with %d places and %d calls: want f from 1 to %d, as many places as replicas, and a call",
			o.F, len(o.Delay), o.Calls, (wire.MaxReplicas-1)/3)
	}
	for from, row := range o.Delay {
		if len(row) != len(o.Delay) {
			return p, fmt.Errorf("simulate a wide area: place %d has delays to %d places, there are %d", from, len(row), len(o.Delay))
		}
		for to, d := range row {
			if d < 0 {
				return p, fmt.Errorf("simulate a wide area: the delay from place %d to %d is %v", from, to, d)
			}
		}
	}
	p.core = pbft.Config{F: o.F, Slots: 1, ViewChangeTimeout: int64(o.ViewChangeTimeout)}
	p.core.Defaults()
	for i := range p.clients {
		p.core.Clients = append(p.core.Clients, wire.ClientID(clientBase+i))
	}
	return p, nil
}

// delays is the matrix for all endpoints: the replicas, then the clients.
func (o Wide) delays(p plan) [][]int64 {
	all := make([][]int64, p.n+p.clients)
	for a := range all {
		all[a] = make([]int64, len(all))
		for b := range all[a] {
			all[a][b] = int64(o.Delay[a%p.n][b%p.n])
		}
	}
	return all
}

func (o Wide) scenario() Scenario {
	return Scenario{
		Name: "wide", New: newKV,
		Workload: func(rng *rand.Rand, c wire.ClientID, _ wire.Slot) Workload {
			return &wideLoad{rng: rng, key: int(c), reads: o.Reads}
		},
	}
}

// wideLoad sets a key of the client's own, and reads it or the next client's.
type wideLoad struct {
	rng   *rand.Rand
	key   int
	count int
	reads float64
}

// Next implements Workload.
func (l *wideLoad) Next([]byte) (op []byte, readOnly bool) {
	l.count++
	if l.rng.Float64() < l.reads {
		return fmt.Appendf(nil, "g k%d", l.key+l.rng.IntN(2)), true
	}
	return fmt.Appendf(nil, "s k%d %d", l.key, l.count), false
}
