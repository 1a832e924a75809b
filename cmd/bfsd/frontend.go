package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bfsd/internal/statuspage"
	"bfsd/nfs"
	"bfsd/nfs/gonfs"
	"bfsd/nfs/rpc"
)

// frontendFlags choose how a process serves NFS.
type frontendFlags struct {
	Frontend    string        `enum:"bfsd,go-nfs" default:"bfsd" help:"The NFS front end: bfsd (ours: pipelined, with users' credentials and lasting handles) or go-nfs (willscott/go-nfs, for comparison)."`
	ReadTimeout time.Duration `default:"30s" placeholder:"TIME" help:"How long a call that changes nothing waits for the group before the client is told to ask again later (${default}). Changes wait as long as their connection lasts."`
	Rpcbind     string        `enum:"off,serve,register" default:"off" help:"How clients find the lock manager, for which there is no mount option: off (mount with nolock), serve (answer port 111 at the NFS address, as root) or register (with this machine's own rpcbind)."`
}

// frontend serves NFS on a listener. Both front ends are one.
type frontend interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
}

// exportIdentity is what makes handles and write verifiers the same on every front end of a cluster, for its whole life.
type exportIdentity struct {
	clusterID [8]byte
	verifier  [8]byte
}

// serving is the front end that was chosen. Its metrics go to metrics and its calls' times to load, unless metrics is nil.
func (f frontendFlags) serving(
	backend nfs.Backend, id exportIdentity, locks nfs.LockConfig, log *slog.Logger, metrics prometheus.Registerer, load *statuspage.Load,
) (frontend, error) {
	switch f.Frontend {
	case "bfsd":
		cfg := nfs.Config{
			ClusterID: id.clusterID, Verifier: id.verifier, ReadTimeout: f.ReadTimeout, Log: log, Locks: &locks,
			Limits: rpc.Limits{Conns: connectionLimit()},
		}
		if metrics == nil {
			return nfs.NewServer(backend, cfg), nil
		}
		m := newNFSMetrics()
		cfg.Observe = func(i nfs.CallInfo) {
			m.observe(i)
			load.Observe(i.Duration)
		}
		s := nfs.NewServer(backend, cfg)
		return s, m.register(metrics, s)
	case "go-nfs":
		return gonfs.New(backend, gonfs.Config{ClusterID: id.clusterID, Verifier: id.verifier, CallTimeout: f.ReadTimeout, Log: log}), nil
	}
	return nil, fmt.Errorf("front end %q is unknown; choose bfsd or go-nfs", f.Frontend)
}

// shutdownGrace is how long calls in flight get to finish when a process is told to stop.
const shutdownGrace = 3 * time.Second

// serveFrontend serves until ctx ends, then lets the calls in flight finish. What is announced may be nil.
func serveFrontend(ctx context.Context, f frontend, l net.Listener, a *announced) error {
	ended := make(chan error, 4)
	go func() { ended <- f.Serve(l) }()
	running := 1
	if a != nil {
		running += a.run(ended)
	}
	var failed error
	select {
	case err := <-ended:
		running--
		failed = fmt.Errorf("serving NFS on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	var err error
	if a != nil {
		err = a.stop(stop)
	}
	err = errors.Join(err, f.Shutdown(stop))
	for range running {
		if serveErr := <-ended; serveErr != nil {
			slog.Debug("the front end ended", "err", serveErr) // as it was told to
		}
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(failed, fmt.Errorf("stopping NFS on %s: %w", l.Addr(), err))
	}
	return failed
}

// mountCommand is what a user types to mount the server at addr. With rpcbind clients find its ports, and its locks.
func (f frontendFlags) mountCommand(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("bfsd: a listener's address %q is not HOST:PORT: %v", addr, err))
	}
	proto := "tcp"
	if strings.Contains(host, ":") {
		proto, host = "tcp6", "["+host+"]"
	}
	if f.Rpcbind != rpcbindOff {
		return fmt.Sprintf("mount -t nfs -o vers=3,proto=%s,hard %s:/ /mnt", proto, host)
	}
	return fmt.Sprintf("mount -t nfs -o vers=3,proto=%s,hard,nolock,port=%s,mountport=%s,mountproto=%s,mountvers=3 %s:/ /mnt", proto, port, port, proto, host)
}
