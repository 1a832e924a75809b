package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bfsd/internal/nfsclient"
)

const (
	targetBFS        = "bfs"
	targetPlain      = "plain"
	targetGoNFS      = "go-nfs"
	targetPathPrefix = "path:"
)

const (
	readyTimeout  = time.Minute
	probeInterval = 20 * time.Millisecond
)

// parseTarget checks the name of a target.
func parseTarget(name string) error {
	switch {
	case name == targetBFS, name == targetPlain, name == targetGoNFS:
		return nil
	case strings.HasPrefix(name, targetPathPrefix):
		dir := strings.TrimPrefix(name, targetPathPrefix)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("target %s: %q is no directory", name, dir)
		}
		return nil
	}
	return fmt.Errorf("no target is called %q; there are %s, %s, %s and %sDIR", name, targetBFS, targetPlain, targetGoNFS, targetPathPrefix)
}

// launcher is where servers run: this machine, or the private network of the kernel client.
type launcher struct {
	host    string
	port    func(ctx context.Context) (int, error)
	command func(ctx context.Context, name string, args ...string) *exec.Cmd
	dial    func(ctx context.Context, address string) (net.Conn, error)
}

// localLauncher runs servers on the loopback interface of this machine.
func localLauncher() launcher {
	return launcher{
		host: "127.0.0.1",
		port: func(ctx context.Context) (int, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return 0, fmt.Errorf("find a free port: %w", err)
			}
			defer l.Close()
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(port)
		},
		command: func(ctx context.Context, name string, args ...string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			cmd.WaitDelay = stopTimeout
			return cmd
		},
		dial: func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
}

// server is a started target.
type server struct {
	*process
	launcher launcher
	host     string
	port     int
	dir      string // of a cluster
	keep     bool
}

// startServer starts a target and waits until it answers.
func (b *benchmark) startServer(ctx context.Context, l launcher, t trial) (*server, error) {
	port, err := l.port(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{launcher: l, host: l.host, port: port, keep: b.options.Keep}
	binary, args := b.bfsd, []string(nil)
	switch t.target {
	case targetBFS:
		if s.dir, err = os.MkdirTemp(b.options.Scratch, "andrew-bfs-"); err != nil {
			return nil, fmt.Errorf("make a directory for the cluster: %w", err)
		}
		args = []string{
			"up", "--dir", s.clusterDir(), "--nfs", s.address(),
			"--replicas", strconv.Itoa(b.options.Replicas), "--durability", b.options.Durability,
		}
		if t.fault.byzantine != nil {
			binary = b.byzantine
		}
	case targetPlain:
		args = []string{"plain", "--nfs", s.address()}
	case targetGoNFS:
		args = []string{"plain", "--nfs", s.address(), "--frontend", "go-nfs"}
	}
	// The run's context must not kill the server before the client has let go of it: stop does.
	cmd := l.command(context.WithoutCancel(ctx), binary, args...)
	if t.fault.byzantine != nil {
		cmd.Env = append(os.Environ(), "BFSD_BYZANTINE="+t.fault.byzantine(b.options))
	}
	if s.process, err = startProcess(t.target, cmd); err != nil {
		return nil, errors.Join(err, s.clean())
	}
	if err := s.waitReady(ctx, l); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s (%s): %w\nits output:\n%s", t.target, strings.Join(args, " "), err, s.log.tail()), s.stop())
	}
	return s, nil
}

// library is a client in this process.
func (s *server) library(ctx context.Context) (*nfsclient.Client, error) {
	conn, err := s.launcher.dial(ctx, s.address())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.name, err)
	}
	return nfsclient.New(conn), nil
}

// address is where the server serves NFS.
func (s *server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

func (s *server) clusterDir() string { return filepath.Join(s.dir, "cluster") }

// waitReady waits for the line "ready" and for the port to be open.
func (s *server) waitReady(ctx context.Context, l launcher) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if s.name == targetBFS {
		select {
		case <-s.log.ready:
		case <-s.done:
			return fmt.Errorf("it ended before it was ready: %w", errOr(s.err, "exit status 0"))
		case <-ctx.Done():
			return fmt.Errorf("it did not print ready: %w", ctx.Err())
		}
	}
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		conn, err := l.dial(ctx, s.address())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("it ended before it listened: %w", errOr(s.err, "exit status 0"))
		case <-ctx.Done():
			return fmt.Errorf("it does not listen at %s: %w", s.address(), err)
		}
	}
}

// stop ends the server and removes what it leaves.
func (s *server) stop() error { return errors.Join(s.process.stop(), s.clean()) }

func (s *server) clean() error {
	if s.dir == "" || s.keep {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// buildBfsd builds the server once for all runs; tags are build tags.
func buildBfsd(ctx context.Context, dir, tags string, log io.Writer) (string, error) {
	binary := filepath.Join(dir, "bfsd"+tags)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", binary, "bfsd/cmd/bfsd")
	cmd.Stderr = log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build bfsd (or give a built one with --bfsd): %w", err)
	}
	return binary, nil
}
