package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"bfsd/nfs"
	"bfsd/nfs/gonfs"
)

// frontendFlags choose how a process serves NFS.
type frontendFlags struct {
	Frontend    string        `enum:"bfsd,go-nfs" default:"bfsd" help:"The NFS front end: bfsd (ours: pipelined, with users' credentials and lasting handles) or go-nfs (willscott/go-nfs, for comparison)."`
	ReadTimeout time.Duration `default:"30s" placeholder:"TIME" help:"How long a call that changes nothing waits for the group before the client is told to ask again later (${default}). Changes wait as long as their connection lasts."`
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

func (f frontendFlags) serving(backend nfs.Backend, id exportIdentity, log *slog.Logger) (frontend, error) {
	switch f.Frontend {
	case "bfsd":
		return nfs.NewServer(backend, nfs.Config{ClusterID: id.clusterID, Verifier: id.verifier, ReadTimeout: f.ReadTimeout, Log: log}), nil
	case "go-nfs":
		return gonfs.New(backend, gonfs.Config{ClusterID: id.clusterID, Verifier: id.verifier, CallTimeout: f.ReadTimeout, Log: log}), nil
	}
	return nil, fmt.Errorf("front end %q is unknown; choose bfsd or go-nfs", f.Frontend)
}

// shutdownGrace is how long calls in flight get to finish when a process is told to stop.
const shutdownGrace = 3 * time.Second

// serveFrontend serves until ctx ends, then lets the calls in flight finish.
func serveFrontend(ctx context.Context, f frontend, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving NFS on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := f.Shutdown(stop)
	if serveErr := <-ended; serveErr != nil {
		slog.Debug("the front end ended", "err", serveErr) // as it was told to
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping NFS on %s: %w", l.Addr(), err)
	}
	return nil
}

// mountCommand is what a user types to mount the server at addr.
func mountCommand(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("bfsd: a listener's address %q is not HOST:PORT: %v", addr, err))
	}
	proto := "tcp"
	if strings.Contains(host, ":") {
		proto, host = "tcp6", "["+host+"]"
	}
	return fmt.Sprintf("mount -t nfs -o vers=3,proto=%s,hard,nolock,port=%s,mountport=%s,mountproto=%s,mountvers=3 %s:/ /mnt", proto, port, port, proto, host)
}
