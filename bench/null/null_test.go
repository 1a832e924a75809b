package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"bfsd/replica/config"
)

// TestMain lets the test binary be the processes that a measurement consists of.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		main()
		os.Exit(0)
	}
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // each of the many processes would take a second to end
	}
	os.Exit(m.Run())
}

// flags parses a command line.
func flags(t testing.TB, args ...string) options {
	t.Helper()
	var o options
	parser, err := kong.New(&o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

// A short run of everything but the outage, with real processes: what is written can be read, all of it was verified,
// and nothing names a directory of this machine.
func TestAMeasurementWritesWhatItFound(t *testing.T) {
	out, scratch := t.TempDir(), t.TempDir()
	o := flags(t,
		"--parts", "groups,switches,checkpoint", "--ops", "0/0,4k/4k", "--clients", "1,3", "--replicas", "4", "--switches", "macs,everything",
		"--switch-ops", "20k/0", "--intervals", "16,64", "--state", "1", "--runs", "2", "--duration", "10ms", "--warmup", "2ms",
		"--out", out, "--scratch", scratch)
	var tables bytes.Buffer
	if err := runBenchmark(t.Context(), o, &tables, discard(t)); err != nil {
		lines, _ := os.ReadFile(filepath.Join(out, "observations.jsonl"))
		t.Fatalf("%v\n%s", err, lines)
	}
	text, err := os.ReadFile(filepath.Join(out, "observations.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	for line := range bytes.Lines(text) {
		var ob observation
		if err := json.Unmarshal(line, &ob); err != nil {
			t.Fatal(err)
		}
		parts[ob.Part]++
		if !ob.Verified || ob.Error != "" || ob.Latency.P50 <= 0 || ob.Latency.P999 < ob.Latency.P50 {
			t.Errorf("an observation without a result: %s", line)
		}
		if ob.Target != targetEcho && (ob.Operations == 0 || ob.Throughput <= 0 || ob.CPUPerOp <= 0 || ob.LongestPause <= 0 || ob.Calls < ob.Operations) {
			t.Errorf("a measurement without a figure: %s", line)
		}
	}
	// 2 runs of: the echo; 2 operations × 2 modes × 2 numbers of clients on 2 targets; 1 × 1 × 2 with all on and 2 others; 2 intervals × 2.
	if want := map[string]int{"": 2, partGroups: 32, partSwitches: 12, partCheckpoint: 8}; fmt.Sprint(parts) != fmt.Sprint(want) {
		t.Errorf("observations of each part: %v, want %v", parts, want)
	}
	summaryText, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(summaryText, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Entries) != 26 || s.Echo == nil || len(s.Costs) != 1 {
		t.Errorf("the summary has %d entries, echo %v, costs %v; want 26, one, one", len(s.Entries), s.Echo, s.Costs)
	}
	for _, e := range s.Entries {
		isBase := e.Target == targetPlain || e.Part == partSwitches && e.Off == "" || e.Part == partCheckpoint && e.Interval == 64
		if e.Runs != 2 || e.Failed != 0 || e.P50 == nil || e.Throughput == nil || (e.P50.Ratio == nil) != isBase {
			t.Errorf("entry %+v: %d runs, %d failed, p50 %+v; a baseline: %v", e.key, e.Runs, e.Failed, e.P50, isBase)
		}
	}
	for _, want := range []string{"| 0/0 ordered | 1 |", "| unreplicated | n = 4 |", "| MACs, not signatures | ", "| everything | ", "**Checkpoints**", "TCP echo"} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, &tables)
		}
	}
	for name, content := range map[string][]byte{"observations.jsonl": text, "summary.json": summaryText, "tables.md": tables.Bytes()} {
		for _, dir := range []string{out, scratch, os.TempDir()} {
			if bytes.Contains(content, []byte(dir)) {
				t.Errorf("%s names %s", name, dir)
			}
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// discard is a file that forgets.
func discard(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAKilledPrimaryIsAPauseAndNotAFailure(t *testing.T) {
	g := start(t, setting{replicas: 4, durability: config.Memory, gateways: 2})
	var o observation
	if err := g.measure(t.Context(), &measurement{mode: modeOrdered, clients: 4, kill: true, duration: 2 * time.Second}, &o); err != nil {
		t.Fatal(err)
	}
	timeout := config.DefaultTunables()
	if pause := time.Duration(o.LongestPause * 1e9); !o.Verified || pause < timeout.ViewChangeTimeout()/2 {
		t.Errorf("with the primary killed the longest pause was %v, verified %v; nobody replaces it before %v", pause, o.Verified, timeout.ViewChangeTimeout())
	}
	all, err := g.statuses(t.Context())
	if err != nil || len(all) != 3 || all[0].View == 0 {
		t.Errorf("afterwards: %+v, %v; want three replicas in a later view", all, err)
	}
}

func start(t *testing.T, s setting) *group {
	t.Helper()
	g, err := startGroup(t.Context(), t.TempDir(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// A group that dies under the measurement is reported, not waited for, and the rest of the plan goes on without it.
func TestAMeasurementThatFailsIsRecordedAsSuch(t *testing.T) {
	g := start(t, setting{durability: config.Memory, gateways: 1})
	killed := time.AfterFunc(50*time.Millisecond, func() { _ = g.servers[0].cmd.Process.Kill() }) // the measurement does not know of it
	defer killed.Stop()
	begun := time.Now()
	var o observation
	err := g.measure(t.Context(), &measurement{mode: modeOrdered, clients: 1, duration: time.Minute}, &o)
	if err == nil || !strings.Contains(err.Error(), "the unreplicated server has ended") || o.Verified {
		t.Fatalf("without a server: verified %v, %v; want an error", o.Verified, err)
	}
	g.servers[0].killed.Store(true) // now everybody may know
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("that took %v", took)
	}
	entries, _ := summarize([]observation{{Part: partGroups, Target: targetPlain, Run: 1, Error: err.Error()}})
	if len(entries) != 1 || entries[0].Failed != 1 || entries[0].P50 != nil {
		t.Errorf("summarized as %+v", entries)
	}
}

func TestARoleThatCannotStartSaysWhy(t *testing.T) {
	for _, role := range []string{roleReplica, rolePlain, roleLoad} {
		c, err := startChild("the "+role, role, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = c.ask(t.Context(), memberSpec{Config: filepath.Join(t.TempDir(), "none.toml")}, &struct{}{})
		if err == nil || !strings.Contains(err.Error(), "none.toml") {
			t.Errorf("%s without a cluster file: %v", role, err)
		}
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestFlagsThatCannotBeCarriedOutAreRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"no part":           {"--parts", "groups,hope"},
		"twice":             {"--parts", "groups,groups"},
		"macs twice":        {"--parts", "switches", "--switches", "macs,macs"},
		"no switch":         {"--parts", "switches", "--switches", "macs,luck"},
		"want ARGUMENT/RES": {"--ops", "4k"},
		"no number of byte": {"--ops", "4k/2m"},
		"-1":                {"--ops=-1/0"},
		"3f+1":              {"--replicas", "5"},
		"--clients 65":      {"--clients", "65"},
		"--gateways must":   {"--gateways", "0"},
		"--runs":            {"--runs", "0"},
		"--duration":        {"--duration", "0s"},
		"--outage":          {"--outage", "100ms"},
		"--intervals 4":     {"--intervals", "4"},
		"--state":           {"--state", "0"},
	} {
		o := flags(t, args...)
		if _, err := o.plan(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want an error with %q", args, err, want)
		}
	}
	o := flags(t)
	steps, err := o.plan()
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 4+9+3+6 {
		t.Errorf("the default plan has %d groups: want 4 for groups, 9 for switches, 3 for view-change, 6 for checkpoint", len(steps))
	}
}

func TestEverySwitchIsMeasured(t *testing.T) {
	o := config.AllOptimisations()
	switchOff(&o, "")
	if o != config.AllOptimisations() {
		t.Errorf("nothing switched off: %+v", o)
	}
	switchOff(&o, everything)
	if o != (config.Optimisations{}) {
		t.Errorf("everything switched off, but on: %+v", o)
	}
	for _, s := range optimisations() {
		o := config.AllOptimisations()
		switchOff(&o, s.name)
		if *s.field(&o) {
			t.Errorf("%s is still on", s.name)
		}
		*s.field(&o) = true
		if o != config.AllOptimisations() {
			t.Errorf("%s off switches another: %+v", s.name, o)
		}
	}
}
