package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

// CopyOptions say what to copy the state of a running group with.
type CopyOptions struct {
	Cluster *config.Cluster
	Keys    *auth.Keyring // of a client with backup = true
	Service Service       // new and empty; the state goes there
	// Probe is an operation that changes nothing. It is ordered: the copy holds everything that was answered before Copy
	// was called. nil: the newest stable checkpoint that a replica has is good enough, and no quorum is needed.
	Probe []byte
	// Progress is told now and then how many bytes were fetched, and of how many, as the replicas say (0: not known yet).
	Progress func(fetched, size uint64)
	Log      *slog.Logger
}

// Copied is a copy's place in the order, and the certificate that proves its root.
type Copied struct {
	At    wire.CheckpointRef
	Proof []*wire.Checkpoint // f+1 at least
	Bytes uint64             // fetched
}

const (
	// copyPoll is how often the replicas are asked for their newest stable checkpoint.
	copyPoll = 50 * time.Millisecond
	// copyGrace is how long Copy without a probe waits for more replicas after the first checkpoint that is proven.
	copyGrace = time.Second
	// copyAttempts is how many checkpoints are tried before the copy is given up: each but the first was lost while it was
	// fetched, or older than the probe.
	copyAttempts = 20
	// copyKept bounds how many CHECKPOINTs of one replica are remembered.
	copyKept = 8
)

// Copy copies the state of a running group into a service, by state transfer: from all replicas at the same time, every
// node checked against a root that f+1 of them signed, so no f of them can falsify it. Nor can they pass off an old state
// as the present one: the copy holds the reply to an operation that the group ordered when Copy began.
//
// Checkpoints lie some batches apart, so Copy orders the probe again and again until one comes.
func Copy(ctx context.Context, o CopyOptions) (Copied, error) {
	c, err := newCopier(o)
	if err != nil {
		return Copied{}, fmt.Errorf("copying the state: %w", err)
	}
	defer c.links.Close()
	defer c.calls.Close()
	var done Copied
	if o.Probe == nil {
		done, err = c.newest(ctx)
	} else {
		done, err = c.current(ctx)
	}
	if err != nil {
		return Copied{}, fmt.Errorf("copying the state: %w", err)
	}
	return done, nil
}

// copier is one Copy under way.
type copier struct {
	o     CopyOptions
	self  wire.ClientID
	links *transport.Transport
	calls *client.Client

	verifier *auth.Verifier
	answers  chan wire.Message // DATA and META-DATA for the download
	bytes    uint64            // fetched in all

	mu       sync.Mutex
	signed   [][]*wire.Checkpoint // by replica: what it signed, newest last
	answered []bool               // by replica: it said what its newest stable checkpoint is
	news     chan struct{}        // holds a token after either changed
}

func newCopier(o CopyOptions) (*copier, error) {
	self := o.Keys.Self()
	if self.Role != wire.RoleClient {
		return nil, fmt.Errorf("the key is that of %v; it must be a client's, with backup = true in cluster.toml", self)
	}
	n := o.Cluster.N()
	c := &copier{
		o: o, self: wire.ClientID(self.ID), verifier: auth.NewVerifier(self, n, o.Keys), answers: make(chan wire.Message, 64),
		signed: make([][]*wire.Checkpoint, n), answered: make([]bool, n), news: make(chan struct{}, 1),
	}
	var err error
	c.links, err = transport.New(transport.Config{
		Self: self, Keys: o.Keys, Peers: transport.Peers(o.Cluster, self), Handler: c.receive, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	c.calls, err = client.New(client.Config{
		ID: c.self, N: n, Keys: o.Keys, Log: o.Log, Send: c.links.Send, Connected: c.links.Connected, Slots: 1,
		LargeRequest: o.Cluster.Tunables.LargeRequestBytes, RequestTimeout: o.Cluster.Tunables.RequestTimeout(),
	})
	if err != nil {
		c.links.Close()
		return nil, err
	}
	c.links.Start()
	return c, nil
}

// receive takes a frame, on the goroutine of the link it came on.
func (c *copier) receive(from wire.Principal, frame []byte) {
	if len(frame) > 0 && wire.Kind(frame[0]) == wire.KindReply {
		c.calls.Receive(from, frame)
		return
	}
	v, err := c.verifier.Verify(from, frame)
	if err != nil {
		c.o.Log.Debug("message refused", "client", c.self, "from", from, "err", err)
		return
	}
	switch m := v.Message().(type) {
	case *wire.Checkpoint:
		c.note(m)
	case *wire.MetaData:
		if m.Root == (wire.Digest{}) {
			c.heard(m.Replica)
			return
		}
		c.deliver(m)
	case *wire.Data:
		c.deliver(m)
	}
}

// deliver hands an answer to the download; what nobody waits for is dropped.
func (c *copier) deliver(m wire.Message) {
	select {
	case c.answers <- m:
	default:
	}
}

func (c *copier) heard(id wire.ReplicaID) {
	c.mu.Lock()
	c.answered[id] = true
	c.mu.Unlock()
	c.tell()
}

func (c *copier) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// note remembers a CHECKPOINT, whose signature was verified.
func (c *copier) note(m *wire.Checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.signed[m.Replica]
	at := len(list)
	for at > 0 && list[at-1].Seq > m.Seq {
		at--
	}
	if at > 0 && list[at-1].Seq == m.Seq {
		return
	}
	list = append(list, nil)
	copy(list[at+1:], list[at:])
	list[at] = m
	c.signed[m.Replica] = list[max(0, len(list)-copyKept):]
}

// certified finds the newest checkpoint above a sequence number that f+1 replicas signed, with all its signatures.
func (c *copier) certified(above wire.Seq) (best wire.CheckpointRef, proof []*wire.Checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range c.signed {
		for _, m := range list {
			if m.Seq <= max(above, best.Seq) {
				continue
			}
			ref := wire.CheckpointRef{Seq: m.Seq, Root: m.Root}
			if cert := c.certificate(ref); len(cert) > c.o.Cluster.F() {
				best, proof = ref, cert
			}
		}
	}
	return best, proof
}

func (c *copier) certificate(ref wire.CheckpointRef) []*wire.Checkpoint {
	var cert []*wire.Checkpoint
	for _, list := range c.signed {
		for _, m := range list {
			if m.Seq == ref.Seq && m.Root == ref.Root {
				cert = append(cert, m)
			}
		}
	}
	return cert
}

// ask asks every replica for its newest stable checkpoint.
func (c *copier) ask() {
	frame := wire.Encode(&wire.ClientFetch{Client: c.self})
	for i := range c.o.Cluster.N() {
		c.links.Send(replicaPrincipal(wire.ReplicaID(i)), frame)
	}
}

// replied counts the replicas that answered since await began.
func (c *copier) replied() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for _, yes := range c.answered {
		if yes {
			count++
		}
	}
	return count
}

// current copies a state that holds everything answered before it was called.
func (c *copier) current(ctx context.Context) (Copied, error) {
	if err := c.probe(ctx); err != nil {
		return Copied{}, err
	}
	number := c.calls.Stats().LastNumber
	// A checkpoint that is announced already is probably older than the probe: it is not worth fetching.
	if err := c.await(ctx, func() bool { return c.replied() > c.o.Cluster.F() }); err != nil {
		return Copied{}, fmt.Errorf("waiting for f+1 replicas to tell their newest checkpoint: %w; is backup = true for client %d in the cluster.toml of the replicas?", err, c.self)
	}
	ref, _ := c.certified(0)
	var lost error
	for range copyAttempts {
		proof, err := c.drive(ctx, ref.Seq)
		if err != nil {
			return Copied{}, errors.Join(err, lost)
		}
		ref = wire.CheckpointRef{Seq: proof[0].Seq, Root: proof[0].Root}
		if lost = c.fetch(ctx, ref); lost == nil && c.holds(number) {
			return Copied{At: ref, Proof: proof, Bytes: c.bytes}, nil
		}
		if ctx.Err() != nil {
			return Copied{}, ctx.Err()
		}
	}
	return Copied{}, errors.Join(fmt.Errorf("gave up after %d checkpoints", copyAttempts), lost)
}

// newest copies the newest stable checkpoint that any replica has.
func (c *copier) newest(ctx context.Context) (Copied, error) {
	var tried wire.Seq
	var lost error
	for range copyAttempts {
		var ref wire.CheckpointRef
		var proof []*wire.Checkpoint
		var since time.Time
		err := c.await(ctx, func() bool {
			ref, proof = c.certified(tried)
			if proof != nil && since.IsZero() {
				since = time.Now()
			}
			return proof != nil && (c.replied() == c.o.Cluster.N() || time.Since(since) > copyGrace)
		})
		if err != nil {
			return Copied{}, errors.Join(fmt.Errorf("waiting for a stable checkpoint: %w", err), lost)
		}
		tried = ref.Seq
		if lost = c.fetch(ctx, ref); lost == nil {
			return Copied{At: ref, Proof: proof, Bytes: c.bytes}, nil
		}
		if ctx.Err() != nil {
			return Copied{}, ctx.Err()
		}
	}
	return Copied{}, errors.Join(fmt.Errorf("gave up after %d checkpoints", copyAttempts), lost)
}

// probe has the probe ordered once.
func (c *copier) probe(ctx context.Context) error {
	if _, err := c.calls.Invoke(ctx, c.o.Probe, false); err != nil {
		return fmt.Errorf("waiting for a quorum of %d replicas to order an operation: %w", c.o.Cluster.Quorum(), err)
	}
	return nil
}

// drive orders the probe until there is a proven checkpoint above a sequence number.
func (c *copier) drive(ctx context.Context, above wire.Seq) ([]*wire.Checkpoint, error) {
	asked := time.Now()
	c.ask()
	for {
		if _, proof := c.certified(above); proof != nil {
			return proof, nil
		}
		if err := c.probe(ctx); err != nil {
			return nil, err
		}
		if time.Since(asked) >= copyPoll {
			asked = time.Now()
			c.ask()
		}
	}
}

// await asks the replicas again and again until a condition holds.
func (c *copier) await(ctx context.Context, holds func() bool) error {
	again := time.NewTicker(copyPoll)
	defer again.Stop()
	c.mu.Lock()
	clear(c.answered)
	c.mu.Unlock()
	c.ask()
	for !holds() {
		select {
		case <-c.news:
		case <-again.C:
			if c.replied() < c.o.Cluster.N() {
				c.ask()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// fetch brings the service to a state. What it holds already is not fetched again.
func (c *copier) fetch(ctx context.Context, at wire.CheckpointRef) error {
	for len(c.answers) > 0 {
		<-c.answers // to an earlier download
	}
	sources := make([]wire.ReplicaID, c.o.Cluster.N())
	for i := range sources {
		sources[i] = wire.ReplicaID(i)
	}
	d := newDownload(at.Root, sources, c.answers, func(to wire.Principal, digests []wire.Digest) {
		c.links.Send(to, wire.Encode(&wire.ClientFetch{Client: c.self, Root: at.Root, Digests: digests}))
	})
	err := c.o.Service.Restore(at.Root, func(more []wire.Digest) ([]StateNode, error) {
		nodes, err := d.fetch(ctx, more)
		if c.o.Progress != nil {
			c.o.Progress(d.bytes.Load()+d.kept.Load(), d.size())
		}
		return nodes, err
	}, func(bytes uint64) { d.kept.Add(bytes) }, nil)
	c.bytes += d.bytes.Load()
	if err != nil {
		return fmt.Errorf("fetching checkpoint %d: %w", at.Seq, err)
	}
	return nil
}

// holds says whether the state has the reply to a request of this client, or a later one.
func (c *copier) holds(number uint64) bool {
	found := false
	c.o.Service.Replies(func(id wire.ClientID, _ wire.Slot, n uint64, _ []byte) bool {
		found = id == c.self && n >= number
		return !found
	})
	return found
}
