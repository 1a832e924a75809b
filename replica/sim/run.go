package sim

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// Options say what to run.
type Options struct {
	Seed     uint64
	F        int           // faults tolerated; 0: drawn from the seed
	Duration time.Duration // of the safety phase, simulated; 0: drawn
	Scenario Scenario
	Trace    io.Writer // one line per event; nil: none
}

// Failure is what went wrong in a run.
type Failure struct {
	Seed   uint64
	At     int64 // simulated nanoseconds
	Reason string
	Plan   string
}

// String tells it on two lines.
func (f *Failure) String() string {
	return fmt.Sprintf("seed %d, after %.6f s: %s\n  (%s)", f.Seed, float64(f.At)/1e9, f.Reason, f.Plan)
}

// Stats count what happened, so that one sees whether a run tested anything.
type Stats struct {
	Events, Messages   int64
	Batches, Requests  int64
	Reads              int64 // answered without order
	NewViews           int64 // entered, by all replicas together
	Rollbacks          int64
	Abandoned          int64
	Checkpoints        int64
	Transfers          int64
	Crashes            int64
	Rejoins            int64 // of replicas that had forgotten what they said
	Refused            int64
	Simulated, Healing int64 // nanoseconds: all, and until everything pending had completed after the faults ended
}

// Add sums up runs; of Healing the longest counts.
func (s *Stats) Add(o Stats) {
	s.Events += o.Events
	s.Messages += o.Messages
	s.Batches += o.Batches
	s.Requests += o.Requests
	s.Reads += o.Reads
	s.NewViews += o.NewViews
	s.Rollbacks += o.Rollbacks
	s.Abandoned += o.Abandoned
	s.Checkpoints += o.Checkpoints
	s.Transfers += o.Transfers
	s.Crashes += o.Crashes
	s.Rejoins += o.Rejoins
	s.Refused += o.Refused
	s.Simulated += o.Simulated
	s.Healing = max(s.Healing, o.Healing)
}

// The liveness phase's patience, simulated. Timers have doubled while the faults lasted, traitors may be the next
// primaries, and each view change takes a timeout.
const (
	completeWithin = 120 * second
	convergeWithin = 60 * second
)

// Run lets one seed happen. It returns nil if nothing went wrong.
func Run(o Options) (Stats, *Failure) {
	p := draw(stream(o.Seed, streamPlan), o.F, int64(o.Duration))
	return run(o, p)
}

func run(o Options, p plan) (stats Stats, failure *Failure) {
	w := &world{plan: p, scenario: o.Scenario, out: o.Trace}
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic: %v\n%s", r, interesting(debug.Stack()))
		}
		for _, n := range w.nodes {
			n.stopTransfer()
		}
		stats.Events, stats.Messages, stats.Simulated = w.events, w.messages, w.now
		if w.failure != nil {
			w.failure.Seed, w.failure.Plan = o.Seed, w.plan.String()
			failure = w.failure
		}
	}()
	w.populate(o.Seed, &stats)
	w.tracef("seed %d: %s", o.Seed, w.plan.String())
	w.disturb(&stats)
	w.runUntil(w.plan.duration, w.idle)
	w.heal()
	healed := w.now
	if !w.runUntil(w.now+completeWithin, w.idle) {
		w.fail("%s is pending long after the faults ended: %s", w.pending(), w.state())
	}
	stats.Healing = w.now - healed
	if !w.runUntil(w.now+convergeWithin, w.converged) {
		if op := w.check.unsettled(); op != nil {
			w.fail("client %d was told %q for %q, but it does not commit: an acknowledged operation is lost; %s", op.Client, clip(op.Result), clip(op.Op), w.state())
		}
		w.fail("the correct replicas do not reach one state: %s", w.state())
	}
	if w.failure == nil {
		w.check.finish()
	}
	return stats, nil
}

// populate makes everybody.
func (w *world) populate(seed uint64, stats *Stats) {
	w.net = newNetwork(w, stream(seed, streamNetwork))
	w.fate = stream(seed, streamFaults)
	w.plot = newPlot(w)
	w.check = newChecker(w, stats)
	for i := range w.plan.n {
		w.nodes = append(w.nodes, newNode(w, wire.ReplicaID(i), seed))
	}
	for _, n := range w.nodes {
		n.disk.doubt = &pbft.Doubt{Nonce: n.nonce(), New: true}
		n.start()
	}
	for i := range w.plan.clients {
		w.clients = append(w.clients, newClient(w, wire.ClientID(clientBase+i), seed))
	}
	for i := range w.plan.rogues {
		w.rogues = append(w.rogues, newRogue(w, wire.ClientID(clientBase+w.plan.clients+i), seed))
	}
}

// idle says whether all correct clients have done what they wanted to.
func (w *world) idle() bool {
	for _, c := range w.clients {
		for _, s := range c.slots {
			if s.open || s.done < s.goal {
				return false
			}
		}
	}
	return true
}

func (w *world) pending() string {
	var list []string
	for _, c := range w.clients {
		for _, s := range c.slots {
			if s.open {
				list = append(list, fmt.Sprintf("%q of c%d/%d (#%d, tried %d times)", clip(s.op), c.id, s.slot, s.number, s.tries))
			}
		}
	}
	return strings.Join(list, ", ")
}

// heal ends all faults but f.
func (w *world) heal() {
	w.tracef("the faults end")
	w.calm, w.net.calm = true, true
	w.net.mend()
	down := w.plan.stayDown
	for _, n := range w.nodes {
		n.paused = min(n.paused, w.now)
		switch {
		case n.up:
		case n.traitor == nil && down > 0:
			down--
		default:
			n.start()
		}
	}
	for _, c := range w.clients {
		for _, s := range c.slots {
			s.goal = s.done + w.plan.tail
			if s.open {
				s.goal++
			}
			w.after(0, s.begin)
		}
	}
}

// converged says whether all replicas that are up and keep to the protocol have executed and committed all there is, and
// have the agreed state.
func (w *world) converged() bool {
	for _, r := range w.rogues {
		r.stopped = true
	}
	end := wire.Seq(len(w.check.agreed))
	for _, n := range w.nodes {
		if !n.up || n.traitor != nil {
			continue
		}
		if n.transfer != nil {
			return false
		}
		if i := n.core.Info(); i.Committed != end || i.Executed != end || i.Doubt {
			return false
		}
	}
	if w.check.unsettled() != nil {
		return false // a view change has undone it, and the new view will propose it again
	}
	want := w.check.states[end].Root()
	for _, n := range w.nodes {
		if !n.up || n.traitor != nil {
			continue
		}
		if root := n.service.Snapshot().Root(); root != want {
			w.fail("r%d has executed everything, but its state is %v, not %v", n.id, root, want)
			return false
		}
	}
	return true
}

// state says where everybody is.
func (w *world) state() string {
	list := []string{fmt.Sprintf("%d batches are agreed", len(w.check.agreed))}
	for _, n := range w.nodes {
		if !n.up {
			list = append(list, fmt.Sprintf("r%d is down", n.id))
			continue
		}
		i := n.core.Info()
		who := ""
		if n.traitor != nil {
			who = " (traitor)"
		}
		list = append(list, fmt.Sprintf("r%d%s is in view %d (active %t), has executed %d, committed %d, window %d-%d, fetching %t, in doubt %t until %d",
			n.id, who, i.View, i.Active, i.Executed, i.Committed, i.Low, i.High, i.Fetching, i.Doubt, i.Until))
	}
	return strings.Join(list, "; ")
}

// interesting is the part of a stack that says where the panic was.
func interesting(stack []byte) string {
	var list []string
	for line := range strings.Lines(string(stack)) {
		if strings.Contains(line, "/replica/") && !strings.Contains(line, "/sim/run.go") {
			list = append(list, "    "+strings.TrimSpace(line))
		}
	}
	return strings.Join(list[:min(len(list), 8)], "\n")
}
