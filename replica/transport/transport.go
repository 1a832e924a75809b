package transport

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// Handler takes a frame that a peer sent. It is called on the link's reader: one call at a time for each link, but
// concurrently for different peers, and for one peer while an old link gives way to a new one. While it blocks, nothing
// more is read from that peer. The frame is the handler's to keep, but others may share it: it must not be changed.
type Handler func(from wire.Principal, frame []byte)

// Peer is a principal to have a link with.
type Peer struct {
	Principal wire.Principal
	Addr      string // host:port to dial; "" if the peer dials, or is joined within the process
}

// Config says who is at the ends of a transport's links. Zero limits mean the defaults.
type Config struct {
	Self     wire.Principal
	Keys     *auth.Keyring // must have Self's private key
	Peers    []Peer
	Listener net.Listener // where peers dial in; nil for a client. Close closes it.
	Handler  Handler
	Log      *slog.Logger // nil: slog.Default()
	Versions Versions     // zero: Spoken()

	MaxFrame          int           // bytes of a frame, both ways; default wire.MaxFrame
	QueueFrames       int           // frames waiting for one peer; default 16384
	QueueBytes        int           // bytes waiting for one peer; default 64 MiB
	ConnectTimeout    time.Duration // for the connection alone, at each address; default 1 s
	HandshakeTimeout  time.Duration // until it is a link; default 5 s
	HandshakesPerHost int           // incoming handshakes under way from one IP address; default 64
	HandshakesTotal   int           // and from all; default 512
	RetryMin          time.Duration // first wait before dialing again; default 20 ms
	RetryMax          time.Duration // longest wait; default 500 ms
	RenewAfter        time.Duration // a link gets new session keys after this time, or a bit less; default 1 h

	recordsMax uint64 // or after so many TLS records; see renew.go

	// DeadAfter is the silence that breaks a link; default 2 s. Both ends should use the same. After a network that lost
	// packets is whole again, TCP waits about as long as it was not, before it sends again: a new connection is sooner
	// there, so silence must end a link soon, and a dialer must not wait long for an answer either (ConnectTimeout). A
	// link that was broken without need costs a handshake, and frames that the protocol sends again.
	DeadAfter time.Duration
}

// For peers that are not connected less is kept: see queue.
const (
	unlinkedFrames = 256
	unlinkedBytes  = 1 << 20
)

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Versions == (Versions{}) {
		c.Versions = Spoken()
	}
	c.MaxFrame = cmp.Or(c.MaxFrame, wire.MaxFrame)
	c.QueueFrames = cmp.Or(c.QueueFrames, 16<<10)
	c.QueueBytes = cmp.Or(c.QueueBytes, 64<<20)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, time.Second)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 5*time.Second)
	c.HandshakesPerHost = cmp.Or(c.HandshakesPerHost, 64)
	c.HandshakesTotal = cmp.Or(c.HandshakesTotal, 512)
	c.DeadAfter = cmp.Or(c.DeadAfter, 2*time.Second)
	c.RenewAfter = cmp.Or(c.RenewAfter, time.Hour)
	c.recordsMax = cmp.Or(c.recordsMax, recordsMax)
	c.RetryMin = cmp.Or(c.RetryMin, 20*time.Millisecond)
	c.RetryMax = max(c.RetryMin, cmp.Or(c.RetryMax, 500*time.Millisecond))
}

// Peers says with whom a principal of a cluster has links. A client dials every replica; a replica dials those with
// smaller numbers, and the others and all clients dial it. A replica's own client reaches it by Join.
func Peers(c *config.Cluster, self wire.Principal) []Peer {
	var peers []Peer
	for _, m := range c.Members() {
		p := Peer{Principal: m.Principal}
		switch {
		case m.Principal == self, self.Role == wire.RoleClient && p.Principal.Role == wire.RoleClient:
			continue
		case p.Principal.Role == wire.RoleReplica && (p.Principal.ID < self.ID || self.Role == wire.RoleClient && p.Principal.ID != self.ID):
			p.Addr = c.Replicas[p.Principal.ID].Peer
		}
		peers = append(peers, p)
	}
	return peers
}

// Transport is one principal's links. Its methods are safe for concurrent use.
type Transport struct {
	cfg   Config
	tls   *tls.Config
	peers map[wire.Principal]*peer // never changes
	order []*peer                  // the same, by role and number

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	door    door

	mu     sync.Mutex
	locals []*localLink
	// strangers are the versions that were offered in vain, by address: see foreignVersion.
	strangers map[netip.Addr]string

	handshakesRefused, misaddressed atomic.Uint64
}

// peer is one principal's place in the transport; it outlives its links.
type peer struct {
	principal wire.Principal
	addr      string
	queue     *queue
	link      atomic.Pointer[link]
	old       atomic.Pointer[link] // the one before, which may not have ended yet
	joined    atomic.Bool          // within the process
	missed    atomic.Bool          // its absence was logged, so its return will be
	foreign   atomic.Bool          // and that it speaks other versions
	unwelcome atomic.Bool          // or does not accept our key
	counters
}

func (p *peer) current() *link { return p.link.Load() }

func (p *peer) connected() bool { return p.current() != nil || p.joined.Load() }

// New makes a transport; nothing is dialed or accepted before Start.
func New(cfg Config) (*Transport, error) {
	cfg.setDefaults()
	t := &Transport{cfg: cfg, peers: make(map[wire.Principal]*peer, len(cfg.Peers)), strangers: map[netip.Addr]string{}}
	t.door.init(cfg.HandshakesPerHost, cfg.HandshakesTotal)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if cfg.Handler == nil {
		return nil, errors.New("making a transport: no handler")
	}
	if own, ok := cfg.Keys.PublicKey(cfg.Self); !ok || !ed25519.PublicKey(own.Sign[:]).Equal(cfg.Keys.TLSKey().Public()) {
		return nil, fmt.Errorf("making a transport: the keyring of %v has not the private key of %v", cfg.Keys.Self(), cfg.Self)
	}
	for _, c := range cfg.Peers {
		if _, member := cfg.Keys.PublicKey(c.Principal); !member {
			return nil, fmt.Errorf("making a transport: there is no key of peer %v", c.Principal)
		}
		if t.peers[c.Principal] != nil || c.Principal == cfg.Self {
			return nil, fmt.Errorf("making a transport: %v is no peer, or twice", c.Principal)
		}
		p := &peer{principal: c.Principal, addr: c.Addr, queue: newQueue(
			bounds{frames: cfg.QueueFrames, bytes: cfg.QueueBytes},
			bounds{frames: min(unlinkedFrames, cfg.QueueFrames), bytes: min(unlinkedBytes, cfg.QueueBytes)},
		)}
		t.peers[c.Principal] = p
		t.order = append(t.order, p)
	}
	slices.SortFunc(t.order, func(a, b *peer) int {
		return cmp.Or(cmp.Compare(a.principal.Role, b.principal.Role), cmp.Compare(a.principal.ID, b.principal.ID))
	})
	var err error
	t.tls, err = newTLSConfig(cfg.Self, cfg.Keys, cfg.Versions, t.allowed)
	return t, err
}

func (t *Transport) allowed(p wire.Principal) error {
	if t.peers[p] == nil {
		return fmt.Errorf("%v is no peer of %v", p, t.cfg.Self)
	}
	return nil
}

var errKeyReplaced = errors.New("the peer's key was replaced")

// Recheck closes the links whose peers have another key by now than the one they connected with: Keys has changed.
func (t *Transport) Recheck() {
	for _, p := range t.order {
		for _, l := range []*link{p.current(), p.old.Load()} {
			if l != nil {
				t.recheck(l)
			}
		}
	}
}

func (t *Transport) recheck(l *link) {
	if who, err := identify(l.conn.ConnectionState(), t.cfg.Keys, t.cfg.Versions); err != nil || who != l.peer.principal {
		l.close(errKeyReplaced)
	}
}

// Start begins to dial and to accept. Frames may arrive before it returns.
func (t *Transport) Start() {
	t.running.Go(t.monitor)
	if t.cfg.Listener != nil {
		t.running.Go(t.accept)
	}
	for _, p := range t.order {
		if p.addr != "" {
			t.running.Go(func() { t.dialForever(p) })
		}
	}
}

// Send queues a frame for a peer. It never blocks; false means that the queue was full and a frame was dropped, or that
// there is no such peer. The frame is not copied and must not be changed any more.
func (t *Transport) Send(to wire.Principal, frame []byte) bool {
	p := t.peers[to]
	if p == nil || len(frame) == 0 || len(frame) > t.cfg.MaxFrame {
		t.misaddressed.Add(1)
		return false
	}
	return p.queue.push(frame)
}

// Connected says whether there is a link to a peer now.
func (t *Transport) Connected(p wire.Principal) bool {
	peer := t.peers[p]
	return peer != nil && peer.connected()
}

// Broadcast queues one frame for several peers; all of them share it.
func (t *Transport) Broadcast(to []wire.Principal, frame []byte) {
	for _, p := range to {
		t.Send(p, frame)
	}
}

// Close ends all links and waits for the transport's goroutines, so a Handler that is being called must return. What is
// still queued is lost.
func (t *Transport) Close() {
	t.mu.Lock()
	locals := t.locals
	t.mu.Unlock()
	t.cancel() // closes every connection, too: see connect.go
	if t.cfg.Listener != nil {
		t.cfg.Listener.Close()
	}
	for _, l := range locals {
		l.close()
	}
	t.running.Wait()
}

// serve makes a link of an authenticated connection and runs it; the peer's older link, if any, ends: the newest wins.
func (t *Transport) serve(p *peer, conn *tls.Conn, meter *meteredConn, frames *frameReader) error {
	l := &link{peer: p, conn: conn, meter: meter, frames: frames}
	old := p.link.Swap(l)
	if old != nil {
		old.retired.Store(true) // before its writer finds out that it is replaced
	}
	p.queue.attach(l)
	if old != nil {
		if older := p.old.Swap(old); older != nil {
			older.close(errReplaced) // who dials again and again has two links at most
		}
		_ = old.meter.SetDeadline(time.Now().Add(retiredFor)) // what is on its way is read; it may be closed, which is as good
	}
	p.links.Add(1)
	p.foreign.Store(false)
	p.unwelcome.Store(false)
	t.recheck(l) // the key may have been replaced since the handshake; from here on, Recheck finds this link
	level := slog.LevelDebug
	if p.missed.Swap(false) {
		level = slog.LevelInfo
	}
	t.cfg.Log.Log(t.ctx, level, "link up", "self", t.cfg.Self, "peer", p.principal, "remote", conn.RemoteAddr(), "protocol", conn.ConnectionState().NegotiatedProtocol)
	err := l.run(t.cfg.Handler)
	p.link.CompareAndSwap(l, nil)
	p.old.CompareAndSwap(l, nil)
	return err
}

// Stats takes a snapshot of the counters.
func (t *Transport) Stats() Stats {
	s := Stats{
		Peers:             make([]PeerStats, len(t.order)),
		HandshakesRefused: t.handshakesRefused.Load(),
		HandshakesLimited: t.door.limited.Load(),
		Misaddressed:      t.misaddressed.Load(),
	}
	for i, p := range t.order {
		frames, bytes, dropped := p.queue.load()
		s.Peers[i] = PeerStats{
			Peer: p.principal, Connected: p.connected(),
			Links: p.links.Load(), FramesIn: p.framesIn.Load(), BytesIn: p.bytesIn.Load(),
			FramesOut: p.framesOut.Load(), BytesOut: p.bytesOut.Load(),
			FramesDropped: dropped, FramesLost: p.framesLost.Load(), FramesQueued: frames, BytesQueued: bytes,
		}
	}
	return s
}
