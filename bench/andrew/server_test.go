package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
	"bfsd/nfs"
)

// serveLocal runs the unreplicated server on a listener until the test ends.
func serveLocal(t *testing.T, l net.Listener) *server {
	t.Helper()
	backend := nfs.NewLocal(fsstate.New(fsstate.Config{}), time.Now)
	s := nfs.NewServer(backend, nfs.Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, nfs.ErrServerClosed) {
			t.Error(err)
		}
	})
	address, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return &server{
		launcher: localLauncher(), host: address.Addr().String(), port: int(address.Port()), mountPort: int(address.Port()), export: "/",
	}
}

// checkSession runs and verifies the workload in a session, and checks what is counted.
func checkSession(t *testing.T, s session, w workload) {
	t.Helper()
	var seen []phase
	m, err := s.Run(t.Context(), w, doneIn(&seen))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, w.Phases) {
		t.Errorf("told of phases %v, want %v", seen, w.Phases)
	}
	if m.RPCs == nil || *m.RPCs == 0 {
		t.Fatalf("no calls were counted: %+v", m)
	}
	var sum uint64
	for _, n := range m.PhaseRPCs {
		sum += n
	}
	if sum != *m.RPCs {
		t.Errorf("%d calls in all, %d in the phases", *m.RPCs, sum)
	}
	v, err := s.Verify(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if want, size := filesLeft(w); v.Files != want || v.Bytes < size {
		t.Errorf("verified %d files of %d bytes, want %d files of at least %d", v.Files, v.Bytes, want, size)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// filesLeft is how many files a run leaves, and the least that they hold.
func filesLeft(w workload) (files int, bytes int64) {
	switch s := w.script().(type) {
	case *andrew:
		return w.Scale * (len(s.tree.Files) + len(w.Outputs)), int64(w.Scale) * s.tree.Bytes()
	case *postmark:
		s.replay()
		return len(s.pool), int64(len(s.pool)) * poolFileBytesMin
	default:
		return s.size()
	}
}

// eachWorkload is every workload, small.
func eachWorkload(t *testing.T) []workload {
	t.Helper()
	list := []workload{testWorkload(t)}
	for _, name := range []string{workloadPostmark, workloadSequential} {
		list = append(list, smallWorkload(t, name))
	}
	return list
}

func TestLibraryClient(t *testing.T) {
	for _, w := range eachWorkload(t) {
		t.Run(w.Name, func(t *testing.T) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &librarySession{serveLocal(t, l)}
			checkSession(t, s, w)

			fs, err := newNFSFS(t.Context(), s.server)
			if err != nil {
				t.Fatal(err)
			}
			defer fs.client.Close()
			victim := someFile("/"+runDir, w)
			if err := fs.WriteFile(victim, []byte("something else")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Verify(t.Context(), w); err == nil || !strings.Contains(err.Error(), victim) {
				t.Errorf("verification of a changed file: %v", err)
			}
		})
	}
}

func TestKernelClient(t *testing.T) {
	network := kerneltest.Network(t)
	list := eachWorkload(t)
	k, err := newKernelClient(t.Context(), network, 512, list[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range list {
		t.Run(w.Name, func(t *testing.T) {
			l, err := network.Listen(t.Context(), kernelclient.Address+":0")
			if err != nil {
				t.Fatal(err)
			}
			s, err := k.session(t.Context(), serveLocal(t, l))
			if err != nil {
				t.Fatal(err)
			}
			checkSession(t, s, w)
		})
	}
}

// shellProgram writes a shell script that stands for bfsd.
func shellProgram(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bfsd")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestServerThatFailsIsReportedWithItsOutput(t *testing.T) {
	b := &benchmark{
		options: options{Replicas: 4, Durability: "memory", Scratch: t.TempDir()},
		bfsd:    shellProgram(t, "echo \"arguments $*\"; echo port is taken >&2; exit 3\n"),
	}
	for target, arguments := range map[string]string{
		targetBFS:   "--replicas 4 --durability memory",
		targetPlain: "plain --nfs 127.",
		targetGoNFS: "--frontend go-nfs",
	} {
		found, err := findTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.startServer(t.Context(), localLauncher(), trial{found, faults[0]})
		if err == nil {
			t.Fatalf("%s: a server that failed was taken for started", target)
		}
		for _, want := range []string{arguments, "port is taken", "exit status 3"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error lacks %q: %v", target, want, err)
			}
		}
	}
	if left, err := os.ReadDir(b.options.Scratch); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch directory: %v, %v", left, err)
	}
}

func TestServerIsStoppedByContextAndSignal(t *testing.T) {
	b := &benchmark{options: options{Scratch: t.TempDir()}, bfsd: shellProgram(t, "trap 'exit 0' TERM\nwhile :; do sleep 0.05; done\n")}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	// It never listens; the end of the context must end the wait, and the server with it.
	if _, err := b.startServer(ctx, localLauncher(), trial{targets[1], faults[0]}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v", err)
	}
}

func TestServerLogKeepsTheEnd(t *testing.T) {
	l := &serverLog{}
	for i := range 2 * serverLogBytes / 8 {
		if _, err := fmt.Fprintf(l, "%07d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Fields(l.tail())
	if want := fmt.Sprintf("%07d", 2*serverLogBytes/8-1); len(lines) != serverLogLines || lines[serverLogLines-1] != want || len(l.kept) > serverLogBytes {
		t.Errorf("%d lines, the last %q, of %d bytes; want %d, %q", len(lines), lines[len(lines)-1], len(l.kept), serverLogLines, want)
	}
}

func TestBenchmarkOfAPath(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	o := options{
		Workload: workloadAndrew, Targets: []string{"path:" + dir}, Client: clientKernel, Runs: 2, Scale: 1, Durability: "memory", Replicas: 4,
		Phases: []string{"makedir", "copy", "scandir"}, Out: out, MemoryMiB: 128, Timeout: time.Minute,
	}
	var table strings.Builder
	if err := runBenchmark(t.Context(), o, &table, null); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "ScanDir") || strings.Contains(table.String(), "Make  ") {
		t.Errorf("the table:\n%s", &table)
	}
	for _, name := range []string{"observations.jsonl", "summary.json"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestBenchmarkOfAllServers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds bfsd and starts clusters")
	}
	bfsd, err := buildBfsd(t.Context(), t.TempDir(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, client := range []string{clientLibrary, clientKernel} {
		t.Run(client, func(t *testing.T) {
			if client == clientKernel {
				kerneltest.Require(t, kernelclient.Available())
			}
			out := t.TempDir()
			o := options{
				Workload: workloadAndrew, Targets: targetNames(), Client: client, Quick: true, Durability: "memory", Replicas: 4,
				Phases: []string{"MakeDir", "Copy", "ScanDir", "ReadAll", "Make"}, Compiler: "auto", Out: out, Bfsd: bfsd,
				Scratch: t.TempDir(), MemoryMiB: 512, Timeout: 5 * time.Minute,
			}
			var table strings.Builder
			if err := runBenchmark(t.Context(), o, &table, null); err != nil {
				text, _ := os.ReadFile(filepath.Join(out, "observations.jsonl"))
				t.Fatalf("%v\n%s", err, text)
			}
			var s summary
			text, err := os.ReadFile(filepath.Join(out, "summary.json"))
			if err == nil {
				err = json.Unmarshal(text, &s)
			}
			chosen, left, chooseErr := o.choose() // other servers are skipped where they are not installed
			if err != nil || chooseErr != nil || len(s.Targets) != len(chosen) || len(s.Skipped) != len(left) || s.Baseline != targetPlain {
				t.Fatalf("summary %s: %v, %v", text, err, chooseErr)
			}
			for i, target := range s.Targets {
				if target.Target != chosen[i].name || target.Failed != 0 || target.Total.Ratio == nil || target.RPCs == nil || len(target.Phases) != len(andrewPhases) {
					t.Errorf("summary of %s: %+v", chosen[i].name, target)
				}
			}
			if left, err := os.ReadDir(o.Scratch); err != nil || len(left) > 0 {
				t.Errorf("left in the scratch directory: %v, %v", left, err)
			}
		})
	}
}

func TestTargetsThatAreNotInstalledAreSkippedByName(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	o := options{Workload: workloadAndrew, Targets: targetNames()}
	chosen, left, err := o.choose()
	if err != nil || len(chosen) != 3 || len(left) != len(targets)-3 {
		t.Fatalf("%d chosen, left out %v, %v", len(chosen), left, err)
	}
	for _, s := range left {
		if !strings.Contains(s.Reason, "make bench-deps") {
			t.Errorf("%s is left out since %q, without a word on how to install it", s.Target, s.Reason)
		}
	}
	var table strings.Builder
	if err := (&summary{Skipped: left}).print(&table); err != nil || !strings.Contains(table.String(), "knfsd-ext4: skipped, the Debian package nfs-kernel-server is not installed") {
		t.Errorf("the table says (%v):\n%s", err, &table)
	}
	o.Targets = o.Targets[3:]
	if _, _, err := o.choose(); err == nil || !strings.Contains(err.Error(), "ganesha-vfs") {
		t.Errorf("nothing to run: %v", err)
	}
	o = options{Workload: workloadSequential, Targets: []string{targetPlain, targetGaneshaMem}}
	if _, left, err := o.choose(); err != nil || len(left) != 1 || !strings.Contains(left[0].Reason, "MiB") {
		t.Errorf("a file that is too large: %v, %v", left, err)
	}
}

func TestFailedRunFailsTheBenchmark(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	out := t.TempDir()
	o := options{
		Workload: workloadAndrew, Targets: []string{targetPlain}, Client: clientLibrary, Runs: 1, Scale: 1, Durability: "memory", Replicas: 4,
		Phases: []string{"MakeDir"}, Out: out, MemoryMiB: 128, Timeout: time.Minute, Bfsd: shellProgram(t, "exit 1\n"),
	}
	if err := runBenchmark(t.Context(), o, io.Discard, null); !errors.Is(err, errRunsFailed) {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(filepath.Join(out, "observations.jsonl"))
	if err != nil || !strings.Contains(string(text), `"verified":false`) || !strings.Contains(string(text), `"error":"start plain`) {
		t.Errorf("observation %s, %v", text, err)
	}
}

func TestFlags(t *testing.T) {
	good := options{Workload: workloadAndrew, Targets: []string{"bfs", "plain", "go-nfs"}, Client: clientKernel, Runs: 5, Scale: 10, Replicas: 7, Phases: []string{"Copy", "makedir"}, MemoryMiB: 1024, Timeout: time.Minute}
	if phases, err := good.check(); err != nil || !slices.Equal(phases, []phase{phaseMakeDir, phaseCopy}) {
		t.Errorf("phases %v, %v", phases, err)
	}
	quick := good
	quick.Quick = true
	if _, err := quick.check(); err != nil || quick.Runs != 1 || quick.Scale != 1 {
		t.Errorf("--quick: %d runs at scale %d, %v", quick.Runs, quick.Scale, err)
	}
	for want, change := range map[string]func(o *options){
		"no target is called \"nfs\"": func(o *options) { o.Targets = []string{"nfs"} },
		"is no directory":             func(o *options) { o.Targets = []string{"path:/no/such/dir"} },
		"names plain twice":           func(o *options) { o.Targets = []string{"plain", "bfs", "plain"} },
		"names no target":             func(o *options) { o.Targets = nil },
		"is a mount already":          func(o *options) { o.Targets, o.Client = []string{"path:/tmp"}, clientLibrary },
		"--runs":                      func(o *options) { o.Runs = 0 },
		"--scale":                     func(o *options) { o.Scale = 10000 },
		"--replicas":                  func(o *options) { o.Replicas = 5 },
		"--memory":                    func(o *options) { o.MemoryMiB = 1 },
		"--timeout":                   func(o *options) { o.Timeout = 0 },
		"is called \"link\"":          func(o *options) { o.Phases = []string{"link"} },
		"no phase of the workload":    func(o *options) { o.Workload, o.Phases = workloadSequential, []string{"Copy"} },
		"no workload is called \"x\"": func(o *options) { o.Workload = "x" },
	} {
		o := good
		change(&o)
		if _, err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
