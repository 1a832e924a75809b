package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/kernelclient"
	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// outage is something that happens to one replica while users work. It returns which replica does not come back, or -1.
type outage struct {
	name     string
	replicas int
	happen   func(t *testing.T, s *site, dir string, primary uint32) (gone int)
}

// pauseMax is the longest that a small write may wait when the primary goes away, with the default timers: the client's, the
// backups' and the new view.
const pauseMax = 2 * time.Second

func outages() []outage {
	kill := func(t *testing.T, _ *site, dir string, primary uint32) int {
		t.Helper()
		signalReplica(t, dir, primary, syscall.SIGKILL)
		return int(primary)
	}
	pause := func(t *testing.T, _ *site, dir string, primary uint32) int {
		t.Helper()
		signalReplica(t, dir, primary, syscall.SIGSTOP)
		resume := time.NewTimer(10 * time.Second) // the outage itself
		defer resume.Stop()
		<-resume.C
		signalReplica(t, dir, primary, syscall.SIGCONT)
		return -1
	}
	all := []outage{
		{"the primary is killed", 4, kill},
		{"the primary stops for 10 s", 4, pause},
	}
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		all = append(all, outage{"the primary is killed", 7, kill}, outage{"the primary stops for 10 s", 7, pause})
	}
	return all
}

func signalReplica(t testing.TB, dir string, id uint32, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(readPid(t, dir, id), sig); err != nil {
		t.Fatalf("signalling replica %d: %v", id, err)
	}
}

// While a tree is copied through a kernel mount, the group loses its primary. Nobody gets an error, no byte is wrong, and
// the replicas that are there end with one state. The longest pause of a small write is logged.
func TestAnOutageOfThePrimaryIsSurvived(t *testing.T) {
	for _, o := range outages() {
		t.Run(fmt.Sprintf("%s of %d", o.name, o.replicas), func(t *testing.T) {
			s := newSite(t)
			dir := t.TempDir()
			s.start(upArgs(dir, s.host(), "--durability", "memory", "--replicas", strconv.Itoa(o.replicas))...)
			g := s.guest()
			mnt := s.mount(g, testPort)
			probe := s.startProbe()
			copying := copyInBackground(t, g, mnt, "crypto")
			before := s.status(dir)
			awaitCondition(t, "the copy to be under way", func() bool {
				return s.status(dir).Replicas[before.Primary].Executed > before.Replicas[before.Primary].Executed+100
			}, func() string { return fmt.Sprintf("%+v", s.status(dir)) })

			gone := o.happen(t, s, dir, before.Primary)
			if err := <-copying; err != nil {
				t.Fatal(err)
			}
			pause, calls := probe()
			if err := g.Unmount(t.Context(), mnt); err != nil {
				t.Fatal(err)
			}
			mnt = s.mount(g, testPort)
			runScript(t, g, fmt.Sprintf("cd %s; diff -r --no-dereference crypto %s/crypto", goSource(t), mnt))
			var except []uint32
			if gone >= 0 {
				except = append(except, uint32(gone))
			}
			after := s.awaitEqualRoots(dir, except...)
			if after.View == before.View {
				t.Errorf("the view is still %d", after.View)
			}
			if pause > pauseMax {
				t.Errorf("a small write took %v, longer than %v", pause, pauseMax)
			}
			logFault(t, o.name, o.replicas, "longest_pause_ms", pause.Milliseconds(), "small_writes", calls, "view_before", before.View, "view", after.View)
		})
	}
}

// logFault tells how a test of faults went, in one line that can be searched for in the logs of all of them: names and values
// follow the scenario.
func logFault(t testing.TB, scenario string, replicas int, measured ...any) {
	t.Helper()
	var line strings.Builder
	for i := 0; i+1 < len(measured); i += 2 {
		fmt.Fprintf(&line, " %v=%v", measured[i], measured[i+1])
	}
	t.Logf("FAULT scenario=%q n=%d%s", scenario, replicas, &line)
}

// copyInBackground copies a part of Go's source into the mount.
func copyInBackground(t *testing.T, g *kernelclient.Guest, mnt, what string) <-chan error {
	t.Helper()
	src := goSource(t)
	done := make(chan error, 1)
	go func() {
		var out bytes.Buffer
		exit, err := g.Script(t.Context(), fmt.Sprintf("set -eu; cd %s; cp -a %s %s/", src, what, mnt), &out, &out)
		if err == nil && exit != 0 {
			err = fmt.Errorf("cp ended with %d: %s", exit, &out)
		}
		done <- err
	}()
	return done
}

// startProbe writes to one file through the gateway, one call after the other, until the returned function is called,
// which gives the longest call and how many there were.
func (s *site) startProbe() (stop func() (longest time.Duration, calls int)) {
	s.t.Helper()
	c := s.library(net.JoinHostPort(s.host(), strconv.Itoa(testPort)))
	root, err := c.Mount(s.t.Context(), "/")
	if err != nil {
		s.t.Fatal(err)
	}
	file, err := c.WriteFile(s.t.Context(), root, "probe", nil, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	var longest time.Duration
	calls := 0
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			began := time.Now()
			if err := probeOnce(s.t.Context(), c, file, calls); err != nil {
				s.t.Errorf("call %d of the probe: %v", calls, err)
				return
			}
			longest = max(longest, time.Since(began))
			calls++
		}
	}()
	return func() (time.Duration, int) {
		cancel()
		<-ended
		return longest, calls
	}
}

func probeOnce(ctx context.Context, c *nfsclient.Client, file nfs3.FH, i int) error {
	_, err := c.Write(ctx, file, 0, fmt.Appendf(nil, "%08d", i), nfs3.FileSync)
	return err
}
