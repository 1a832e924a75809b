package gonfs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	gonfs "github.com/willscott/go-nfs"

	"bfsd/fsstate"
	"bfsd/nfs"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = nfs.ErrServerClosed

// Config configures a server. The zero value serves "/" with the default limits.
type Config struct {
	// ClusterID is part of every file handle. Handles are those of the main front end: a client may go from one to the
	// other.
	ClusterID [8]byte
	// Verifier is the write verifier (RFC 1813 §3.3.7): one constant for the cluster's life, because a write is as
	// durable as it will be when it is answered. The zero stands for some other constant.
	Verifier [8]byte
	// Exports are the absolute paths that may be mounted, with the directories below them. Default: "/".
	Exports []string
	// Cred is the identity every operation runs under. Default: root.
	Cred fsstate.Cred
	// CallTimeout bounds how long an operation waits for the backend. Default: 30 s. The connection is closed then.
	CallTimeout time.Duration
	// ConnsMax bounds the connections served at once. Default: 256. Further ones are closed at once.
	ConnsMax int
	// RecordMax bounds a call, in bytes. Default: 4 MiB. go-nfs tells clients that 1 GiB will do; Linux sends 1 MiB.
	RecordMax int
	// ListingMax bounds the directory entries kept per connection for clients in the middle of a listing, beyond the
	// last one listed. Default: 262144.
	ListingMax int
	// Log is slog's default if nil.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Verifier == [8]byte{} {
		c.Verifier = [8]byte([]byte("bfsd-wv1")) // go-nfs would draw another one for every connection
	}
	if len(c.Exports) == 0 {
		c.Exports = []string{"/"}
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = 30 * time.Second
	}
	if c.ConnsMax <= 0 {
		c.ConnsMax = 256
	}
	if c.RecordMax <= 0 {
		c.RecordMax = 4 << 20
	}
	if c.ListingMax <= 0 {
		c.ListingMax = 1 << 18
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Server serves NFS and MOUNT, on one port, through go-nfs. Its methods are safe for concurrent use.
type Server struct {
	backend nfs.Backend
	cfg     Config

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	closing   chan struct{}
	serving   sync.WaitGroup // connections
}

// New returns a server whose every file-system call is an operation on backend.
func New(backend nfs.Backend, cfg Config) *Server {
	return &Server{
		backend: backend, cfg: cfg.withDefaults(),
		listeners: make(map[net.Listener]struct{}), conns: make(map[*conn]struct{}), closing: make(chan struct{}),
	}
}

// Serve accepts connections on l until Shutdown or Close, and closes l. It always returns an error.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.track(l) {
		return ErrServerClosed
	}
	defer s.untrack(l)
	var delay time.Duration
	for {
		c, err := l.Accept()
		if s.isClosed() {
			if err == nil {
				c.Close()
			}
			return ErrServerClosed
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors, most likely. The connections that end will free some.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Log.Warn("cannot accept NFS connection", "err", err, "retry_in", delay)
			select {
			case <-time.After(delay):
			case <-s.closing:
			}
			continue
		}
		delay = 0
		s.start(c)
	}
}

// start hands a connection to a go-nfs server of its own. So the file system knows which connection it works for: calls
// end with it, and what it remembers within a call needs no lock.
func (s *Server) start(nc net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	log := s.cfg.Log.With("client", nc.RemoteAddr().String())
	c := newConn(nc, s.cfg.RecordMax, log, cancel)
	inv := &invoker{ctx: ctx, backend: s.backend, cred: s.cfg.Cred, timeout: s.cfg.CallTimeout}
	inv.failed = func(err error) {
		if ctx.Err() == nil {
			log.Warn("closing NFS connection: a call has no known result", "err", err)
		}
		c.fail()
	}
	h := &handler{
		export: newExport(inv, s.cfg.ClusterID), cluster: s.cfg.ClusterID, exports: s.cfg.Exports,
		listings: listings{limit: s.cfg.ListingMax},
	}
	c.begin = h.begin
	if !s.admit(c) {
		c.fail()
		return
	}
	go func() {
		<-c.done
		c.fail()
		s.release(c)
	}()
	// Serve starts a goroutine for the one connection and returns.
	srv := gonfs.Server{Handler: h, ID: s.cfg.Verifier, Context: ctx}
	if err := srv.Serve(&single{c: c}); !errors.Is(err, errSingle) {
		log.Error("go-nfs refused a connection", "err", err)
		c.end()
	}
}

// admit counts a connection, unless there are too many or the server is closed.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if len(s.conns) >= s.cfg.ConnsMax {
		c.log.Warn("refusing NFS connection: too many", "max", s.cfg.ConnsMax)
		return false
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) release(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.serving.Done()
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Conns returns how many connections are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown stops accepting, lets every call in progress be answered, and returns when all connections are closed. When
// ctx ends first it closes them as they are, as Close does, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop((*conn).drain)
	idle := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		s.stop((*conn).fail)
		<-idle
		return ctx.Err()
	}
}

// Close closes the listeners and all connections, ends the calls in progress, and returns when no operation of theirs is
// running any more.
func (s *Server) Close() error {
	s.stop((*conn).fail)
	s.serving.Wait()
	return nil
}

// stop marks the server closed and ends each connection in the given way.
func (s *Server) stop(end func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		end(c)
	}
}

var errSingle = errors.New("one connection was all there was")

// single is a listener on which one connection arrives.
type single struct{ c *conn }

// Accept implements net.Listener.
func (l *single) Accept() (net.Conn, error) {
	if l.c == nil {
		return nil, errSingle
	}
	c := l.c
	l.c = nil
	return c, nil
}

// Close implements net.Listener.
func (*single) Close() error { return nil }

// Addr implements net.Listener.
func (*single) Addr() net.Addr { return &net.TCPAddr{} }
