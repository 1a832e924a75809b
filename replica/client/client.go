package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

// Config says who the client is and how it reaches the replicas. Zero settings mean the defaults.
type Config struct {
	ID   wire.ClientID
	N    int       // replicas: 3f+1
	Keys auth.Keys // of client ID

	// Send queues a frame for a replica without blocking; what it loses is sent again. It keeps the frame.
	Send func(to wire.Principal, frame []byte) bool
	// Connected says whether a replica can be reached now; nil: unknown. A request for a primary that cannot is sent to
	// everybody at once.
	Connected func(wire.Principal) bool
	Log       *slog.Logger // nil: slog.Default()

	Slots          int           // calls in flight; default 64. The replicas must know as many.
	Waiting        int           // calls that may wait for a slot; default 4096
	LargeRequest   int           // an operation of more bytes (wire.Request.Large) goes to all replicas at first; default 16 KiB
	RequestTimeout time.Duration // before a request is sent again; default 150 ms. It grows with the latency seen.
	// FirstNumber is the smallest request number to use. Numbers follow the clock (see slot.next); whoever cannot trust
	// the clock not to be set back between two runs can keep the largest one used (Stats.LastNumber) and give it here.
	FirstNumber uint64

	// Switches, for measuring what each optimisation brings. The replicas must be set alike.
	SignRequests bool // sign requests instead of authenticating them with a MAC for each replica
	NoReadOnly   bool // have read-only operations ordered, too
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Connected == nil {
		c.Connected = func(wire.Principal) bool { return true }
	}
	c.Slots = cmp.Or(c.Slots, 64)
	c.Waiting = cmp.Or(c.Waiting, 4096)
	c.LargeRequest = cmp.Or(c.LargeRequest, 16<<10)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 150*time.Millisecond)
}

// ErrBusy says that too many calls wait for a slot already.
var ErrBusy = errors.New("too many operations are waiting")

// ErrClosed says that the client was closed.
var ErrClosed = errors.New("the client is closed")

// Client is one principal that invokes operations. Its methods are safe for concurrent use.
type Client struct {
	cfg      Config
	f        int
	verifier *auth.Verifier
	replicas []wire.Principal
	links    *transport.Transport // if Dial made it
	onClose  func()

	slots    []*slot
	tokens   chan struct{} // as many as there are free slots
	waiting  atomic.Int64
	mu       sync.Mutex
	free     []*slot // a stack: few slots are used when few are needed, so the replicas' reply tables change little
	closed   chan struct{}
	closing  sync.Once
	views    views
	reach    reach
	repliers repliers
	latency  latency
	counters counters
}

// New makes a client. It sends nothing before the first Invoke.
func New(cfg Config) (*Client, error) {
	cfg.setDefaults()
	if cfg.N < 1 || cfg.N%3 != 1 || cfg.N > wire.MaxReplicas {
		return nil, fmt.Errorf("making client %d: %d replicas: there must be 3f+1", cfg.ID, cfg.N)
	}
	if cfg.Slots < 1 || cfg.Send == nil || cfg.Keys == nil {
		return nil, fmt.Errorf("making client %d: it needs keys, a slot, and a way to send", cfg.ID)
	}
	for i := range cfg.N {
		if _, ok := cfg.Keys.RequestMAC(cfg.ID, wire.ReplicaID(i), wire.Digest{}); !ok {
			return nil, fmt.Errorf("making client %d: no key shared with replica %d", cfg.ID, i)
		}
	}
	numbers, err := wire.NumbersOf(cfg.Keys.KeyNumber(cfg.ID))
	if err != nil {
		return nil, fmt.Errorf("making client %d: %w", cfg.ID, err)
	}
	self := wire.Principal{Role: wire.RoleClient, ID: uint32(cfg.ID)}
	c := &Client{
		cfg:      cfg,
		f:        (cfg.N - 1) / 3,
		verifier: auth.NewVerifier(self, cfg.N, cfg.Keys),
		tokens:   make(chan struct{}, cfg.Slots),
		closed:   make(chan struct{}),
		onClose:  func() {},
	}
	c.views.init(cfg.N, c.f)
	c.reach.init(cfg.N)
	c.repliers.init(cfg.N, cfg.ID)
	c.latency.floor = cfg.RequestTimeout
	c.counters.init(cfg.N)
	for i := range cfg.N {
		c.replicas = append(c.replicas, wire.Principal{Role: wire.RoleReplica, ID: uint32(i)})
	}
	for i := range cfg.Slots {
		s := newSlot(wire.Slot(i), cfg.N, cfg.FirstNumber, numbers)
		c.slots = append(c.slots, s)
		c.tokens <- struct{}{}
	}
	for i := range c.slots {
		c.free = append(c.free, c.slots[len(c.slots)-1-i])
	}
	return c, nil
}

func (c *Client) quorum() int { return 2*c.f + 1 }

// Invoke has an operation executed by the group and returns its result. It waits for a slot if all are in use, then for
// the result as long as the context lasts. readOnly promises that the operation changes nothing: it is then tried without
// being ordered.
//
// An error means that no result is known. If it is the context's, the operation may or may not have been executed, or be
// executed later. Invoke does not keep op after it returns.
func (c *Client) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	if len(op) > wire.MaxOp {
		return nil, fmt.Errorf("invoking an operation of %d bytes: at most %d are possible", len(op), wire.MaxOp)
	}
	s, err := c.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("invoking an operation: %w", err)
	}
	defer c.release(s)
	a := call{client: c, slot: s, op: op}
	result, err := a.run(ctx, readOnly && !c.cfg.NoReadOnly)
	if err != nil {
		return nil, fmt.Errorf("invoking an operation (number %d in slot %d): %w", s.number, s.id, err)
	}
	return result, nil
}

// acquire takes a free slot, waiting for one in order of arrival.
func (c *Client) acquire(ctx context.Context) (*slot, error) {
	select {
	case <-c.closed:
		return nil, ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-c.tokens:
	default:
		if c.waiting.Add(1) > int64(c.cfg.Waiting) {
			c.waiting.Add(-1)
			return nil, ErrBusy
		}
		defer c.waiting.Add(-1)
		select {
		case <-c.tokens:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
			return nil, ErrClosed
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	return s, nil
}

func (c *Client) release(s *slot) {
	c.mu.Lock()
	c.free = append(c.free, s)
	c.mu.Unlock()
	c.tokens <- struct{}{}
}

// Close ends the client: calls in flight and later ones fail with ErrClosed.
func (c *Client) Close() {
	c.closing.Do(func() {
		close(c.closed)
		c.onClose()
	})
}
