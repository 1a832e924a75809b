package main

import (
	"bufio"
	"bytes"
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
	"sync"
	"syscall"
	"time"
)

const (
	targetBFS        = "bfs"
	targetPlain      = "plain"
	targetGoNFS      = "go-nfs"
	targetPathPrefix = "path:"
)

const (
	readyTimeout   = time.Minute
	stopTimeout    = 20 * time.Second
	probeInterval  = 20 * time.Millisecond
	serverLogBytes = 64 << 10
	serverLogLines = 30
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
	name string
	host string
	port int
	cmd  *exec.Cmd
	log  *serverLog
	done chan struct{}
	err  error // of the process, once done
	dir  string
	keep bool
}

// startServer starts a target and waits until it answers.
func (b *benchmark) startServer(ctx context.Context, l launcher, target string) (*server, error) {
	port, err := l.port(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{name: target, host: l.host, port: port, done: make(chan struct{}), keep: b.options.Keep}
	address := net.JoinHostPort(s.host, strconv.Itoa(port))
	var args []string
	switch target {
	case targetBFS:
		if s.dir, err = os.MkdirTemp(b.options.Scratch, "andrew-bfs-"); err != nil {
			return nil, fmt.Errorf("make a directory for the cluster: %w", err)
		}
		args = []string{
			"up", "--dir", filepath.Join(s.dir, "cluster"), "--nfs", address,
			"--replicas", strconv.Itoa(b.options.Replicas), "--durability", b.options.Durability,
		}
	case targetPlain:
		args = []string{"plain", "--nfs", address}
	case targetGoNFS:
		args = []string{"plain", "--nfs", address, "--frontend", "go-nfs"}
	}
	// The run's context must not kill the server before the client has let go of it: stop does.
	s.cmd = l.command(context.WithoutCancel(ctx), b.bfsd, args...)
	s.log = &serverLog{ready: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", target, err), s.clean())
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	if err := s.waitReady(ctx, l, address); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s (%s): %w\nits output:\n%s", target, strings.Join(args, " "), err, s.log.tail()), s.stop())
	}
	return s, nil
}

// waitReady waits for the line "ready" and for the port to be open.
func (s *server) waitReady(ctx context.Context, l launcher, address string) error {
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
		conn, err := l.dial(ctx, address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("it ended before it listened: %w", errOr(s.err, "exit status 0"))
		case <-ctx.Done():
			return fmt.Errorf("it does not listen at %s: %w", address, err)
		}
	}
}

func errOr(err error, text string) error {
	if err == nil {
		return errors.New(text)
	}
	return err
}

// stop ends the server with SIGTERM and reports one that did not end well.
func (s *server) stop() error {
	select {
	case <-s.done:
		return errors.Join(fmt.Errorf("%s ended while it was in use: %w\nits output:\n%s", s.name, errOr(s.err, "exit status 0"), s.log.tail()), s.clean())
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("stop %s: %w", s.name, err), s.clean())
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.done:
		if s.err != nil {
			return errors.Join(fmt.Errorf("%s stopped badly: %w\nits output:\n%s", s.name, s.err, s.log.tail()), s.clean())
		}
		return s.clean()
	case <-timer.C:
		_ = s.cmd.Process.Kill() // it may end this moment
		<-s.done
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM and was killed\nits output:\n%s", s.name, stopTimeout, s.log.tail()), s.clean())
	}
}

func (s *server) clean() error {
	if s.dir == "" || s.keep {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// serverLog keeps the end of a server's output and notices the line "ready".
type serverLog struct {
	mu    sync.Mutex
	kept  []byte
	line  []byte
	seen  bool
	ready chan struct{}
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, p...)
	if extra := len(l.kept) - serverLogBytes; extra > 0 {
		l.kept = bytes.Clone(l.kept[extra:])
	}
	l.line = append(l.line, p...)
	for {
		line, rest, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			if len(l.line) > serverLogBytes {
				l.line = nil
			}
			return len(p), nil
		}
		l.line = rest
		if !l.seen && string(bytes.TrimSpace(line)) == "ready" {
			l.seen = true
			close(l.ready)
		}
	}
}

func (l *serverLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	scan := bufio.NewScanner(bytes.NewReader(l.kept))
	scan.Buffer(nil, serverLogBytes+1)
	for scan.Scan() {
		lines = append(lines, "  "+scan.Text())
	}
	return strings.Join(lines[max(0, len(lines)-serverLogLines):], "\n")
}

// buildBfsd builds the server once for all runs.
func buildBfsd(ctx context.Context, dir string, log io.Writer) (string, error) {
	binary := filepath.Join(dir, "bfsd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "bfsd/cmd/bfsd")
	cmd.Stderr = log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build bfsd (or give a built one with --bfsd): %w", err)
	}
	return binary, nil
}
