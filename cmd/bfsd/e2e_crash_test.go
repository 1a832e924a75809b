package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// crashRun is a cluster of separate processes whose replicas are killed, again and again, while a kernel client writes.
type crashRun struct {
	*site
	dir      string
	replicas []*server
	rng      *rand.Rand
	journal  *crashJournal

	library *nfsclient.Client
	root    nfs3.FH

	kills, massacres int
	longest          time.Duration // that a cycle took
}

func newCrashRun(t *testing.T, seed uint64) *crashRun {
	t.Helper()
	r := &crashRun{site: newSite(t), rng: rand.New(rand.NewPCG(seed, 0)), journal: newCrashJournal(), replicas: make([]*server, 4)}
	r.dir = filepath.Join(t.TempDir(), "cluster")
	host := r.host()
	init := r.command(t.Context(), "init", "--dir", r.dir, "--hosts", strings.Join([]string{host, host, host, host}, ","), "--durability", "disk")
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("bfsd init: %v: %s", err, out)
	}
	for i := range r.replicas {
		r.run(i)
	}
	r.gateway(r.dir, 100)
	r.library = r.site.library(net.JoinHostPort(host, strconv.Itoa(testPort)))
	var err error
	if r.root, err = r.library.Mount(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *crashRun) run(i int) {
	r.t.Helper()
	r.replicas[i] = r.launch(r.command(context.WithoutCancel(r.t.Context()), "replica", "--config", filepath.Join(r.dir, "cluster.toml"), "--id", strconv.Itoa(i)))
}

// pause lets a random time pass: the moment of a kill is the test's input.
func (r *crashRun) pause(most time.Duration) {
	t := time.NewTimer(time.Duration(r.rng.Int64N(int64(most))))
	defer t.Stop()
	<-t.C
}

// strike kills a random set of the replicas at once, all of them as often as not, and starts them again.
func (r *crashRun) strike() string {
	r.t.Helper()
	victims := r.rng.Perm(4)[:1+r.rng.IntN(4)]
	if r.rng.IntN(3) == 0 {
		victims = []int{0, 1, 2, 3}
	}
	for _, i := range victims {
		_ = r.replicas[i].cmd.Process.Kill() // it may have ended by itself; kill, below, tells
	}
	for _, i := range victims {
		<-r.replicas[i].ended
		if state := r.replicas[i].cmd.ProcessState; state.Exited() {
			r.t.Errorf("replica %d ended by itself: %v\n%s", i, state, r.replicas[i].output)
		}
		r.replicas[i].err = nil
	}
	r.kills += len(victims)
	if len(victims) == 4 {
		r.massacres++
	}
	r.pause(300 * time.Millisecond)
	for _, i := range victims {
		r.run(i)
	}
	return fmt.Sprint(victims)
}

// Replicas are killed with kill -9, all of them often enough, while files are written through a kernel mount. Whatever the
// file system acknowledged, as a journal outside of it has it, is there afterwards, byte for byte, and nothing else is.
// BFSD_CRASH_CYCLES says how often (5), BFSD_CRASH_SEED how.
func TestKillingReplicasLosesNothingThatWasAcknowledged(t *testing.T) {
	cycles, seed := number(t, "BFSD_CRASH_CYCLES", 5), number(t, "BFSD_CRASH_SEED", 1)
	r := newCrashRun(t, uint64(seed))
	g := r.guest()
	mnt := r.mount(g, testPort)
	began := time.Now()
	for cycle := range cycles {
		started := time.Now()
		in, out := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := g.Call(t.Context(), crashWriter, writing{Mount: mnt, Cycle: cycle, Workers: 4, Lasts: 1200 * time.Millisecond, Ops: 6}, nil, out)
			out.Close()
			done <- err
		}()
		taken := make(chan struct{})
		go func() { r.journal.read(in); close(taken) }()
		var struck []string
		for range 1 + r.rng.IntN(2) {
			r.pause(900 * time.Millisecond)
			struck = append(struck, r.strike())
		}
		select {
		case err := <-done:
			<-taken
			if err != nil {
				t.Fatalf("cycle %d, killed %v: %v", cycle, struck, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("cycle %d, killed %v: the writers stand still; %+v", cycle, struck, r.status(r.dir))
		}
		r.longest = max(r.longest, time.Since(started))
		r.verify(cycle)
		if cycle > 0 {
			r.verify(r.rng.IntN(cycle))
		}
		r.mustBeSound(cycle)
		if t.Failed() {
			t.Fatalf("cycle %d, killed %v", cycle, struck)
		}
	}
	for cycle := range cycles {
		r.verify(cycle)
	}
	report := r.awaitEqualRoots(r.dir)
	t.Logf("%d cycles in %v: %d changes acknowledged, %d files; replicas killed %d times, all at once %d times; view %d; the longest cycle took %v",
		cycles, time.Since(began).Round(time.Second), r.journal.lines, len(r.journal.files), r.kills, r.massacres, report.View, r.longest.Round(time.Millisecond))
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// verify compares what a cycle wrote with the journal, through a client without a cache.
func (r *crashRun) verify(cycle int) {
	r.t.Helper()
	if r.journal.err != nil {
		r.t.Fatal(r.journal.err)
	}
	dir := fmt.Sprintf("cycle%d", cycle)
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	found, err := r.library.Lookup(ctx, r.root, dir)
	if err != nil {
		r.t.Fatalf("%s was acknowledged: %v", dir, err)
	}
	entries, err := r.library.ReadDirAll(ctx, found.Object)
	if err != nil {
		r.t.Fatalf("listing %s: %v", dir, err)
	}
	want := r.journal.in(dir)
	for _, e := range entries {
		if _, ok := want[e.Name]; !ok && e.Name != "." && e.Name != ".." {
			r.t.Errorf("%s/%s is there, which was removed, or never made", dir, e.Name)
		}
	}
	for name, f := range want {
		file, err := r.library.Lookup(ctx, found.Object, name)
		if err != nil {
			r.t.Errorf("%s/%s was acknowledged: %v", dir, name, err)
			continue
		}
		got, err := r.library.ReadFile(ctx, file.Object)
		if err != nil {
			r.t.Errorf("%s/%s: %v", dir, name, err)
		} else if !bytes.Equal(got, f.content()) {
			r.t.Errorf("%s/%s holds %d bytes, %d were acknowledged, or others", dir, name, len(got), len(f.content()))
		}
	}
}

// mustBeSound: a kill -9 damages no store, and makes nobody forget.
func (r *crashRun) mustBeSound(cycle int) {
	r.t.Helper()
	for _, s := range r.status(r.dir).Replicas {
		if s.Up && (len(s.Damage) > 0 || s.InDoubt) {
			r.t.Errorf("after cycle %d replica %d is in doubt %t: %q", cycle, s.ID, s.InDoubt, s.Damage)
		}
	}
}
