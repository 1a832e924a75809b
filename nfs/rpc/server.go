package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"bfsd/nfs/internal/bufpool"
	"bfsd/nfs/xdr"

	"golang.org/x/sync/semaphore"
)

// Program is one RPC program: the versions Low … High of Number.
type Program struct {
	Number uint32
	Low    uint32
	High   uint32
	// Serve answers a call: it decodes call.Args and appends the results to reply, or returns an outcome other than
	// Success, in which case what it appended is dropped. It may be called many times at once. It returns soon after
	// ctx ends. The reply must not reference call.Args.
	Serve func(ctx context.Context, call *Call, reply *xdr.Encoder) Outcome
	// ReplyBound, if not nil, returns about how many bytes the reply to a call may take, which are reserved against
	// Limits.Bytes before the call starts. Nil, and calls whose arguments do not decode, reserve little.
	ReplyBound func(call *Call) int
	// Datagrams says that the program may be called by UDP too.
	Datagrams bool
}

// Limits bounds what peers can make a server hold. Zero fields take the defaults.
type Limits struct {
	Conns  int // connections at once; 1024
	Calls  int // calls in flight per connection; 256
	Bytes  int // bytes of records and of expected replies in flight per connection; 32 MiB
	Share  int // bytes of small ones among them, which a connection gets whatever others hold; 512 KiB
	Total  int // bytes of large ones, of all connections; 256 MiB
	Record int // bytes of one record; 1 MiB + 16 KiB

	Datagrams int // calls by UDP in flight, of all peers; 256

	Idle   time.Duration // a connection without calls in flight is closed after this; 6 min, as Linux's nfsd does
	Evict  time.Duration // at the limit of connections, one idle for this long makes room for a new one; 5 s
	Read   time.Duration // a record must arrive within this once it has begun; 1 min
	Write  time.Duration // a peer must accept about a megabyte of replies within this; 1 min
	Stall  time.Duration // while memory is short, a peer that neither sends nor accepts anything for this is cut off; 5 s
	Linger time.Duration // how long a connection that the server closes is drained, so that its last replies arrive; 1 s
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Conns, 1024},
		{&l.Calls, 256},
		{&l.Bytes, 32 << 20},
		{&l.Share, 512 << 10},
		{&l.Total, 256 << 20},
		{&l.Record, 1<<20 + 16<<10},
		{&l.Datagrams, 256},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.Idle, 6 * time.Minute},
		{&l.Evict, 5 * time.Second},
		{&l.Read, time.Minute},
		{&l.Write, time.Minute},
		{&l.Stall, 5 * time.Second},
		{&l.Linger, time.Second},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	l.Share = max(l.Share, 2*smallMax)             // or nothing small would fit
	l.Total = max(l.Total, 2*recordCost(l.Record)) // nor the largest record
	return l
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("rpc: server closed")

// Server serves programs on any number of listeners.
type Server struct {
	programs map[uint32]Program
	limits   Limits
	log      *slog.Logger
	pool     bufpool.Pool
	replies  sync.Pool // of *reply

	ctx    context.Context // ends with Close; the parent of every call's
	cancel context.CancelFunc

	mu        sync.Mutex
	closing   bool // no new listeners, connections or calls
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	packets   map[*net.UDPConn]struct{}
	wg        sync.WaitGroup // Serve and ServePacket calls, and connections

	common     *semaphore.Weighted // Limits.Total
	bulk       atomic.Int64        // acquired of that
	events     [eventEnd]atomic.Uint64
	workers    workers
	datagrams  chan struct{} // holds one for each call by UDP in flight
	complaints complaints
}

// NewServer returns a server of the programs, whose numbers must differ. A nil logger is slog's default.
func NewServer(limits Limits, log *slog.Logger, programs ...Program) *Server {
	if log == nil {
		log = slog.Default()
	}
	limits = limits.withDefaults()
	s := &Server{
		programs:  make(map[uint32]Program, len(programs)),
		limits:    limits,
		common:    semaphore.NewWeighted(int64(limits.Total)),
		log:       log,
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
		packets:   make(map[*net.UDPConn]struct{}),
		datagrams: make(chan struct{}, limits.Datagrams),
	}
	for _, p := range programs {
		if _, twice := s.programs[p.Number]; twice {
			panic(fmt.Sprintf("rpc: program %d is registered twice", p.Number))
		}
		s.programs[p.Number] = p
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.workers.idle = make(chan task)
	return s
}

// Serve accepts connections from l until the server is closed, and closes l. It returns ErrServerClosed after Shutdown
// or Close, or the error that made accepting impossible.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		l.Close()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()

	var delay time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			delay = 0
			s.admit(nc)
			continue
		}
		if s.isClosing() {
			return ErrServerClosed
		}
		if !transient(err) {
			return fmt.Errorf("accept connections on %v: %w", l.Addr(), err)
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.log.Warn("cannot accept a connection", "addr", l.Addr(), "err", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-s.ctx.Done():
			return ErrServerClosed
		}
	}
}

// transient reports whether accepting may succeed later: the process is out of descriptors, or the peer has gone.
func transient(err error) bool {
	// net.Error's Temporary is deprecated for being vague, but Accept is the one place where it is well defined.
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// admit starts serving a connection, unless there are too many.
func (s *Server) admit(nc net.Conn) {
	s.mu.Lock()
	if s.closing || len(s.conns) >= s.limits.Conns && !s.evictLocked(peerOf(nc)) {
		closing := s.closing
		s.mu.Unlock()
		nc.Close()
		if !closing {
			s.count(EventRefused)
			s.complaints.warn(s.log, "too many connections: one was refused", "peer", nc.RemoteAddr(), "limit", s.limits.Conns)
		}
		return
	}
	c := newConn(s, nc)
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		c.run()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// evictLocked closes a connection to make room for one of a peer: the one that has been idle longest, if one has been for
// Limits.Evict, for a client whose connection is closed while it waits for nothing connects again when it needs to,
// unnoticed. Else one of the peer that has most, if that has two more than the new one's: so one that connects again and
// again takes its own places, not those of others.
func (s *Server) evictLocked(peer netip.Addr) bool {
	idlest := func(of func(*conn) bool) (oldest *conn, since time.Time) {
		for c := range s.conns {
			if t, idle := c.idleSince(); idle && of(c) && (oldest == nil || t.Before(since)) {
				oldest, since = c, t
			}
		}
		return oldest, since
	}
	victim, since := idlest(func(*conn) bool { return true })
	if victim == nil || time.Since(since) < s.limits.Evict {
		most, ok := s.greediest(peer)
		if !ok {
			return false
		}
		if victim, _ = idlest(func(c *conn) bool { return c.peer == most }); victim == nil {
			victim = s.anyOf(most)
		}
	}
	s.count(EventEvicted)
	delete(s.conns, victim)
	victim.kill()
	return true
}

// greediest returns the peer that has most connections, if that are two more than a given one has.
func (s *Server) greediest(than netip.Addr) (most netip.Addr, ok bool) {
	count := make(map[netip.Addr]int)
	for c := range s.conns {
		count[c.peer]++
	}
	for p, n := range count {
		if n > count[most] {
			most = p
		}
	}
	return most, count[most] > count[than]+1
}

func (s *Server) anyOf(peer netip.Addr) *conn {
	for c := range s.conns {
		if c.peer == peer {
			return c
		}
	}
	return nil
}

// Heard returns when a machine last sent something on a connection that is open; the zero time if it has none.
func (s *Server) Heard(peer netip.Addr) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last time.Time
	for c := range s.conns {
		if c.peer != peer {
			continue
		}
		t, idle := c.idleSince()
		if !idle {
			t = time.Now()
		}
		if t.After(last) {
			last = t
		}
	}
	return last
}

// Conns returns how many connections are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown stops accepting connections and calls, waits until the calls in flight are answered, and closes. If ctx ends
// first, it closes at once and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop((*conn).stop)
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		s.workers.stop()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
		s.Close()
		<-done
		return fmt.Errorf("shut down rpc server: %w", ctx.Err())
	}
}

// Close ends all connections, cancels the calls in flight, and returns when they have returned.
func (s *Server) Close() error {
	s.cancel()
	s.stop((*conn).kill)
	s.wg.Wait()
	s.workers.stop()
	return nil
}

// stop closes the listeners and applies end to every connection; no new ones follow.
func (s *Server) stop(end func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		end(c)
	}
	for pc := range s.packets {
		_ = pc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed socket, which is not read either
	}
}
