package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeCluster is a cluster of replicas that say what they are told to.
type fakeCluster struct {
	mu     sync.Mutex
	states []*replicaStatus // nil: it answers with an error
	asked  []int
}

func (f *fakeCluster) cluster(t *testing.T) *cluster {
	t.Helper()
	f.asked = make([]int, len(f.states))
	k := &cluster{f: (len(f.states) - 1) / 3, http: http.DefaultClient, started: make([]*process, len(f.states))}
	for id := range f.states {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.asked[id]++
			if f.states[id] == nil {
				http.Error(w, "no", http.StatusServiceUnavailable)
				return
			}
			if err := json.NewEncoder(w).Encode(f.states[id]); err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(s.Close)
		k.status = append(k.status, strings.TrimPrefix(s.URL, "http://"))
	}
	return k
}

func at(executed uint64, root string) *replicaStatus {
	return &replicaStatus{Executed: executed, Committed: executed, Root: root}
}

func TestReplicasWithOtherStatesAreNoticed(t *testing.T) {
	for _, test := range []struct {
		name   string
		states []*replicaStatus
		except []int
		want   string // "": they are equal
		n      int
	}{
		{"equal", []*replicaStatus{at(7, "aa"), at(7, "aa"), at(7, "aa"), at(7, "aa")}, nil, "", 4},
		{"one is crashed", []*replicaStatus{at(7, "aa"), at(7, "aa"), at(7, "aa"), nil}, []int{3}, "", 3},
		{"one lies and is left out", []*replicaStatus{at(7, "aa"), at(7, "xx"), at(7, "aa"), at(7, "aa")}, []int{1}, "", 3},
		{"one is another", []*replicaStatus{at(7, "aa"), at(7, "aa"), at(7, "bb"), at(7, "aa")}, nil, "replica 2 has executed 7, committed 7, root bb", 0},
		{"all others are excepted", []*replicaStatus{at(7, "aa")}, []int{0}, "wait for", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			n, err := (&fakeCluster{states: test.states}).cluster(t).awaitEqual(ctx, test.except)
			if n != test.n || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d compared, %v; want %d, %q", n, err, test.n, test.want)
			}
		})
	}
}

// One that has executed less, or not committed what it executed, or fetches the state, is waited for.
func TestReplicasThatLagAreAwaited(t *testing.T) {
	for name, lagging := range map[string]*replicaStatus{
		"behind":      at(6, "0a"),
		"uncommitted": {Executed: 7, Committed: 6, Root: "aa"},
		"fetching":    {Executed: 7, Committed: 7, Fetching: true},
		"down":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeCluster{states: []*replicaStatus{at(7, "aa"), at(7, "aa"), at(7, "aa"), lagging}}
			k := f.cluster(t)
			caughtUp := make(chan struct{})
			go func() {
				defer close(caughtUp)
				for {
					f.mu.Lock()
					if f.asked[3] > 1 {
						f.states[3] = at(7, "aa")
						f.mu.Unlock()
						return
					}
					f.mu.Unlock()
					if t.Context().Err() != nil {
						return
					}
				}
			}()
			n, err := k.awaitEqual(t.Context(), nil)
			<-caughtUp
			if n != 4 || err != nil {
				t.Errorf("%d compared, %v", n, err)
			}
		})
	}
}

// A faulty replica cannot make the benchmark believe in a view that no correct one has reached, nor can f silent ones hide
// the view.
func TestViewIsThatOfACorrectReplica(t *testing.T) {
	view := func(v uint64) *replicaStatus { return &replicaStatus{View: v} }
	for _, test := range []struct {
		states  []*replicaStatus
		view    uint64
		primary int
	}{
		{[]*replicaStatus{view(5), view(5), view(99), view(4)}, 5, 1},
		{[]*replicaStatus{view(5), nil, view(6), view(6)}, 6, 2},
		{[]*replicaStatus{view(0), view(0), view(0), view(7)}, 0, 0},
	} {
		id, v, err := (&fakeCluster{states: test.states}).cluster(t).primary(t.Context())
		if id != test.primary || v != test.view || err != nil {
			t.Errorf("view %d, primary %d, %v; want %d, %d", v, id, err, test.view, test.primary)
		}
	}
	if _, err := (&fakeCluster{states: []*replicaStatus{nil, nil, nil, view(1)}}).cluster(t).view(t.Context()); err == nil {
		t.Error("one replica was believed")
	}
}

func TestProberSeesWhatItWrote(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serveLocal(t, l)
	p, err := startProber(t.Context(), s, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.stop(t.Context())
	if err != nil || r.Calls < 1 || r.Longest <= 0 || r.P50 > r.P99 || r.P99 > r.Longest {
		t.Errorf("%+v, %v", r, err)
	}
	// A write that was acknowledged and is gone.
	p, err = startProber(t.Context(), s, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p.cancel()
	err = <-p.ended
	p.ended <- err
	fs, err := newNFSFS(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.client.Close()
	if err := fs.WriteFile("/"+probeFile, []byte("nothing")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.stop(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a lost write: %v", err)
	}
}

// A fault that never struck was not measured.
func TestAFaultThatDidNotStrikeFailsTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	i := &injection{struck: phaseCopy, ctx: ctx, cancel: cancel, whole: t.Context(), ended: make(chan error, 1), cluster: &cluster{}}
	broken := errors.New("broken")
	i.fault = fault{name: "x", strike: func(context.Context, *injection) error { return broken }}
	i.tell(mark{phaseCopy, phaseDone})
	i.tell(mark{phaseMakeDir, phaseMiddle})
	if err := i.finish(); err == nil || !strings.Contains(err.Error(), "never came") {
		t.Errorf("got %v", err)
	}
	i.tell(mark{phaseCopy, phaseMiddle})
	if err := i.release(); !errors.Is(err, broken) {
		t.Errorf("a strike that failed: %v", err)
	}
}

func TestFaultsAreFoundByName(t *testing.T) {
	for _, test := range []struct {
		names []string
		want  int
	}{{nil, 1}, {[]string{"all"}, len(faults)}, {[]string{"restarting", "none"}, 2}} {
		if got, err := chooseFaults(test.names); err != nil || len(got) != test.want || got[0].name != faultNone {
			t.Errorf("%v are %d faults, %v", test.names, len(got), err)
		}
	}
	if _, err := chooseFaults([]string{"none", "flood"}); err == nil || !strings.Contains(err.Error(), "flood") {
		t.Errorf("an unknown fault: %v", err)
	}
	b := &benchmark{targets: targets[:2], faults: faults[:3]}
	if got := fmt.Sprint(b.round()); got != "[bfs bfs, crashed-backup bfs, crashed-primary plain]" {
		t.Errorf("a round is %s", got)
	}
	for _, test := range []struct {
		faults []fault
		every  time.Duration
		want   bool
	}{{faults[:3], time.Second, true}, {faults[:3], 0, false}, {faults[:1], time.Second, false}} {
		b.faults, b.options.Probe = test.faults, test.every
		if b.probes() != test.want {
			t.Errorf("%d faults, a prober every %v: it runs %t", len(test.faults), test.every, b.probes())
		}
	}
}

// Under faults every run is verified, and what they did is told. BFSD_LONG_TESTS takes all faults.
func TestBenchmarkUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("builds bfsd and starts clusters")
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	names := []string{faultNone, "crashed-primary", "restarting"}
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		names = faultNames()
	}
	out := t.TempDir()
	o := options{
		Workload: workloadPostmark, Targets: []string{targetBFS, targetPlain}, Client: clientLibrary, Runs: 1, Scale: 2, Seed: 1,
		Durability: "memory", Replicas: 4, Faults: names, Slow: 2 * time.Millisecond, Probe: 10 * time.Millisecond, Out: out,
		Scratch: t.TempDir(), MemoryMiB: 512, Timeout: 5 * time.Minute,
	}
	var table strings.Builder
	if err := runBenchmark(t.Context(), o, &table, null); err != nil {
		text, _ := os.ReadFile(filepath.Join(out, "observations.jsonl"))
		t.Fatalf("%v\n%s", err, text)
	}
	text, err := os.ReadFile(filepath.Join(out, "observations.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for line := range strings.Lines(string(text)) {
		var o observation
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if o.Target == targetPlain {
			continue
		}
		seen = append(seen, o.Fault)
		lost := 0
		if slices.Contains([]string{"crashed-backup", "crashed-primary", "slow-primary", "lying-replica"}, o.Fault) {
			lost = 1
		}
		if !o.Verified || o.ReplicasEqual != 4-lost || o.Probe == nil || o.Probe.Calls == 0 || o.LongestPause < o.Probe.Longest {
			t.Errorf("%s: %s", o.Fault, line)
		}
		if o.Fault == "crashed-primary" && o.ViewChanges == 0 {
			t.Error("the primary was killed, and the view is still the same")
		}
		if (o.Fault == "restarting" || o.Fault == "catching-up" || o.Fault == "recovering") != (o.Recovered > 0) {
			t.Errorf("%s: a replica was back after %v s", o.Fault, o.Recovered)
		}
		if !strings.Contains(table.String(), o.Fault) {
			t.Errorf("the table does not tell of %s:\n%s", o.Fault, &table)
		}
	}
	if !slices.Equal(seen, names) {
		t.Errorf("observed %v, want %v", seen, names)
	}
	if left, err := os.ReadDir(o.Scratch); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch directory: %v, %v", left, err)
	}
}
