package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// options are the flags.
type options struct {
	Parts      []string      `help:"What to measure: groups (of several sizes, and the unreplicated server), switches (each optimisation off against all on), view-change (the primary is killed), checkpoint (several intervals, with and without much state). Default: ${default}." default:"groups,switches,view-change,checkpoint" placeholder:"LIST"`
	Ops        []string      `help:"Operations of groups: bytes of argument and of result. Default: ${default}." default:"0/0,4k/0,0/4k" placeholder:"LIST"`
	Modes      []string      `help:"rw: ordered operations. ro: read-only ones." enum:"rw,ro" default:"rw,ro" placeholder:"LIST"`
	Clients    []int         `help:"How many clients call at a time, each one call after the other. switches, view-change and checkpoint take the fewest and the most. Default: ${default}." default:"1,5,20" placeholder:"LIST"`
	Replicas   []int         `help:"Sizes of groups, 3f+1. switches and checkpoint take the first. Default: ${default}." default:"4,7,10" placeholder:"LIST"`
	Switches   []string      `help:"all, or names of optimisations in cluster.toml, or everything (all off at once). Default: ${default}." default:"all" placeholder:"LIST"`
	SwitchOps  []string      `help:"Operations of switches; those with an argument only as rw. Default: ${default}." default:"0/0,0/4k,64k/0" placeholder:"LIST"`
	Intervals  []int         `help:"Batches between checkpoints, for checkpoint; the last is what the others are compared with. Default: ${default}." default:"32,128,512" placeholder:"LIST"`
	StateMiB   []int64       `name:"state" help:"MiB of files in the state, for checkpoint. Default: ${default}." default:"16,256" placeholder:"LIST"`
	Runs       int           `help:"Repetitions of everything, interleaved (${default})." default:"5" placeholder:"N"`
	Duration   time.Duration `help:"Of one measurement (${default})." default:"500ms" placeholder:"D"`
	Outage     time.Duration `help:"Of one measurement of view-change: the view-change timeout is 0.5s, and doubles if need be (${default})." default:"3s" placeholder:"D"`
	Warmup     time.Duration `help:"Before each (${default})." default:"100ms" placeholder:"D"`
	Durability string        `help:"What replicas do before they answer: memory, os (write a log), disk (sync it)." enum:"memory,os,disk" default:"memory"`
	Gateways   int           `help:"Principals that the clients' calls are spread over, each with links of its own (${default}): as an NFS gateway, one carries 64 calls at a time." default:"1" placeholder:"N"`
	Out        string        `help:"Where to write observations.jsonl (one line per measurement), summary.json and tables.md. Old ones there are replaced. Default: ${default}." default:"observations/null" placeholder:"DIR"`
	Scratch    string        `help:"Where to make the clusters' directories; decides which disk durability disk is about. Default: the system's temporary directory." placeholder:"DIR"`
	Quick      bool          `help:"One short run of a little of everything: does it work?"`
}

const description = `Null operations (TOCS §8.1): what agreement costs when the service does nothing. Latency, throughput and processor time of groups of several sizes beside an unreplicated server over the same links; each optimisation off against all on; the pause when the primary dies; the cost of checkpoints.

All processes run on this machine. Every result is checked, and after every measurement the replicas must have equal roots; a failure makes the exit status 1. Figures are medians of interleaved runs, and ratios inside one invocation; do not compare across machines or invocations. The tables are printed as Markdown.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "null:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if role := os.Getenv(roleVariable); role != "" {
		return runRole(ctx, role, os.Stdin, os.Stdout)
	}
	var o options
	kong.Parse(&o, kong.Name("null"), kong.Description(description))
	return runBenchmark(ctx, o, os.Stdout, os.Stderr)
}
