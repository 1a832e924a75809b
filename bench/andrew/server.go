package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

const (
	readyTimeout  = time.Minute
	probeInterval = 20 * time.Millisecond
)

// server is a started target.
type server struct {
	name     string
	launcher launcher
	host     string
	port     int
	// mountPort is that of the MOUNT program, and export the directory to mount.
	mountPort int
	export    string

	process *process     // nil where the server is a guest
	halt    func() error // ends it
	dir     string       // what it keeps on disk; "": nothing
	keep    bool
}

// newServer is a server that is about to be started, at a free port of the launcher's host.
func (b *benchmark) newServer(ctx context.Context, l launcher, name string) (*server, error) {
	port, err := l.port(ctx)
	if err != nil {
		return nil, err
	}
	return &server{name: name, launcher: l, host: l.host, port: port, mountPort: port, export: "/", keep: b.options.Keep}, nil
}

// startServer starts a target and waits until it answers.
func (b *benchmark) startServer(ctx context.Context, l launcher, t trial) (*server, error) {
	s, err := t.target.start(ctx, b, l, t)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", t.target.name, err)
	}
	if err := s.waitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w%s", t.target.name, err, s.output()), s.stop())
	}
	return s, nil
}

// makeDir makes the server's directory.
func (b *benchmark) makeDir(s *server) (err error) {
	if s.dir, err = os.MkdirTemp(b.options.Scratch, "andrew-"+s.name+"-"); err != nil {
		return fmt.Errorf("make a directory for %s: %w", s.name, err)
	}
	return nil
}

// address is where the server serves NFS.
func (s *server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// library is a client in this process, and the root that it works below.
func (s *server) library(ctx context.Context) (c *nfsclient.Client, root nfs3.FH, err error) {
	conn, err := s.launcher.dial(ctx, s.address())
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", s.name, err)
	}
	c = nfsclient.New(conn)
	mounter := c
	if s.mountPort != s.port {
		conn, err := s.launcher.dial(ctx, net.JoinHostPort(s.host, strconv.Itoa(s.mountPort)))
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("connect to the MOUNT service of %s: %w", s.name, err), c.Close())
		}
		mounter = nfsclient.New(conn)
		defer mounter.Close()
	}
	if root, err = mounter.Mount(ctx, s.export); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, root, nil
}

// waitReady waits until a client can mount.
func (s *server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var ended <-chan struct{} // of a process
	if s.process != nil {
		ended = s.process.done
	}
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		c, _, err := s.library(ctx)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("it ended before it answered: %w", errOr(s.process.err, "exit status 0"))
		case <-ctx.Done():
			return fmt.Errorf("it does not answer at %s: %w", s.address(), err)
		}
	}
}

// output is the end of what the server's process said, for a message.
func (s *server) output() string {
	if s.process == nil {
		return ""
	}
	return "\nits output:\n" + s.process.log.tail()
}

// stop ends the server and removes what it leaves.
func (s *server) stop() error { return errors.Join(s.halt(), s.clean()) }

func (s *server) clean() error {
	if s.dir == "" || s.keep {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func (s *server) clusterDir() string { return filepath.Join(s.dir, "cluster") }
