package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkRecovery measures, on a cluster of four replica processes with BFSD_REJOIN_MIB (64) MiB of files, while a client
// writes small files one after the other: how long a replica that was killed takes to be back with its own state; and how
// quickly an empty one gets all of it from the others, how much processor time that takes at both ends, and what users notice of
// it. And how many bytes a store has written for each byte of log and checkpoint, since the cluster began. Each is done b.N times; make bench-recovery does it with 1 GiB.
func BenchmarkRecovery(b *testing.B) {
	mib := 64
	if more := os.Getenv("BFSD_REJOIN_MIB"); more != "" {
		var err error
		if mib, err = strconv.Atoi(more); err != nil {
			b.Fatal(err)
		}
	}
	s := local(b)
	dir := b.TempDir()
	_, addr := startUp(s, dir, "--durability", "disk")
	root, c := mountLibrary(b, addr)
	fill(b, c, root, mib)
	write := func(count int) {
		for i := range count {
			if _, err := c.WriteFile(b.Context(), root, fmt.Sprint("small ", i), []byte("x"), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	write(200) // until nobody's log holds the bulk any more
	const victim = 2
	store := filepath.Join(dir, fmt.Sprint("replica-", victim), "store")

	b.Run("restart", func(b *testing.B) {
		var load time.Duration
		for b.Loop() {
			b.StopTimer()
			killReplica(b, dir, victim)
			b.StartTimer()
			s.startReplica(dir, victim)
			r := s.awaitServing(dir, victim)
			load += time.Duration(r.Rejoin.LoadMs) * time.Millisecond
			write(20)
			s.awaitCaughtUp(dir, victim, 5*time.Minute)
		}
		b.ReportMetric(load.Seconds()/float64(b.N), "s-to-serve")
	})
	b.Run("transfer", func(b *testing.B) {
		calls, stop := s.load(addr)
		defer stop()
		var with, without, longest, took, receiver, senders float64
		for b.Loop() {
			b.StopTimer()
			killReplica(b, dir, victim)
			if err := os.RemoveAll(store); err != nil {
				b.Fatal(err)
			}
			// The pace of users while a replica is down and nobody fetches anything.
			const pause = 3 * time.Second
			before, used := calls.Load(), s.processorTime(dir, victim)
			select {
			case <-time.After(pause):
			case <-b.Context().Done():
			}
			quiet := calls.Load() - before
			without += float64(quiet) / pause.Seconds()
			perCall := (s.processorTime(dir, victim) - used) / float64(max(1, quiet))
			before, used = calls.Load(), s.processorTime(dir, victim)
			b.StartTimer()
			began := time.Now()
			s.startReplica(dir, victim)
			seen := s.awaitCaughtUp(dir, victim, 15*time.Minute)
			seconds := time.Since(began).Seconds()
			took += seconds
			with += float64(calls.Load()-before) / seconds
			receiver += processorTime(b, s.status(dir).Replicas[victim].PID)
			senders += s.processorTime(dir, victim) - used - perCall*float64(calls.Load()-before)
			if last := seen[len(seen)-1]; last.Transfers == 0 {
				b.Errorf("an empty replica has fetched nothing: %+v", last)
			}
		}
		longest = max(longest, stop().Seconds())
		b.ReportMetric(float64(mib*b.N)/took, "MiB/s")
		b.ReportMetric(without/float64(b.N), "calls/s-before")
		b.ReportMetric(with/float64(b.N), "calls/s-during")
		b.ReportMetric(100*(1-with/without), "%-slower")
		b.ReportMetric(longest*1000, "ms-longest-call")
		gib := float64(mib*b.N) / 1024
		b.ReportMetric(receiver/gib, "receiver-cpu-s/GiB")
		b.ReportMetric(senders/gib, "senders-cpu-s/GiB")
		if d := s.status(dir).Replicas[0].Disk; d != nil && d.GivenBytes > 0 {
			b.ReportMetric(float64(d.WrittenBytes)/float64(d.GivenBytes), "written/given")
			b.ReportMetric(d.SyncMs, "ms-sync")
		}
	})
}

// processorTime is how many seconds of processor time the replicas have used, but for one.
func (s *site) processorTime(dir string, but uint32) (seconds float64) {
	s.t.Helper()
	for _, r := range s.status(dir).Replicas {
		if r.Up && r.ID != but {
			seconds += processorTime(s.t, r.PID)
		}
	}
	return seconds
}

// processorTime is how many seconds of processor time a process has used (proc_pid_stat(5): utime and stime, in ticks of 10 ms).
func processorTime(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the command's name
	fields := strings.Fields(rest)
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / 100
}

// awaitServing waits until a replica has started.
func (s *site) awaitServing(dir string, id uint32) replicaReport {
	s.t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	deadline := time.Now().Add(5 * time.Minute)
	for time.Now().Before(deadline) {
		<-poll.C // what is awaited happens in another process, which cannot tell
		if r := s.status(dir).Replicas[id]; r.Up {
			return r
		}
	}
	s.t.Fatalf("replica %d does not start", id)
	return replicaReport{}
}
