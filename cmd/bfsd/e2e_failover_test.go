package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/kernelclient"
	"bfsd/nfs/nfs3"
)

//go:embed testdata/churn.py
var churnScript string

// cluster runs four replicas, and no gateway, for which it makes two keys. It returns their directory.
func (s *site) cluster() (dir string) {
	s.t.Helper()
	dir = filepath.Join(s.t.TempDir(), "cluster")
	host := s.host()
	init := s.command(s.t.Context(), "init", "--dir", dir, "--hosts", strings.Join([]string{host, host, host, host}, ","),
		"--gateways", "a,b", "--durability", "memory")
	if out, err := init.CombinedOutput(); err != nil {
		s.t.Fatalf("bfsd init: %v: %s", err, out)
	}
	for i := range 4 {
		s.launch(s.command(context.WithoutCancel(s.t.Context()), "replica", "--config", filepath.Join(dir, "cluster.toml"), "--id", strconv.Itoa(i)))
	}
	return dir
}

// gateway runs the gateway with the key of this number at the site's one NFS address.
func (s *site) gateway(dir string, key int, more ...string) *server {
	s.t.Helper()
	args := []string{
		"gateway", "--config", filepath.Join(dir, "cluster.toml"), "--key", filepath.Join(dir, fmt.Sprintf("gateway-%d", key), "key"),
		"--nfs", net.JoinHostPort(s.host(), strconv.Itoa(testPort)),
	}
	return s.start(append(args, more...)...)
}

// kill ends a process as a crash of its machine does.
func (srv *server) kill() {
	srv.site.t.Helper()
	if err := srv.cmd.Process.Kill(); err != nil {
		srv.site.t.Fatal(err)
	}
	<-srv.ended
	srv.err = nil // as it was told to
}

// churn runs churn.py in the mount. stop ends it and returns how many rounds it made.
func (s *site) churn(g *kernelclient.Guest, mnt string, threads int) (stop func() (rounds int), failed <-chan error) {
	s.t.Helper()
	done := make(chan error, 1)
	var out bytes.Buffer
	go func() {
		job := kernelclient.Job{Args: []string{"python3", "-c", churnScript, mnt, strconv.Itoa(threads)}}
		exit, err := g.Exec(s.t.Context(), job, &out, &out)
		if err == nil && exit != 0 {
			err = fmt.Errorf("it ended with %d", exit)
		}
		done <- err
	}()
	return func() int {
		s.t.Helper()
		c := s.library(net.JoinHostPort(s.host(), strconv.Itoa(testPort)))
		root, err := c.Mount(s.t.Context(), "/")
		if err == nil {
			_, err = c.Create(s.t.Context(), root, "stop", nfs3.Guarded, nfs3.Sattr{})
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if err := <-done; err != nil {
			s.t.Fatalf("making and removing names: %v:\n%s", err, &out)
		}
		lines := strings.Fields(out.String())
		rounds, err := strconv.Atoi(lines[0])
		if err != nil || len(lines) != 2 || lines[1] != "done" {
			s.t.Fatalf("it printed %q", out.String())
		}
		return rounds
	}, done
}

// awaitProgress waits until the group has executed n more requests.
func (s *site) awaitProgress(dir string, n uint64, failed <-chan error) {
	s.t.Helper()
	executed := func() (most uint64) {
		for _, r := range s.status(dir).Replicas {
			most = max(most, r.Executed)
		}
		return most
	}
	first := executed()
	awaitCondition(s.t, "the load to go on", func() bool {
		select {
		case err := <-failed:
			s.t.Fatalf("making and removing names ended early: %v", err)
		default:
		}
		return executed() >= first+n
	}, func() string { return fmt.Sprintf("%d executed, want %d more than %d", executed(), n, first) })
}

// The front end that serves a mount is killed again and again while programs make, rename, link and remove names through it,
// and another takes its address over. The kernel sends the calls again that it has no answer to, many of which were executed:
// no program sees EEXIST or ENOENT for what it did itself.
func TestAFrontEndFailsOverUnderLoad(t *testing.T) {
	s := newSite(t)
	dir := s.cluster()
	front := s.gateway(dir, 100)
	g := s.guest()
	mnt := s.mount(g, testPort)
	stop, failed := s.churn(g, mnt, 8)
	times := 3
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		times = 20
	}
	for i := range times {
		s.awaitProgress(dir, 100, failed)
		front.kill()
		front = s.gateway(dir, 100+(i+1)%2)
	}
	s.awaitProgress(dir, 100, failed)
	t.Logf("%d rounds with %d fail-overs; sent again: %v", stop(), times, sentAgain(t, g, mnt))
	s.awaitEqualRoots(dir)
}

// sentAgain is for each NFS procedure how many of its calls the kernel has sent more often than once.
func sentAgain(t *testing.T, g *kernelclient.Guest, mnt string) map[string]int {
	t.Helper()
	again := map[string]int{}
	_, operations, _ := strings.Cut(runScript(t, g, "sed -n '\\| "+mnt+" |,$p' /proc/self/mountstats"), "per-op statistics")
	for line := range strings.Lines(operations) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasSuffix(f[0], ":") {
			continue
		}
		calls, err1 := strconv.Atoi(f[1])
		sent, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && sent > calls {
			again[strings.TrimSuffix(f[0], ":")] = sent - calls
		}
	}
	return again
}

// Two of four replicas stop, so that nothing can be executed, for longer than the front end lets reading wait and than the
// kernel waits before it sends its calls again. The mount blocks, and goes on without an error when they are back.
func TestAMountWaitsWhileThereIsNoQuorum(t *testing.T) {
	s := newSite(t)
	dir := s.cluster()
	outage, readTimeout, mountOptions := 15*time.Second, "2s", []string{"timeo=20"} // tenths of a second
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		outage, readTimeout, mountOptions = 70*time.Second, "30s", nil // and the kernel's default of 60 s
	}
	s.gateway(dir, 100, "--read-timeout", readTimeout)
	g := s.guest()
	mnt, err := g.Mount(t.Context(), kernelclient.MountOptions{Server: s.host(), Port: testPort, Extra: mountOptions})
	if err != nil {
		t.Fatal(err)
	}
	stop, failed := s.churn(g, mnt, 8)
	s.awaitProgress(dir, 100, failed)
	signalReplica(t, dir, 1, syscall.SIGSTOP)
	signalReplica(t, dir, 2, syscall.SIGSTOP)
	healed := time.NewTimer(outage) // the outage itself
	defer healed.Stop()
	select {
	case <-healed.C:
	case err := <-failed:
		t.Errorf("making and removing names ended while there was no quorum: %v", err)
	}
	signalReplica(t, dir, 1, syscall.SIGCONT)
	signalReplica(t, dir, 2, syscall.SIGCONT)
	s.awaitProgress(dir, 100, failed)
	again := sentAgain(t, g, mnt)
	if len(again) == 0 {
		t.Error("the kernel sent no call again: the outage was too short to show anything")
	}
	t.Logf("%d rounds; without a quorum for %v; sent again: %v", stop(), outage, again)
	s.awaitEqualRoots(dir)
}
