package nfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/internal/bufpool"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/nlm"
	"bfsd/nfs/rpc"
)

// Config configures a server. The zero value is usable. What is exported, to whom and how, the backend knows.
type Config struct {
	// ClusterID is part of every file handle and is the file system's id: a handle of another cluster is refused. All
	// front ends of a cluster share it.
	ClusterID [8]byte
	// Verifier is the write verifier (RFC 1813 §3.3.7). WRITE answers FILE_SYNC, so no client ever has uncommitted data
	// that a restart could lose: it is one constant for the cluster's life.
	Verifier [8]byte
	// MaxFileSize is what FSINFO tells, in bytes. Default: 2^63−1.
	MaxFileSize uint64
	// ReadTimeout bounds how long a call that changes nothing waits for the backend. Default: 30 s. See Server for what
	// happens then.
	ReadTimeout time.Duration
	// Limits bounds connections and what each may hold.
	Limits rpc.Limits
	// Locks, if not nil, has locks served too.
	Locks *LockConfig
	// Log is slog's default if nil.
	Log *slog.Logger
	// Observe, if not nil, is called after every call of a known procedure, from many goroutines.
	Observe func(CallInfo)
}

// CallInfo is what a metrics hook learns about one call.
type CallInfo struct {
	Procedure string // RFC 1813's name; those of MOUNT as "MOUNT/MNT", of NLM as "NLM/LOCK"
	Status    string // RFC 1813's name of the status; an RPC outcome such as "GARBAGE_ARGS" if it came to no status
	Duration  time.Duration
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = rpc.ErrServerClosed

// Server serves NFS version 3 and MOUNT version 3, and locks (package nlm).
//
// While the backend cannot answer, calls block, as those who mount "hard" want it: as many as Limits allows are held, and
// then no more is read from their connections. What changes nothing is held for Config.ReadTimeout and then answered with
// NFS3ERR_JUKEBOX: the client asks again some seconds later, with a new call.
//
// A call that may change something is never answered like that, for its retry comes under a new transaction id, and even
// if this copy of it was not executed, one that the client sent before, perhaps through another server, may have been or
// may yet be: a REMOVE would be executed twice. It is held for as long as its connection lasts. If the backend gives it
// up, it is dropped, and its connection closed, so that the client reconnects and sends it again under the same
// transaction id, by which the file system knows it.
type Server struct {
	backend Backend
	cfg     Config
	log     *slog.Logger
	rpc     *rpc.Server
	ops     bufpool.Pool // for encoded operations
	mounts  mountList
	locks   *nlm.Server // nil if there are none
}

// NewServer returns a server that runs operations on backend.
func NewServer(backend Backend, cfg Config) *Server {
	if cfg.MaxFileSize == 0 {
		cfg.MaxFileSize = 1<<63 - 1
	}
	if cfg.ReadTimeout <= 0 {
		cfg.ReadTimeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Limits.Record <= 0 {
		cfg.Limits.Record = fsstate.IOMax + 16<<10
	}
	s := &Server{backend: backend, cfg: cfg, log: cfg.Log}
	programs := []rpc.Program{
		{Number: nfs3.Program, Low: nfs3.Version, High: nfs3.Version, Serve: s.serveNFS, ReplyBound: replyBound},
		{Number: mount.Program, Low: mount.Version, High: mount.Version, Serve: s.serveMount, Datagrams: true},
	}
	if cfg.Locks != nil {
		s.locks = s.newLocks(cfg.Locks)
		programs = append(programs, s.locks.Programs()...)
	}
	s.rpc = rpc.NewServer(cfg.Limits, cfg.Log, programs...)
	return s
}

// Serve accepts connections from l until the server is closed, and closes l. It may be called for several listeners. It
// returns ErrServerClosed after Shutdown or Close.
func (s *Server) Serve(l net.Listener) error {
	if s.locks != nil {
		s.locks.Start()
	}
	err := s.rpc.Serve(l)
	if errors.Is(err, rpc.ErrServerClosed) {
		return err
	}
	return fmt.Errorf("serve nfs: %w", err)
}

// Shutdown stops taking calls, answers those in flight, and closes all connections; if ctx ends first, it closes at once.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.rpc.Shutdown(ctx)
	s.closeLocks()
	return err
}

// Close ends all connections and cancels the calls in flight.
func (s *Server) Close() error {
	err := s.rpc.Close()
	s.closeLocks()
	return err
}

// Conns returns how many connections are open.
func (s *Server) Conns() int { return s.rpc.Conns() }

// Stats returns what is held for clients at the moment.
func (s *Server) Stats() rpc.Stats { return s.rpc.Stats() }

// Count returns how often clients did something, or something had to be done about them.
func (s *Server) Count(e rpc.Event) uint64 { return s.rpc.Count(e) }
