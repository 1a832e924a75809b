package nlm

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/internal/bufpool"
	"bfsd/nfs/nsm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/rpcbind"
)

// Backend runs encoded fsstate operations, as nfs.Backend does.
type Backend interface {
	Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error)
}

// Config configures a server. Backend, Handle and FH are required.
type Config struct {
	Backend Backend
	// Handle reads a file handle, and FH makes one; false means that it is none of this server's.
	Handle func(fh []byte) (fsstate.Handle, bool)
	FH     func(h fsstate.Handle) []byte
	// Front names this front end among those of the cluster: locks that clients wait for through it are kept under the name.
	Front string
	// Via tells clients whose addresses mean something to this front end alone, such as 127.0.0.1, apart from those of
	// others. Empty where such clients are the same whatever front end they call. Private says which those addresses are;
	// nil: loopback.
	Via     string
	Private func(client netip.Addr) bool
	// Heard tells when a machine last called on a connection that is open. Nil: never.
	Heard func(peer netip.Addr) time.Time
	// Dial opens connections to clients, from an address that they called if that is valid. Nil: net.Dialer.
	Dial func(local netip.Addr) rpcbind.Dialer
	// CallTimeout bounds how long a call waits for the backend if its outcome does not matter or it came by UDP: the client
	// asks again. Default: 30 s.
	CallTimeout time.Duration
	// Log is slog's default if nil.
	Log *slog.Logger
	// Observe, if not nil, is called after every call of a known procedure, from many goroutines.
	Observe func(procedure, status string, duration time.Duration)
}

// nsmState is the number of this server's life. It never changes, because a restart loses no lock: they are in the state of
// the file system itself. When that is lost too, all of a client's file handles are stale with it.
const nsmState = 1

// Server serves NLM version 4 and the part of NSM that belongs to it. It becomes part of an rpc.Server by Programs.
type Server struct {
	cfg     Config
	ops     bufpool.Pool
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	started sync.Once
	grants  grants
	answers chan struct{} // holds one for each answer to a call's asynchronous form that is on its way
	wg      sync.WaitGroup
}

// NewServer returns a server.
func NewServer(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 30 * time.Second
	}
	if cfg.Heard == nil {
		cfg.Heard = func(netip.Addr) time.Time { return time.Time{} }
	}
	if cfg.Dial == nil {
		cfg.Dial = DialFrom
	}
	if cfg.Private == nil {
		cfg.Private = netip.Addr.IsLoopback
	}
	s := &Server{cfg: cfg, answers: make(chan struct{}, answersMax)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.grants.init()
	return s
}

// Programs are what to serve: by TCP, and by UDP where clients want that.
func (s *Server) Programs() []rpc.Program {
	return []rpc.Program{
		{Number: Program, Low: Version, High: Version, Serve: s.serve, Datagrams: true},
		nsm.NewProgram(nsmState, s.notify),
	}
}

// Start begins to call clients back. It may be called again; after Close it does nothing.
func (s *Server) Start() {
	s.started.Do(func() {
		s.wg.Go(func() { s.grants.run(s) })
		s.wg.Go(s.renewAll)
	})
}

// Close ends all calls to clients, and returns when they have ended. What they had to say is still in the state.
func (s *Server) Close() {
	s.started.Do(func() {}) // nothing begins any more
	s.cancel()
	s.wg.Wait()
}

// DialFrom returns a dialer that dials from an address, if it is valid and still this machine's.
func DialFrom(local netip.Addr) rpcbind.Dialer { return dialer{local} }

type dialer struct{ local netip.Addr }

// DialContext implements rpcbind.Dialer.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var plain net.Dialer
	if d.local.IsValid() {
		from := plain
		if from.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.local, 0)); network == rpcbind.UDP {
			from.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.local, 0))
		}
		if nc, err := from.DialContext(ctx, network, address); err == nil || ctx.Err() != nil {
			return nc, err
		}
	}
	return plain.DialContext(ctx, network, address)
}

// invoke runs one operation on the backend.
func (s *Server) invoke(ctx context.Context, op *fsstate.Op) (fsstate.Result, error) {
	buf := s.ops.Get(4 << 10)
	defer s.ops.Put(buf)
	out, err := s.cfg.Backend.Invoke(ctx, fsstate.AppendOp(buf.B, op), op.Args.ReadOnly())
	if err != nil {
		return nil, err
	}
	return fsstate.DecodeResult(op.Args.Kind(), out)
}
