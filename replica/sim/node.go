package sim

import (
	"encoding/binary"
	"math/rand/v2"

	"bfsd/replica"
	"bfsd/replica/auth"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// node is one replica's machine: the core, a service, the disk, and a driver that does what replica.Node does with real
// ones. A traitor's node runs the honest core too; its traitor bends what comes in and goes out.
type node struct {
	w        *world
	id       wire.ReplicaID
	rng      *rand.Rand
	verifier *auth.Verifier
	traitor  *traitor // nil: keeps to the protocol
	trusted  bool     // counts as correct for the checkers

	disk disk

	// What a crash takes away.
	up       bool
	life     int // counts starts
	began    int64
	paused   int64 // stopped until then
	core     *pbft.Core
	service  replica.Service
	pending  []pbft.Event
	effects  pbft.Effects
	undos    []undo
	snaps    []held
	pinned   []checkpoint // oldest first: what peers can fetch
	transfer *transfer
	out      []departure  // gathered since the last flush
	waiting  []departures // for the disk
	syncing  bool
	writing  []checkpoint // to become stable on disk, in order
	settles  uint64       // the doubt ends when the records before this place are durable, and the checkpoints; 0: it does not

	// The clock is off by skew, and fast by rate.
	skew int64
	rate float64
}

// undo is the state after a batch, kept while a later one may be rolled back.
type undo struct {
	after wire.Seq
	state replica.Snapshot
}

// held is the snapshot of a TakeSnapshot.
type held struct {
	id     uint64
	state  replica.Snapshot
	hashed bool // the core knows the root
}

// departure is a frame that leaves once what it promises is durable. msg is set for the node's own messages.
type departure struct {
	to    wire.Principal
	frame []byte
	msg   wire.Message
}

// departures leave together when so many records are durable.
type departures struct {
	after uint64
	list  []departure
}

func newNode(w *world, id wire.ReplicaID, seed uint64) *node {
	n := &node{w: w, id: id, rng: stream(seed, streamNodes+uint64(id)), trusted: true}
	k := &keys{self: replicaPrincipal(id), world: w.plan.secret, replicas: w.plan.n, clients: w.plan.core.Clients}
	n.verifier = auth.NewVerifier(k.self, w.plan.n, k)
	if w.plan.skew > 0 {
		n.skew = n.rng.Int64N(w.plan.skew) - w.plan.skew/2
		n.rate = (n.rng.Float64() - 0.5) * w.plan.drift
	}
	if w.plan.isTraitor(id) {
		n.traitor = newTraitor(n)
		n.trusted = false
	}
	return n
}

// now is the core's clock: it starts with the process, as replica.Node's does.
func (n *node) now() int64 {
	d := n.w.now - n.began
	return d + int64(float64(d)*n.rate)
}

// wall is the machine's time of day.
func (n *node) wall() int64 { return epoch + n.w.now + n.skew }

// epoch is the time of day at which every world begins.
const epoch = 1_700_000_000 * second

// start makes the core and the service from what the disk holds.
func (n *node) start() {
	n.life++
	n.up, n.began, n.paused = true, n.w.now, 0
	n.undos, n.snaps, n.pinned, n.writing = nil, nil, nil, nil
	n.out, n.waiting, n.syncing = nil, nil, false
	n.pending, n.transfer, n.settles = nil, nil, 0
	n.service = n.w.scenario.New()
	rec := pbft.Recovered{Records: n.disk.records(), Doubt: n.disk.doubt}
	if d := rec.Doubt; d != nil && !d.New {
		rec.Doubt = &pbft.Doubt{Nonce: n.nonce(), View: n.disk.view, ViewKnown: d.ViewKnown}
	}
	if c := n.disk.stable; c != nil {
		if !n.load(c) {
			return
		}
		rec.Stable, rec.Proof, rec.Replies = c.at, c.proof, clientTable(n.service)
		n.pinned = []checkpoint{{c.at, c.proof, n.service.Snapshot()}}
	}
	n.w.tracef("r%d starts: checkpoint %d, %d records, in doubt %t", n.id, rec.Stable.Seq, len(rec.Records), rec.Doubt != nil)
	n.w.check.restarted(n, rec.Stable.Seq)
	cfg := n.w.plan.core
	cfg.ID = n.id
	cfg.Propose = func(int64) []byte { return n.service.Propose(n.wall()) }
	cfg.Check = func(choice []byte, _ int64) error { return n.service.Check(choice, n.wall()) }
	n.core = pbft.New(cfg, rec)
	n.tick(n.life)
}

// load reads the checkpoint's pages back into the service.
func (n *node) load(c *checkpoint) bool {
	err := n.service.Load(func(yield func(key, value []byte) error) error { return c.state.Diff(nil, yield) })
	if err != nil {
		n.w.fail("r%d cannot load the pages of checkpoint %d: %v", n.id, c.at.Seq, err)
		return false
	}
	if root := n.service.Snapshot().Root(); root != c.at.Root {
		n.w.fail("r%d: the pages of checkpoint %d have root %v, not %v", n.id, c.at.Seq, root, c.at.Root)
		return false
	}
	return true
}

// crash stops the node at once.
func (n *node) crash() {
	survivors := uint64(0)
	if n.w.plan.torn && n.disk.appended > n.disk.durable {
		survivors = n.rng.Uint64N(n.disk.appended - n.disk.durable + 1)
	}
	n.w.tracef("r%d crashes: %d records were not synced, %d of them survive", n.id, n.disk.appended-n.disk.durable, survivors)
	n.up = false
	n.life++
	n.stopTransfer()
	n.disk.crash(survivors)
}

// forget damages the disk of a replica that is down: everything is gone, or records are missing or changed. The replica
// notices that something is wrong, as it does with a real store; not what. It must keep its promises all the same.
func (n *node) forget() {
	view := n.disk.view
	doubt := &pbft.Doubt{Nonce: n.nonce(), ViewKnown: n.rng.IntN(2) == 0}
	if d := n.disk.doubt; d != nil && !d.ViewKnown {
		doubt.ViewKnown = false // the disk knew only what was said since
	}
	switch n.rng.IntN(5) {
	case 0: // by somebody who empties its directory
		n.w.tracef("r%d begins anew", n.id)
		n.disk = disk{}
		doubt = &pbft.Doubt{Nonce: doubt.Nonce, New: true}
	case 1:
		n.w.tracef("r%d loses its disk", n.id)
		n.disk = disk{}
	case 2, 3:
		kept := n.disk.log[:0:0]
		for _, r := range n.disk.log {
			if n.rng.IntN(3) > 0 {
				kept = append(kept, r)
			}
		}
		n.w.tracef("r%d loses %d of %d records", n.id, len(n.disk.log)-len(kept), len(n.disk.log))
		n.disk.log = kept
	default:
		for i := range n.disk.log {
			if r := &n.disk.log[i]; n.rng.IntN(4) == 0 && len(r.data) > 0 {
				r.data = append([]byte(nil), r.data...)
				r.data[n.rng.IntN(len(r.data))] ^= 1 << n.rng.IntN(8)
			}
		}
		n.w.tracef("r%d has bit rot in its log", n.id)
	}
	n.disk.doubt = doubt
	if doubt.ViewKnown {
		n.disk.view = view
	}
}

// nonce is a number that names a life, or a store.
func (n *node) nonce() uint64 { return 1 + n.rng.Uint64N(1<<62) }

// settle ends the doubt when what the core said before is durable.
func (n *node) settle() {
	if n.settles > 0 && n.disk.durable+1 >= n.settles && len(n.writing) == 0 {
		n.disk.doubt, n.settles = nil, 0
	}
}

// alive runs do later, unless the node has crashed meanwhile; while the process is stopped it waits.
func (n *node) alive(delay int64, do func()) {
	life := n.life
	n.w.after(delay, func() {
		switch {
		case life != n.life:
		case n.w.now < n.paused:
			n.alive(n.paused-n.w.now, do)
		default:
			do()
		}
	})
}

// tick is the driver's ticker.
func (n *node) tick(life int) {
	if life != n.life {
		return
	}
	next := n.w.plan.coreTickEvery
	if n.w.now < n.paused {
		next = n.paused - n.w.now
	} else {
		n.step(pbft.Tick{})
		n.flush()
		if n.traitor != nil {
			n.traitor.tick()
		}
	}
	n.w.plant(event{at: n.w.now + next, tick: n, life: n.life})
}

// arrive takes a frame off a link.
func (n *node) arrive(from wire.Principal, frame []byte) {
	if !n.up {
		return
	}
	if n.w.now < n.paused {
		n.w.plant(event{at: n.paused, from: from, to: replicaPrincipal(n.id), frame: frame})
		return
	}
	v, err := n.verifier.Verify(from, frame)
	if err != nil {
		n.w.check.refused(n, from, frame, err)
		return
	}
	n.w.tracef("%v → r%d %s", short(from), n.id, traced{frame})
	if n.traitor != nil && !n.traitor.hears(v) {
		return
	}
	switch m := v.Message().(type) {
	case *wire.Fetch:
		n.serve(m)
	case *wire.Data, *wire.MetaData:
		n.deliver(m)
	default:
		n.step(pbft.Received{Message: v})
	}
	n.flush()
}

// frame adds a frame to what leaves with the next flush.
func (n *node) frame(to wire.Principal, frame []byte, msg wire.Message) {
	n.out = append(n.out, departure{to, frame, msg})
}

// flush lets what was gathered leave once the log records before it are synced; many records share a sync.
func (n *node) flush() {
	list := n.out
	n.out = nil
	if n.disk.appended == n.disk.durable && len(n.waiting) == 0 {
		n.depart(list)
		return
	}
	if n.w.plan.sync == 0 {
		n.disk.synced(n.disk.appended)
		n.depart(list)
		n.settle()
		return
	}
	if len(list) > 0 {
		n.waiting = append(n.waiting, departures{n.disk.appended, list})
	}
	n.sync()
}

func (n *node) sync() {
	if n.syncing || n.disk.appended == n.disk.durable {
		return
	}
	n.syncing = true
	target := n.disk.appended
	n.alive(1+n.rng.Int64N(n.w.plan.sync), func() {
		n.syncing = false
		n.disk.synced(target)
		for len(n.waiting) > 0 && n.waiting[0].after <= target {
			n.depart(n.waiting[0].list)
			n.waiting = n.waiting[1:]
		}
		n.settle()
		n.sync()
	})
}

func (n *node) depart(list []departure) {
	for _, d := range list {
		if n.traitor != nil {
			n.traitor.sends(d)
			continue
		}
		n.w.check.says(n, d)
		n.w.net.send(replicaPrincipal(n.id), d.to, d.frame, 0)
	}
}

// clientTable reads the client table from a service's state.
func clientTable(s replica.Service) []pbft.ClientReply {
	var table []pbft.ClientReply
	s.Replies(func(c wire.ClientID, slot wire.Slot, number uint64, result []byte) bool {
		table = append(table, pbft.ClientReply{Client: c, Slot: slot, Number: number, Result: result})
		return true
	})
	return table
}

// timeOf reads a choice as the toy service and the file system make it: 8 bytes, nanoseconds, big-endian.
func timeOf(choice []byte) (int64, bool) {
	if len(choice) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(choice)), true
}
