package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
	"bfsd/internal/loopback"
	"bfsd/replica/config"
)

// runMainVariable makes the test binary be bfsd: the processes of the tests on loopback run the code under test, race
// detector included. Those that serve a kernel mount are built as users' are (bfsdBinary): under the race detector, beside
// a user-mode Linux, they would take many times as long.
const runMainVariable = "BFSD_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	kernelclient.Agent(map[string]kernelclient.Handler{crashWriter: runCrashWriter, lockFunction: newLockFunction()})
	if os.Getenv(runMainVariable) != "" {
		main()
	}
	code := m.Run()
	if builtDir != "" {
		os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// builtDir is where bfsdBinary has put its binary, if it was called.
var builtDir string

// bfsdBinary builds bfsd, once, and returns its path.
var bfsdBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bfsd-test-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	path := filepath.Join(dir, "bfsd")
	if out, err := exec.Command("go", "build", "-tags", buildTags, "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building bfsd: %w: %s", err, out)
	}
	return path, nil
})

// site is a private network with running servers.
type site struct {
	t       testing.TB
	network *kernelclient.Network // nil: loopback
}

func newSite(t *testing.T) *site {
	t.Helper()
	return &site{t, kerneltest.Network(t)}
}

// host is where the site's servers listen.
func (s *site) host() string {
	if s.network == nil {
		return loopback.Host()
	}
	return kernelclient.Address
}

// command is a bfsd process with these arguments, at the site.
func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	s.t.Helper()
	if s.network != nil {
		binary, err := bfsdBinary()
		if err != nil {
			s.t.Fatal(err)
		}
		return s.network.Command(ctx, binary, args...)
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), runMainVariable+"=1")
	return cmd
}

// server is a running bfsd process.
type server struct {
	site   *site
	cmd    *exec.Cmd
	output *syncBuffer
	ready  chan struct{} // it has printed "ready"
	ended  chan struct{}
	err    error
}

// launch runs a bfsd process until the test ends.
func (s *site) launch(cmd *exec.Cmd) *server {
	s.t.Helper()
	srv := &server{site: s, cmd: cmd, output: &syncBuffer{}, ready: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&lineWatch{line: "ready", seen: srv.ready}, srv.output), srv.output
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("starting %v: %v", cmd.Args, err)
	}
	go func() {
		srv.err = cmd.Wait()
		close(srv.ended)
	}()
	s.t.Cleanup(func() {
		srv.stop()
		if s.t.Failed() {
			s.t.Logf("%v said:\n%s", cmd.Args, srv.output)
		}
	})
	return srv
}

// start runs a bfsd process until the test ends, and returns once it is ready.
func (s *site) start(args ...string) *server {
	s.t.Helper()
	srv := s.launch(s.command(context.WithoutCancel(s.t.Context()), args...))
	select {
	case <-srv.ready:
	case <-srv.ended:
		s.t.Fatalf("bfsd %v ended before it was ready (%v):\n%s", args, srv.err, srv.output)
	case <-time.After(time.Minute):
		s.t.Fatalf("bfsd %v was not ready after a minute:\n%s", args, srv.output)
	}
	return srv
}

// lineWatch closes a channel when a line is written.
type lineWatch struct {
	line string
	seen chan struct{}
	done bool
	part []byte
}

func (w *lineWatch) Write(p []byte) (int, error) {
	if w.done {
		return len(p), nil
	}
	w.part = append(w.part, p...)
	for {
		line, rest, whole := bytes.Cut(w.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.part = rest
		if string(line) == w.line {
			w.done, w.part = true, nil
			close(w.seen)
			return len(p), nil
		}
	}
}

// stop asks the process to end, waits for it, and fails the test if it did not end well.
func (srv *server) stop() {
	select {
	case <-srv.ended:
		return
	default:
	}
	_ = srv.cmd.Process.Signal(syscall.SIGTERM) // it may just have ended; ended tells
	select {
	case <-srv.ended:
		if srv.err != nil {
			srv.site.t.Errorf("bfsd ended with %v:\n%s", srv.err, srv.output)
		}
	case <-time.After(30 * time.Second):
		_ = srv.cmd.Process.Kill()
		<-srv.ended
		srv.site.t.Errorf("bfsd did not end 30 s after SIGTERM:\n%s", srv.output)
	}
}

// status asks the cluster under dir, as bfsd status --json prints it.
func (s *site) status(dir string) statusReport {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(s.t.Context(), "status", "--json", "--config", filepath.Join(dir, "cluster.toml"))
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("bfsd status: %v\n%s%s", err, &out, &errs)
	}
	var report statusReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		s.t.Fatalf("bfsd status --json printed no JSON: %v\n%s", err, &out)
	}
	return report
}

// awaitEqualRoots waits until all the replicas but those excepted have executed the same and have the same state.
func (s *site) awaitEqualRoots(dir string, except ...uint32) statusReport {
	s.t.Helper()
	var report statusReport
	awaitCondition(s.t, "equal roots", func() bool {
		report = s.status(dir)
		var first *replicaReport
		for i := range report.Replicas {
			r := &report.Replicas[i]
			if contains(except, r.ID) {
				continue
			}
			if !r.Up {
				return false
			}
			if first == nil {
				first = r
			}
			if r.Root != first.Root || r.Executed != first.Executed || r.Committed != r.Executed {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("%+v", report) })
	return report
}

func contains(ids []uint32, id uint32) bool {
	for _, i := range ids {
		if i == id {
			return true
		}
	}
	return false
}

// awaitCondition polls until the condition holds; what is awaited happens in other processes, which cannot tell.
func awaitCondition(t testing.TB, what string, holds func() bool, state func() string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited 30 s for %s; it is: %s", what, state())
		}
	}
}

// mount boots a kernel client and mounts the server at port.
func (s *site) mount(guest *kernelclient.Guest, port int) string {
	s.t.Helper()
	dir, err := guest.Mount(s.t.Context(), kernelclient.MountOptions{Server: s.host(), Port: port})
	if err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func (s *site) guest() *kernelclient.Guest {
	s.t.Helper()
	g, err := s.network.StartGuest(s.t.Context(), kernelclient.GuestOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := g.Close(); err != nil {
			s.t.Error("closing the guest:", err)
		}
	})
	return g
}

func runScript(t *testing.T, g *kernelclient.Guest, script string) string {
	t.Helper()
	var out bytes.Buffer
	exit, err := g.Script(t.Context(), "set -eu\n"+script, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	if exit != 0 {
		t.Fatalf("the script ended with %d:\n%s\n%s", exit, script, &out)
	}
	return out.String()
}

const testPort = 2049

func upArgs(dir, host string, more ...string) []string {
	return append([]string{"up", "--dir", dir, "--nfs", net.JoinHostPort(host, strconv.Itoa(testPort))}, more...)
}

// goSource is a real tree of some thousand files that every machine with Go has.
func goSource(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src")
}

func readPid(t testing.TB, dir string, id uint32) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("replica-%d", id), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatalf("the pid file of replica %d: %v", id, err)
	}
	return pid
}

// syncBuffer is a buffer that a process writes while the test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// clusterReplicaNFS is the port of a replica's own front end.
func clusterReplicaNFS(t *testing.T, dir string, id int) int {
	t.Helper()
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(cluster.Replicas[id].NFS)
	if err != nil {
		t.Fatal(err)
	}
	return int(addr.Port())
}
