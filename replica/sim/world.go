package sim

import (
	"fmt"
	"io"
	"math/rand/v2"

	"bfsd/replica/wire"
)

// world is one run: everything in it happens on one goroutine, in the order of the event queue.
type world struct {
	plan     plan
	scenario Scenario
	now      int64 // simulated time since the start, nanoseconds
	queue    eventQueue
	planted  uint64
	events   int64 // that happened so far
	messages int64

	net     *network
	nodes   []*node
	clients []*client
	rogues  []*rogue
	check   *checker
	plot    *plot
	fate    *rand.Rand // of crashes, partitions and the like

	calm    bool                                         // the liveness phase
	taken   func(c wire.ClientID, read bool, took int64) // told of each result; nil: nobody is
	out     io.Writer
	failure *Failure
}

// stream makes a generator of its own for one purpose, so that one part of a run can change without changing the others.
func stream(seed, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, purpose*0x9e3779b97f4a7c15+1)) //nolint:gosec // a simulation wants to be repeatable
}

// The purposes of generators; those of nodes and clients come after.
const (
	streamPlan = iota
	streamNetwork
	streamFaults
	streamNodes   = 1000
	streamClients = 2000
)

// plant adds an event.
func (w *world) plant(e event) {
	w.planted++
	e.order = w.planted
	w.queue.push(e)
}

// after does something later.
func (w *world) after(delay int64, do func()) { w.plant(event{at: w.now + delay, do: do}) }

// next lets the next event happen. There is always one: replicas tick.
func (w *world) next() {
	e := w.queue.pop()
	w.now = e.at
	w.events++
	switch {
	case e.frame != nil:
		w.messages++
		if e.to.Role == wire.RoleReplica {
			w.nodes[e.to.ID].arrive(e.from, e.frame)
		} else if i := int(e.to.ID) - clientBase; i < len(w.clients) {
			w.clients[i].arrive(e.from, e.frame)
		}
	case e.tick != nil:
		e.tick.tick(e.life)
	default:
		e.do()
	}
}

// runUntil lets events happen until done holds, or the time is over, or something is wrong. It reports whether done held.
func (w *world) runUntil(end int64, done func() bool) bool {
	for w.failure == nil {
		if done() {
			return true
		}
		if w.now >= end {
			return false
		}
		w.next()
	}
	return false
}

// fail records what is wrong; the first word counts.
func (w *world) fail(format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{At: w.now, Reason: fmt.Sprintf(format, args...)}
		w.tracef("WRONG: %s", w.failure.Reason)
	}
}

// tracef writes one line of the trace. Its arguments are only rendered when somebody reads them.
func (w *world) tracef(format string, args ...any) {
	if w.out != nil {
		fmt.Fprintf(w.out, "%11.6f ", float64(w.now)/1e9)
		fmt.Fprintf(w.out, format, args...)
		fmt.Fprintln(w.out)
	}
}
