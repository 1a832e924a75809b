package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

// Options say what a node is made of.
type Options struct {
	Cluster  *config.Cluster
	Keys     *auth.Keyring // of one of the cluster's replicas
	Service  Service       // new and empty; the node owns it
	Genesis  string        // the file with the state that the cluster began with, if its configuration names one
	StoreDir string        // where the log and the checkpoints go, unless the cluster's durability is memory
	StoreFS  vfs.FS        // nil: the operating system's; tests give one with faults
	Listener net.Listener  // where peers and clients dial in; the node closes it
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Version  string // which build this is, for its status
	// Loading follows the start, for somebody who wants to know how far it is before Open returns; nil: nobody does.
	Loading *Loading
	// Fatal is called, at most once, when the node must stop at once rather than say what it may have to contradict: the
	// log cannot be written. nil: the process exits with a message on standard error.
	Fatal func(reason string)
}

// Node is one replica: the event loop that joins the protocol's core to the links, the log and the service. One goroutine
// (Run) owns the core and the service; the links' readers verify messages in parallel and queue them for it; see inbox
// for the way in, outbox for the way out, apply.go for what the loop does.
type Node struct {
	self    wire.ReplicaID
	cluster *config.Cluster
	log     *slog.Logger
	fatal   func(string)
	started time.Time
	version string
	metrics *metrics

	keys     keys
	verifier *auth.Verifier
	links    *transport.Transport
	peers    []wire.Principal // the other replicas
	in       *inbox
	calls    chan func() // what others want done on the loop
	out      *outbox
	store    *store.Store        // nil: durability memory
	damage   []store.DamageError // what was found wrong with the store at the start
	syncs    syncTimes

	core    *pbft.Core
	service Service
	faulty  misbehaviour
	snaps   *snapshots
	fetch   *fetcher
	worker  *worker

	progress  progress
	proposals proposals
	chronicle chronicle
	flows     flows
	load      load
	loading   *Loading
	replayed  atomic.Bool // Run has executed the log

	info     atomic.Pointer[pbft.Info] // what the core says of itself, as of the loop's last turn
	effects  pbft.Effects
	pending  []pbft.Event
	received []auth.Verified
	closing  sync.Once
	done     chan struct{} // closed when Run has returned
}

// tickInterval is how often the core sees time pass: a tenth of its shortest delay or so.
const tickInterval = 5 * time.Millisecond

// messagesPerTurn bounds how many messages the loop handles before it looks at the clock and lets frames leave.
const messagesPerTurn = 128

// Open makes a node from what its store holds. Run executes the log again, and then begins to take connections: not before
// it knows which keys clients have.
func Open(o Options) (*Node, error) {
	self := o.Keys.Self()
	if self.Role != wire.RoleReplica || int(self.ID) >= o.Cluster.N() {
		return nil, fmt.Errorf("opening a replica: the key file is that of %v, not of one of the %d replicas", self, o.Cluster.N())
	}
	n := &Node{
		self: wire.ReplicaID(self.ID), cluster: o.Cluster, log: o.Log, fatal: o.Fatal, started: time.Now(),
		verifier: auth.NewVerifier(self, o.Cluster.N(), o.Keys), in: newInbox(),
		calls: make(chan func(), 16), done: make(chan struct{}),
		service: o.Service, metrics: newMetrics(), version: o.Version,
	}
	n.keys.ring = o.Keys
	n.keys.service, _ = o.Service.(KeyedService)
	if n.loading = o.Loading; n.loading == nil {
		n.loading = new(Loading)
	}
	n.loading.begin(RejoinOpening, 0)
	if o.Metrics != nil {
		if err := n.loading.register(o.Metrics); err != nil {
			return nil, err
		}
	}
	if n.fatal == nil {
		n.fatal = func(reason string) {
			fmt.Fprintf(os.Stderr, "bfsd: replica %d stops: %s\n", n.self, reason)
			os.Exit(1)
		}
	}
	if !o.Cluster.Optimisations.MACs {
		n.verifier = n.verifier.ExpectSignatures()
	}
	for _, r := range o.Cluster.Replicas {
		if r.ID != n.self {
			n.peers = append(n.peers, wire.Principal{Role: wire.RoleReplica, ID: uint32(r.ID)})
		}
	}
	var err error
	if n.faulty, err = newMisbehaviour(n.self); err != nil {
		return nil, err
	}
	rec, persisted, err := n.openStore(o)
	if err != nil {
		return nil, err
	}
	n.keys.install(n, true)
	n.core, err = newCore(n.coreConfig(), rec)
	if err != nil {
		return nil, errors.Join(err, n.closeStore())
	}
	n.links, err = transport.New(transport.Config{
		Self: self, Keys: o.Keys, Peers: transport.Peers(o.Cluster, self), Listener: o.Listener, Handler: n.receive, Log: o.Log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening replica %d: %w", n.self, err), n.closeStore())
	}
	n.out = newOutbox(n.store, n.send, n.storeFailed)
	n.out.watch = n.watchSync
	n.snaps = newSnapshots(persisted)
	n.worker = newWorker(n)
	n.fetch = newFetcher(n)
	n.progress.slack = wire.Seq(o.Cluster.Tunables.BatchWindow)
	n.publish()
	if err := n.metrics.register(o.Metrics, n); err != nil {
		return nil, errors.Join(err, n.closeStore())
	}
	for _, d := range n.damage {
		n.metrics.storeFaults.WithLabelValues(label(string(d.Kind) + " damaged")).Inc()
	}
	return n, nil
}

// newCore turns what pbft.New refuses into an error: it comes from cluster.toml.
func newCore(cfg pbft.Config, rec pbft.Recovered) (*pbft.Core, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("the cluster file's tunables do not work together: %w", err)
	}
	return pbft.New(cfg, rec), nil
}

// coreConfig is the cluster's configuration as the core wants it.
func (n *Node) coreConfig() pbft.Config {
	t, on := &n.cluster.Tunables, &n.cluster.Optimisations
	requests, window := n.cluster.Batch()
	cfg := pbft.Config{
		ID: n.self, F: n.cluster.F(), Slots: t.ClientSlots,
		CheckpointInterval: int(t.CheckpointInterval), BatchWindow: window, BatchRequests: requests,
		BatchBytes: t.BatchBytes, InlineBytes: n.cluster.LargeRequestBytes(),
		NoTentative: !on.Tentative, NoDigestReplies: !on.DigestReplies, NoReadOnly: !on.ReadOnly, NoPiggyback: !on.Piggyback,
		Volatile:          n.cluster.Durability == config.Memory,
		ViewChangeTimeout: t.ViewChangeTimeout().Nanoseconds(),
		// The core's clock is monotonic, so that setting the machine's clock does not start view changes; the choice is
		// a time of day, so it is made from the time of day.
		Propose: func(int64) []byte { return n.service.Propose(time.Now().UnixNano()) },
		Check:   func(choice []byte, _ int64) error { return n.service.Check(choice, time.Now().UnixNano()) },
	}
	for _, r := range n.cluster.Replicas { // a replica's own front end is the client with its number; gateways' are higher
		cfg.Clients = append(cfg.Clients, wire.ClientID(r.ID))
	}
	for _, c := range n.cluster.Clients {
		cfg.Clients = append(cfg.Clients, c.ID)
	}
	return cfg
}

// now is the core's clock: monotonic, in nanoseconds.
func (n *Node) now() int64 { return int64(time.Since(n.started)) }

// Transport is the node's end of its links, for the client inside the same process to join.
func (n *Node) Transport() *transport.Transport { return n.links }

// receive verifies a frame, on the reader goroutine of the link it came on, and queues it for the loop.
func (n *Node) receive(from wire.Principal, frame []byte) {
	v, err := n.verifier.Verify(from, frame)
	if err != nil {
		n.refused(from, refusalReason(err))
		n.log.Debug("message refused", "from", from, "err", err)
		return
	}
	switch m := v.Message().(type) {
	case *wire.Fetch:
		n.snaps.serve(n, m)
	case *wire.ClientFetch:
		if !n.mayCopy(m.Client) {
			n.refused(from, refusedForbidden)
			n.log.Warn("a client that may not copy the state asks for it; backup = true in cluster.toml would allow it", "client", m.Client)
			return
		}
		n.snaps.serveClient(n, m)
	case *wire.Data, *wire.MetaData:
		n.fetch.deliver(m)
	default:
		n.in.put(from, v)
	}
}

// refused counts a message that was refused.
func (n *Node) refused(from wire.Principal, reason string) {
	n.metrics.refused.WithLabelValues(from.String(), reason).Inc()
	if from.Role == wire.RoleReplica {
		n.suspect(from.ID, suspectRefused)
	}
}

// mayCopy says whether a client is one that may have the whole state.
func (n *Node) mayCopy(id wire.ClientID) bool {
	for i := range n.cluster.Clients {
		if c := &n.cluster.Clients[i]; c.ID == id {
			return c.Backup
		}
	}
	return false
}

// send gives a frame to a link; a full queue drops it, which the protocol repairs as it does any loss.
func (n *Node) send(to wire.Principal, frame []byte) { n.links.Send(to, frame) }

// Run handles events until the context ends, then lets what was promised become durable and leaves.
func (n *Node) Run(ctx context.Context) error {
	defer n.close()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	n.loading.begin(RejoinReplay, 0)
	n.step(pbft.Tick{})
	n.links.Start()
	n.progress.resumed(n.core.Info())
	n.loading.begin(RejoinNone, 0)
	n.replayed.Store(true)
	n.out.flush()
	n.publish()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.in.ready:
		case now := <-ticker.C:
			n.step(pbft.Tick{})
			n.progress.observe(now, n.core)
			n.look(now)
		case f := <-n.calls:
			f()
		}
		n.received = n.in.take(n.received[:0], messagesPerTurn)
		for i := range n.received {
			if n.flows.watched.Load() {
				from := n.received[i].From()
				who := FlowClient
				if from.Role == wire.RoleReplica {
					who = int(from.ID)
				}
				n.flows.saw(n.received[i].Message(), who, n.info.Load())
			}
			if m, ok := n.received[i].Message().(*wire.PrePrepare); ok {
				n.proposed(m, len(n.received[i].Raw()))
			}
			n.step(pbft.Received{Message: n.received[i]})
			n.received[i] = auth.Verified{}
		}
		n.out.flush()
		n.publish()
	}
}

// publish makes the core's summary readable from outside the loop.
func (n *Node) publish() {
	info := n.core.Info()
	n.info.Store(&info)
}

// post has f done on the loop, some time; it gives up when the node has stopped.
func (n *Node) post(f func()) { n.postUntil(context.Background(), f) }

// postUntil is post that also gives up when ctx ends. It reports whether the loop will do f, unless it stops before.
func (n *Node) postUntil(ctx context.Context, f func()) bool {
	select {
	case n.calls <- f:
		return true
	case <-n.done:
	case <-ctx.Done():
	}
	return false
}

// onLoop runs f on the loop and waits for it; false when the node stops or the context ends first.
func (n *Node) onLoop(ctx context.Context, f func()) bool {
	ran := make(chan struct{})
	if !n.postUntil(ctx, func() { f(); close(ran) }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-n.done:
	case <-ctx.Done():
	}
	return false
}

// Close ends the node whether Run was called or not.
func (n *Node) Close() { n.close() }

func (n *Node) close() {
	n.closing.Do(func() {
		close(n.done)
		n.in.close()
		n.fetch.cancel()
		n.worker.close()
		n.out.close()
		n.links.Close()
		if err := n.closeStore(); err != nil {
			n.log.Error("closing the store", "replica", n.self, "err", err)
		}
	})
}

func (n *Node) closeStore() error {
	if n.store == nil {
		return nil
	}
	return n.store.Close()
}
