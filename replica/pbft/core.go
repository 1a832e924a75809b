package pbft

import (
	"fmt"

	"bfsd/replica/wire"
)

// Core is the protocol state of one replica.
type Core struct {
	cfg Config
	n   int
	me  wire.ReplicaID
	now int64 // the driver's clock, as of the current Step

	view   wire.View
	active bool // normal operation in view; false between VIEW-CHANGE and NEW-VIEW

	window  window
	clients clientTable
	bodies  bodies
	arrival uint64 // stamps pending requests

	order  orderState
	exec   execState
	reads  []read
	ckpt   checkpointState
	vc     viewChangeState
	timer  timerState
	status statusState
	fetch  transferState

	late [][]byte // recovered records beyond the window

	rejoin rejoinState

	resumed bool // the first Tick after New has passed
	nextID  uint64
}

// New makes a replica's core from what its store held. It panics on an invalid configuration, which is the caller's
// mistake and not input; see Config.Validate.
func New(cfg Config, rec Recovered) *Core {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		panic(fmt.Sprintf("pbft: %v", err))
	}
	c := &Core{cfg: cfg, n: cfg.N(), me: cfg.ID, active: true}
	c.window = newWindow(rec.Stable.Seq, cfg.window(), c.n)
	c.clients = newClientTable(cfg.Clients, cfg.Slots, c.n)
	c.bodies = newBodies()
	c.ckpt = newCheckpointState(c.n)
	c.vc.received = make([]*wire.ViewChange, c.n)
	c.vc.strays = make([]stray, c.n)
	c.status.answered = make([]int64, c.n)
	c.status.heard = make([]peerStatus, c.n)
	c.status.served = make([]int, c.n)
	c.status.contact = make([]int64, c.n)
	c.timer.timeout = cfg.ViewChangeTimeout
	c.recover(rec)
	return c
}

// Step handles one event, at a time of the driver's clock in nanoseconds, and appends what must be done.
func (c *Core) Step(now int64, ev Event, out *Effects) {
	c.now = max(c.now, now)
	switch ev := ev.(type) {
	case Tick:
		c.onTick(out)
	case Received:
		c.onReceived(ev.Message, out)
	case Executed:
		c.onExecuted(ev, out)
	case Queried:
		c.onQueried(ev, out)
	case Snapshotted:
		c.onSnapshotted(ev, out)
	case StateFetched:
		c.onStateFetched(ev, out)
	case StateUnavailable:
		c.onStateUnavailable(ev, out)
	default:
		panic(fmt.Sprintf("pbft: unknown event %T", ev))
	}
}

// Info is a summary for operators.
type Info struct {
	View      wire.View
	Primary   wire.ReplicaID
	Active    bool
	Executed  wire.Seq // including tentatively
	Committed wire.Seq
	Stable    wire.CheckpointRef
	Low, High wire.Seq
	Fetching  bool
	InFlight  int // primary: batches proposed and not executed
	Queued    int // primary: requests not yet proposed
	Waiting   int // requests that run the view-change timer

	Doubt bool     // the replica may have forgotten what it said, and does not vote
	Until wire.Seq // the stable checkpoint that ends the doubt; 0: not known yet, or no doubt
}

// Info summarises the state.
func (c *Core) Info() Info {
	info := Info{
		View: c.view, Primary: c.primary(c.view), Active: c.active, Executed: c.exec.last, Committed: c.exec.committed,
		Stable: c.ckpt.stable, Low: c.window.low, High: c.window.high(), Fetching: c.fetch.active,
		InFlight: c.inFlight(), Queued: len(c.order.queue), Waiting: len(c.timer.waiting), Doubt: c.rejoin.doubt,
	}
	if c.rejoin.doubt && c.rejoin.estimated {
		info.Until = c.rejoin.until
	}
	return info
}

// Ahead is how far a correct replica has certainly got, as far as this one knows: f+1 others say to have executed that much, or
// a proven checkpoint is there. It is at least as old as their last STATUS.
func (c *Core) Ahead() wire.Seq {
	best := max(c.ckpt.low.Seq, c.fetch.target.Seq)
	for i := range c.status.heard {
		said, count := c.status.heard[i].executed, 0
		for j := range c.status.heard {
			if c.status.heard[j].executed >= said {
				count++
			}
		}
		if count >= c.cfg.weak() {
			best = max(best, said)
		}
	}
	return best
}

// primary of a view is replica v mod n (TOCS §4).
func (c *Core) primary(v wire.View) wire.ReplicaID {
	return wire.ReplicaID(v % wire.View(c.n))
}

func (c *Core) isPrimary() bool { return c.active && c.primary(c.view) == c.me }

// id makes an identifier for an effect that will be answered.
func (c *Core) id() uint64 {
	c.nextID++
	return c.nextID
}

func (c *Core) send(to wire.ReplicaID, m wire.Message, out *Effects) {
	out.add(Send{To: wire.Principal{Role: wire.RoleReplica, ID: uint32(to)}, Msg: m})
}

func (c *Core) trace(e TraceEvent, seq wire.Seq, d wire.Digest, from wire.ReplicaID, out *Effects) {
	out.add(Trace{Event: e, View: c.view, Seq: seq, Digest: d, Replica: from})
}
