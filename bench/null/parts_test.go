package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/replica/config"
)

func TestSizesAreWrittenAsTheyAreRead(t *testing.T) {
	for text, want := range map[string]size{"0/0": {}, "4k/0": {4096, 0}, "0/4096": {0, 4096}, "1024k/17": {1 << 20, 17}} {
		s, err := parseSize(text)
		if err != nil || s != want {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
		if again, err := parseSize(s.String()); err != nil || again != s {
			t.Errorf("%q is written %q", text, s)
		}
	}
	for _, text := range []string{"", "0", "/", "0/", "k/0", "1m/0", "0/1025k", "0/0/0", "0x1/0"} {
		if s, err := parseSize(text); err == nil {
			t.Errorf("%q was taken for %v", text, s)
		}
	}
}

func service(t testing.TB, state int64) *nullService {
	t.Helper()
	cluster, _, err := config.Generate(config.Options{Replicas: []config.Addresses{{Peer: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newNullService(cluster, state)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheNullServiceAnswersWithoutLookingAtItsState(t *testing.T) {
	s := service(t, 0)
	before := s.Snapshot().Root()
	for _, size := range []size{{}, {4096, 0}, {0, 4096}, {17, bytesMax}} {
		if err := size.check(s.Execute(1, size.op(), s.Propose(1))); err != nil {
			t.Error(err)
		}
		if result, ok := s.Query(1, size.op()); !ok || size.check(result) != nil {
			t.Errorf("%v as a query: ok %v, %v", size, ok, size.check(result))
		}
	}
	if s.Snapshot().Root() != before {
		t.Error("null operations changed the state")
	}
	wrong := bytes.Repeat([]byte{1}, 4096)
	if (size{0, 4096}).check(wrong) == nil || (size{0, 4096}).check(wrong[:5]) == nil {
		t.Error("a wrong result passes")
	}
}

func TestReplicasFillTheirStateAlike(t *testing.T) {
	cluster, _, err := config.Generate(config.Options{Replicas: []config.Addresses{{Peer: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	const state = 3<<20 + 4096
	var roots [2][32]byte
	for i := range roots {
		s, err := newNullService(cluster, state)
		if err != nil {
			t.Fatal(err)
		}
		roots[i] = s.Snapshot().Root()
		// The clients know the file without asking.
		next, err := (&load{cluster: cluster}).writes(state/pageBytes, 7)
		if err != nil {
			t.Fatal(err)
		}
		op, check := next()
		if err := check(s.Execute(1, op, s.Propose(time.Now().UnixNano()))); err != nil {
			t.Error(err)
		}
		if s.Snapshot().Root() == roots[i] {
			t.Error("a page was written and the root is the same")
		}
	}
	if roots[0] != roots[1] {
		t.Error("two replicas start from different states")
	}
}

// FuzzService: whatever the bytes, the service answers within bounds.
func FuzzService(f *testing.F) {
	f.Add(size{4, 9}.op())
	f.Add([]byte{nullTag, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{nullTag})
	f.Add(fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}}))
	s := service(f, 0)
	f.Fuzz(func(t *testing.T, op []byte) {
		if result := s.Execute(1, op, s.Propose(1)); len(result) > bytesMax+1<<16 {
			t.Fatalf("a result of %d bytes", len(result))
		}
		if result, ok := s.Query(1, op); ok && len(result) > bytesMax+1<<16 {
			t.Fatalf("a result of %d bytes", len(result))
		}
	})
}

func TestProcessorTimeIsThatOfTheProcess(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const burn = 20 * time.Millisecond
	for {
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after-before >= burn { // it grows by what this loop uses
			break
		}
	}
	for _, pid := range []int{0, -1, 1 << 22, 1 << 30} {
		if _, err := cpuTimes([]int{os.Getpid(), pid}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", pid)) {
			t.Errorf("the time of process %d, which does not exist: %v", pid, err)
		}
	}
}

func TestTheLongestPauseIsBetweenTwoCallsOrAtTheEnd(t *testing.T) {
	w := &window{begun: time.Now().Add(-time.Second)} // nothing ended for a second
	w.ended()
	first := time.Duration(w.longest.Load())
	if first < time.Second {
		t.Errorf("the pause before the first call is %v", first)
	}
	w.ended()
	if again := time.Duration(w.longest.Load()); again != first {
		t.Errorf("a short pause replaced the longest: %v, then %v", first, again)
	}
}

func TestCallsThatFollowACheckpointAreToldApart(t *testing.T) {
	order := &loadOrder{Clients: 1, Executed: 100, Interval: 64}
	times := newCallTimes(order)
	for number := uint64(1); number <= 128; number++ { // batches 101 to 228; checkpoints at 128 and 192
		took := time.Microsecond
		if batch := 100 + number; batch >= 128 && batch < 144 || batch >= 192 && batch < 208 {
			took = time.Millisecond
		}
		if err := times.record(number, took); err != nil {
			t.Fatal(err)
		}
	}
	var r loadReport
	mergeTimes([]*callTimes{times}, &r)
	if r.Operations != 128 || r.AfterCheckpoint == nil || r.AfterCheckpoint.P50 < 900e-6 || r.Otherwise.Max > 2e-6 {
		t.Errorf("%d operations, after a checkpoint %+v, otherwise %+v", r.Operations, r.AfterCheckpoint, r.Otherwise)
	}
	if (&loadOrder{Clients: 2, Interval: 64}).apart() || (&loadOrder{Clients: 1, Interval: 16}).apart() || (&loadOrder{Clients: 1}).apart() {
		t.Error("calls are told apart where they cannot be")
	}
}

// seen is an observation with a latency of that many microseconds, and figures that follow from it.
func seen(run int, k key, micros float64) observation {
	o := observation{
		Run: run, Part: k.Part, Target: k.Target, Replicas: k.Replicas, Off: k.Off, Fault: faultNone, Interval: k.Interval,
		StateMiB: k.StateMiB, Mode: modeOrdered, Op: "0/0", Clients: max(1, k.Clients), Verified: true, Throughput: 1e6 / micros, CPUPerOp: micros / 1e6,
	}
	o.Latency.P50, o.Latency.P99, o.Latency.P999, o.Latency.Max = micros/1e6, micros/1e6, micros/1e6, micros/1e6
	return o
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*math.Max(1, math.Abs(b)) }

func TestRatiosAreTakenWithinARun(t *testing.T) {
	on, off := key{Part: partSwitches, Target: targetGroup, Replicas: 4}, key{Part: partSwitches, Target: targetGroup, Replicas: 4, Off: "macs"}
	broken := seen(4, off, 1)
	broken.Verified = false
	// The machine was slower in the second run, for both: medians of all runs would not show that the ratio is 2.
	entries, echo := summarize([]observation{
		seen(1, on, 100), seen(1, off, 200), seen(2, on, 1000), seen(2, off, 2000), seen(3, on, 100), seen(3, off, 300), seen(4, on, 100), broken,
		{Target: targetEcho, loadReport: loadReport{Latency: latency{P50: 16e-6}}, Verified: true},
	})
	if len(entries) != 2 || echo == nil || echo.Median != 16e-6 {
		t.Fatalf("%d entries, echo %+v", len(entries), echo)
	}
	if base := entries[0]; base.P50.Ratio != nil || base.Runs != 4 {
		t.Errorf("the baseline: %+v, %d runs", base.P50, base.Runs)
	}
	if e := entries[1]; e.Failed != 1 || e.Runs != 4 || !near(*e.P50.Ratio, 2) || !near(*e.P50.RatioMin, 2) || !near(*e.P50.RatioMax, 3) || !near(e.P50.Median, 300e-6) || !near(*e.Throughput.Ratio, 0.5) {
		t.Errorf("%d of %d failed, p50 %+v, throughput ratio %v", e.Failed, e.Runs, e.P50, *e.Throughput.Ratio)
	}
}

func TestTheCostOfACheckpointIsSolvedFor(t *testing.T) {
	var all []observation
	// 10 µs for each operation and 8 ms for each checkpoint; two operations in a batch.
	for run := range 3 {
		for _, k := range []int{32, 128, 512} {
			o := seen(run+1, key{Part: partCheckpoint, Target: targetGroup, Replicas: 4, Interval: k, StateMiB: 16, Clients: 20}, 100)
			o.OpsPerBatch = 2
			o.CPUPerOp = 10e-6 + 8e-3/float64(2*k)
			all = append(all, o)
		}
	}
	entries, _ := summarize(all)
	costs := checkpointCosts(entries)
	if len(costs) != 1 || costs[0].StateMiB != 16 || !near(costs[0].CPU.Median, 8e-3) || !near(costs[0].CPU.Max, 8e-3) {
		t.Fatalf("%+v, want one of 8 ms", costs)
	}
	var text bytes.Buffer
	(&summary{Entries: entries, Costs: costs}).tables(&text)
	if !strings.Contains(text.String(), "16 MiB, on all replicas together: 8.00 ms") {
		t.Errorf("the tables:\n%s", &text)
	}
}

func TestPathsOfTheMachineAreNotWritten(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &benchmark{options: options{Scratch: "/somewhere/scratch/"}}
	got := b.portable("open /somewhere/scratch/bench-null-1/cluster.toml: " + self + " is gone")
	if got != "open SCRATCH/bench-null-1/cluster.toml: null is gone" {
		t.Error(got)
	}
}
