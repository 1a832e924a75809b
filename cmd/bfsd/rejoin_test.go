package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
	"bfsd/replica"
)

// load writes small files, one call after the other, until stop is called, which gives the longest call and how many there
// were. Every call must succeed.
func (s *site) load(addr string) (calls *atomic.Int64, stop func() (longest time.Duration)) {
	s.t.Helper()
	c, err := nfsclient.Dial(s.t.Context(), addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c = c.As(0, 0)
	root, err := c.Mount(s.t.Context(), "/")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	calls = new(atomic.Int64)
	var longest time.Duration
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.WriteFile(s.t.Context(), root, fmt.Sprint("load ", calls.Load()%1000), []byte("some bytes"), 0o644); err != nil {
				s.t.Errorf("call %d of the load: %v", calls.Load(), err)
				return
			}
			longest = max(longest, time.Since(began))
			calls.Add(1)
		}
	}()
	return calls, func() time.Duration {
		cancel()
		<-ended
		return longest
	}
}

// fill writes files of random bytes, so many MiB.
func fill(t testing.TB, c *nfsclient.Client, root nfs3.FH, mib int) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	data := make([]byte, 8<<20)
	for i := 0; i < mib; i += 8 {
		_, _ = rng.Read(data) // never fails
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("bulk ", i), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// killReplica ends a replica and waits until nothing of it is left.
func killReplica(t testing.TB, dir string, id uint32) {
	t.Helper()
	signalReplica(t, dir, id, syscall.SIGKILL)
	home := filepath.Join(dir, fmt.Sprintf("replica-%d", id))
	awaitCondition(t, fmt.Sprintf("replica %d to end", id), func() bool { return !inUse(home) }, func() string { return "it holds its lock" })
}

// startReplica runs a replica of the cluster in dir until the test ends.
func (s *site) startReplica(dir string, id uint32) {
	s.t.Helper()
	cmd := s.command(context.WithoutCancel(s.t.Context()), "replica", "--config", filepath.Join(dir, "cluster.toml"), "--id", strconv.Itoa(int(id)))
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("replica %d said:\n%s", id, out)
		}
	})
}

// awaitCaughtUp waits until a replica keeps up with the others while they go on, and returns what its status said of the way
// there, newest last.
func (s *site) awaitCaughtUp(dir string, id uint32, within time.Duration) (seen []replica.Rejoin) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for time.Now().Before(deadline) {
		<-poll.C // what is awaited happens in other processes, which cannot tell
		report := s.status(dir)
		r := report.Replicas[id]
		if !r.Up {
			continue
		}
		seen = append(seen, r.Rejoin)
		ahead := uint64(0)
		for _, other := range report.Replicas {
			if other.Up && other.ID != id {
				ahead = max(ahead, other.Stable)
			}
		}
		if r.Rejoin.How == replica.RejoinNone && r.Rejoin.Target > 0 && r.Committed >= ahead && !r.Fetching {
			return seen
		}
	}
	s.t.Fatalf("replica %d does not catch up within %v; its last words: %+v", id, within, s.status(dir).Replicas)
	return nil
}

// A replica whose disk is empty joins a group that is under load: by state transfer, as its status tells on the way, and
// without a user noticing.
func TestAnEmptyReplicaJoinsUnderLoad(t *testing.T) {
	mib := 24
	if more := os.Getenv("BFSD_REJOIN_MIB"); more != "" { // for measuring
		var err error
		if mib, err = strconv.Atoi(more); err != nil {
			t.Fatal(err)
		}
	}
	s := local(t)
	dir := t.TempDir()
	_, addr := startUp(s, dir, "--durability", "os")
	root, c := mountLibrary(t, addr)
	fill(t, c, root, mib)
	for i := range 200 { // two calls each: until nobody's log holds the bulk any more
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("small ", i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	killReplica(t, dir, 2)
	if err := os.RemoveAll(filepath.Join(dir, "replica-2", "store")); err != nil {
		t.Fatal(err)
	}
	calls, stop := s.load(addr)
	awaitCondition(t, "the load to begin", func() bool { return calls.Load() > 20 }, func() string { return fmt.Sprint(calls.Load()) })
	began, before := time.Now(), calls.Load()
	s.startReplica(dir, 2)
	seen := s.awaitCaughtUp(dir, 2, 5*time.Minute)
	took, meanwhile := time.Since(began), calls.Load()-before
	longest := stop()
	last := seen[len(seen)-1]
	if last.Transfers == 0 || last.TransferredBytes < uint64(mib)<<20 {
		t.Errorf("an empty replica has fetched %d bytes in %d transfers; the state has %d MiB", last.TransferredBytes, last.Transfers, mib)
	}
	if meanwhile == 0 {
		t.Error("there was no load while it joined")
	}
	s.awaitEqualRoots(dir)
	shown := 0
	for _, r := range seen {
		if r.How == replica.RejoinTransfer && r.FetchedBytes > 0 {
			if shown++; shown%10 == 1 {
				t.Log(r)
			}
		}
	}
	t.Logf("%d MiB: caught up after %v (%.1f s a GiB), %d transfers of %d MiB, adopted %d batches; %d calls meanwhile, the longest %v",
		mib, took.Round(10*time.Millisecond), took.Seconds()*1024/float64(mib), last.Transfers, last.TransferredBytes>>20, last.Adopted, meanwhile, longest.Round(time.Millisecond))
}

// A replica that was away for a moment is back by its own log and what the others send again, without a state transfer.
func TestAReplicaThatWasAwayForAMomentNeedsNoStateTransfer(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	_, addr := startUp(s, dir, "--durability", "os")
	root, c := mountLibrary(t, addr)
	for i := range 40 {
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint(i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitEqualRoots(dir)
	killReplica(t, dir, 3)
	for i := range 20 {
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("missed ", i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.startReplica(dir, 3)
	awaitCondition(t, "replica 3", func() bool { return s.status(dir).Replicas[3].Up }, func() string { return "it does not answer" })
	report := s.awaitEqualRoots(dir)
	r := report.Replicas[3].Rejoin
	if r.Transfers != 0 || r.Replayed < 30 || r.How != replica.RejoinNone {
		t.Errorf("it came back with %+v; want batches replayed from its log and no state transfer", r)
	}
}
