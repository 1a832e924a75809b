package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"bfsd/internal/kernelclient"
)

// options are the flags.
type options struct {
	Workload   string        `help:"What to run: andrew, the Andrew benchmark; postmark, a mail server's many small files, after PostMark; sequential, a large file written and then read past the client's caches. Default: ${default}." enum:"andrew,postmark,sequential" default:"andrew"`
	Targets    []string      `help:"What to measure, in this order, interleaved: ${targets}. Those that are not installed are skipped. Default: ${default}." default:"bfs,plain,go-nfs" placeholder:"LIST"`
	Client     string        `help:"kernel: a Linux NFSv3 mount, with its caches, in user-mode Linux where this machine's kernel has none (needs root). library: an NFSv3 client in this process, without caches: every step is a call." enum:"kernel,library" default:"kernel"`
	Runs       int           `help:"Repetitions of each target (${default})." default:"5" placeholder:"N"`
	Scale      int           `help:"Size (${default}). Of andrew: copies of the source tree, some 70 files and 200 KB each; Andrew100 and Andrew500 of the paper are scales 100 and 500. Of postmark: 50 files and 100 transactions. Of sequential: 16 MiB." default:"10" placeholder:"N"`
	Durability string        `help:"What bfs promises of an acknowledged write: memory (it is in the memory of a quorum), os (written, survives kill -9 of all), disk (synced, survives a power cut of all). The other targets promise what they are made for." enum:"memory,os,disk" default:"memory"`
	Replicas   int           `help:"Replicas of bfs, 3f+1 (${default})." default:"4" placeholder:"N"`
	Faults     []string      `help:"What shall be wrong with bfs while the workload runs; the other targets run without. Of ${faults}; all are all. Where any but none is named, a prober writes beside every run. Default: ${default}." default:"none" placeholder:"LIST"`
	Slow       time.Duration `help:"How late the Byzantine primary of slow-primary proposes each batch (${default}); 0: four fifths of the view-change timeout, the most that keeps it in its place." default:"20ms"`
	Probe      time.Duration `help:"How often the prober writes (${default}); 0: never." default:"20ms"`
	Phases     []string      `help:"Phases to measure; earlier ones that these need run unmeasured. Of andrew: MakeDir, Copy, ScanDir, ReadAll, Make. Of postmark: Create, Transactions, Delete. Of sequential: Write, Read. Default: all." placeholder:"LIST"`
	Compiler   string        `help:"What Make compiles with: auto takes the first found of tcc, gcc, cc, go. gcc forks twice per file, which user-mode Linux makes dear." enum:"auto,tcc,gcc,cc,go" default:"auto"`
	Seed       uint64        `help:"Seed of the source tree." default:"1"`
	Out        string        `help:"Where to write observations.jsonl (one line per run) and summary.json. Old ones there are replaced. Default: ${default}." default:"observations/andrew" placeholder:"DIR"`
	Quick      bool          `help:"One run at scale 1: does it work?"`
	Keep       bool          `help:"Keep the clusters' directories, and the files under path:DIR."`
	Bfsd       string        `help:"A bfsd binary to measure, instead of building cmd/bfsd." placeholder:"FILE"`
	Scratch    string        `help:"Where to make the clusters' directories; decides which disk durability disk is about. Default: the system's temporary directory." placeholder:"DIR"`
	MemoryMiB  int           `name:"memory" help:"Memory of a user-mode Linux client, its cache included, in MiB (${default})." default:"1024" placeholder:"MIB"`
	Timeout    time.Duration `help:"Longest time one run may take, servers' start and verification included." default:"20m"`
}

const description = `Runs the Andrew benchmark, or another workload, on NFS servers and compares them.

Each run has a fresh server and ends with a verification: everything is read again past the client's caches and compared with what was written; a difference fails the benchmark (exit status 1). Figures are medians of interleaved runs and ratios to the target plain inside one invocation; do not compare across machines or invocations.

With the kernel client, the phase Make of andrew runs a compiler on the mount. With the library client, it reads all sources and writes the objects that the compiler made beforehand: file-system work alone.`

func main() {
	kernelclient.Agent(guestHandlers()) // in the kernel client this never returns
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "andrew:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	kong.Parse(&o, kong.Name("andrew"), kong.Description(description), kong.Vars{"faults": strings.Join(faultNames(), ", "), "targets": targetHelp()})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runBenchmark(ctx, o, os.Stdout, os.Stderr)
}

// check refuses flags that cannot be run, and resolves the phases.
func (o *options) check() ([]phase, error) {
	if o.Quick {
		o.Runs, o.Scale = 1, 1
	}
	const scaleMax, runsMax = 9999, 1000
	switch {
	case len(o.Targets) == 0:
		return nil, errors.New("--targets names no target")
	case o.Runs < 1 || o.Runs > runsMax:
		return nil, fmt.Errorf("--runs must be between 1 and %d", runsMax)
	case o.Scale < 1 || o.Scale > scaleMax:
		return nil, fmt.Errorf("--scale must be between 1 and %d", scaleMax)
	case o.Replicas < 4 || o.Replicas%3 != 1:
		return nil, fmt.Errorf("--replicas must be 3f+1 with f at least 1 (4, 7, 10, ...), not %d", o.Replicas)
	case o.MemoryMiB < 128:
		return nil, errors.New("--memory must be at least 128")
	case o.Timeout <= 0:
		return nil, errors.New("--timeout must be positive")
	case o.Slow < 0 || o.Slow > time.Minute || o.Probe < 0 || o.Probe > time.Minute:
		return nil, errors.New("--slow and --probe must be between 0 and a minute")
	}
	for i, target := range o.Targets {
		if _, err := findTarget(target); err != nil {
			return nil, err
		}
		if slices.Contains(o.Targets[:i], target) {
			return nil, fmt.Errorf("--targets names %s twice", target)
		}
		if isPath(target) && o.Client != clientKernel {
			return nil, fmt.Errorf("target %s is a mount already, and is measured with --client kernel", target)
		}
	}
	kind, err := kindOf(o.Workload)
	if err != nil {
		return nil, err
	}
	phases, err := kind.choose(o.Phases)
	if err != nil {
		return nil, err
	}
	chosen, err := chooseFaults(o.Faults)
	if err != nil {
		return nil, err
	}
	for _, f := range chosen {
		if w := (workload{Name: o.Workload, Phases: phases}); f.strike != nil && !w.needs(kind.struck) {
			return nil, fmt.Errorf("fault %s strikes in the phase %s, which --phases leaves out", f.name, kind.struck)
		}
	}
	return phases, nil
}
