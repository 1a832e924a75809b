package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bfsd/bench/internal/measure"
)

// observed makes an observation of a run in which each phase took the seconds given.
func observed(target string, verified bool, seconds float64, rpcs uint64) observation {
	o := observation{Target: target, Fault: faultNone, Verified: verified}
	o.Phases = map[phase]float64{}
	for _, p := range andrewPhases {
		o.Phases[p] = seconds
		o.Total += seconds
	}
	o.LongestPause = seconds / 10
	if rpcs > 0 {
		o.RPCs = &rpcs
	}
	return o
}

func TestSummarize(t *testing.T) {
	summaries := summarize([]observation{
		observed("bfs", true, 2, 20), observed("plain", true, 1, 10),
		observed("bfs", true, 4, 20), observed("plain", true, 3, 10),
		observed("bfs", false, 1000, 1), observed("plain", true, 2, 10),
	}, targetPlain)
	if len(summaries) != 2 || summaries[0].Target != "bfs" || summaries[1].Target != "plain" {
		t.Fatalf("targets in the wrong order: %+v", summaries)
	}
	bfs, plain := summaries[0], summaries[1]
	if bfs.Runs != 3 || bfs.Failed != 1 || plain.Runs != 3 || plain.Failed != 0 {
		t.Errorf("bfs %d runs %d failed, plain %d runs %d failed", bfs.Runs, bfs.Failed, plain.Runs, plain.Failed)
	}
	for _, test := range []struct {
		name               string
		got                *measure.Statistic
		median, max, ratio float64
	}{
		{"bfs Copy", bfs.Phases[phaseCopy], 3, 4, 1.5},
		{"bfs total", bfs.Total, 15, 20, 1.5},
		{"bfs without Make", bfs.TotalWithoutMake, 12, 16, 1.5},
		{"bfs pause", bfs.LongestPause, 0.3, 0.4, 1.5},
		{"bfs RPCs", bfs.RPCs, 20, 20, 2},
		{"plain total", plain.Total, 10, 15, 1},
	} {
		near := func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }
		if s := test.got; s == nil || !near(s.Median, test.median) || !near(s.Max, test.max) || s.Ratio == nil || !near(*s.Ratio, test.ratio) {
			t.Errorf("%s: %+v, want median %v, max %v, ratio %v", test.name, s, test.median, test.max, test.ratio)
		}
	}
}

func TestSummarizeWithoutBaselineOrFigures(t *testing.T) {
	summaries := summarize([]observation{observed("bfs", true, 2, 0), observed("go-nfs", false, 2, 0)}, targetPlain)
	if s := summaries[0]; s.Total.Ratio != nil || s.RPCs != nil {
		t.Errorf("no baseline, no RPC counts: %+v", s)
	}
	if s := summaries[1]; s.Total != nil || s.Failed != 1 {
		t.Errorf("a target without a good run: %+v", s)
	}
	var table bytes.Buffer
	if err := (&summary{Targets: summaries}).print(&table); err != nil {
		t.Fatal(err)
	}
	if text := table.String(); !strings.Contains(text, "1 of 1 runs FAILED") || strings.Contains(text, "×") {
		t.Errorf("the table:\n%s", text)
	}
}

// The keys are a contract with those who read observations (issue 7).
func TestObservationFormat(t *testing.T) {
	dir := t.TempDir()
	r, err := measure.NewRecorder[observation](dir)
	if err != nil {
		t.Fatal(err)
	}
	sent := []observation{observed("bfs", true, 1, 5), observed("plain", false, 2, 0)}
	sent[0].Date = time.Date(2000, 1, 2, 3, 4, 5, 0, time.UTC)
	sent[1].Error = "a\nb"
	for _, o := range sent {
		if err := r.Record(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "observations.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) != len(sent) {
		t.Fatalf("%d lines for %d observations", len(lines), len(sent))
	}
	var keys map[string]any
	if err := json.Unmarshal(lines[0], &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"date", "workload", "target", "fault", "client", "scale", "durability", "replicas", "phases", "total", "longest_pause", "rpcs", "verified", "machine"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("an observation has no %q, only %v", key, slices.Sorted(maps.Keys(keys)))
		}
	}
	var got observation
	if err := json.Unmarshal(lines[1], &got); err != nil || got.Error != sent[1].Error || got.Phases[phaseMake] != 2 || got.RPCs != nil {
		t.Errorf("read back %+v, %v", got, err)
	}
}

func TestTableTellsWhatWasMeasured(t *testing.T) {
	observations := []observation{observed("bfs", true, 2, 20), observed("plain", true, 1, 10)}
	observations[0].Replicas, observations[0].Durability = 4, "disk"
	s := &summary{
		Client: "kernel", Kernel: "uml", Scale: 3, Compiler: "tcc", Baseline: targetPlain, Targets: summarize(observations, targetPlain),
		Settings: &settings{Processes: 5, BatchRequests: 64, BatchWindow: 8, CheckpointInterval: 64},
		Machine:  measure.Machine{CPU: "a CPU", Cores: 2, System: "Linux", Go: "go1", Commit: "abc"},
	}
	var table bytes.Buffer
	if err := s.print(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kernel client (uml)", "scale 3", "bfs (4 replicas, disk)", "plain", "2.000 (2.000–2.000) ×2.00", "Copy", "without Make", "longest pause", "RPCs", "2 cores", "commit abc", "tcc", "5 processes", "8 in flight"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
}

const sampleMountstats = `device /dev/vda mounted on / with fstype ext4
device 10.99.0.1:/ mounted on /mnt/nfs0 with fstype nfs statvers=1.1
	opts:	rw,vers=3
	events:	1 2 3
	xprt:	tcp 0 0 1
	per-op statistics
	        NULL: 1 1 0 44 24 0 0 0 0
	     GETATTR: 10 10 0 1 1 0 0 0 0
	       WRITE: 5 6 0 1 1 0 0 0 0

device 10.99.0.1:/ mounted on /mnt/nfs1 with fstype nfs statvers=1.1
	per-op statistics
	     GETATTR: 7 7 0 1 1 0 0 0 0
`

func TestCountRPCs(t *testing.T) {
	for mountPoint, want := range map[string]uint64{"/mnt/nfs0": 16, "/mnt/nfs1": 7} {
		if n, ok := countRPCs([]byte(sampleMountstats), mountPoint); !ok || n != want {
			t.Errorf("%s: %d, %v, want %d", mountPoint, n, ok, want)
		}
	}
	for _, mountPoint := range []string{"/", "/mnt", ""} {
		if n, ok := countRPCs([]byte(sampleMountstats), mountPoint); ok {
			t.Errorf("%q is no NFS mount, yet it made %d calls", mountPoint, n)
		}
	}
}

func FuzzCountRPCs(f *testing.F) {
	f.Add([]byte(sampleMountstats))
	f.Add([]byte("device a mounted on /mnt/nfs0 with fstype nfs\nper-op statistics\nA: x\n"))
	f.Fuzz(func(t *testing.T, stats []byte) {
		if _, ok := countRPCs(stats, "/mnt/nfs0"); ok && !bytes.Contains(stats, []byte("/mnt/nfs0")) {
			t.Error("counted the calls of a mount that is not there")
		}
	})
}
