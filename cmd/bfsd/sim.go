package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"bfsd/replica/sim"
	"bfsd/replica/wire"
)

type simCmd struct {
	Seed     *uint64       `xor:"which" placeholder:"S" help:"Run this one seed."`
	Seeds    uint64        `xor:"which" placeholder:"N" help:"Run N seeds on all processors (1000 when neither is given)."`
	From     uint64        `default:"1" placeholder:"S" help:"The first of the seeds (1)."`
	F        int           `placeholder:"F" help:"Faults that the groups tolerate: 3F+1 replicas; drawn from the seed, mostly 1, unless given."`
	Duration time.Duration `placeholder:"D" help:"How long the faults last, in simulated time; drawn from the seed, under a second, unless given."`
	Within   time.Duration `placeholder:"D" help:"Begin no seed after this much real time."`
	Service  string        `enum:"fs,kv" default:"fs" help:"What is replicated: the file system (fs, the default) or a small key-value store (kv), several times faster."`
	Stop     int           `default:"10" placeholder:"N" help:"Begin no seed after N have failed (10)."`
	Trace    bool          `help:"Print one line per event; with --seed."`
}

// Help is shown by --help below the summary.
func (simCmd) Help() string {
	return `Runs whole clusters inside this process, on a simulated network, disk and clock, each from one seed: messages are lost, repeated and late, replicas crash and restart, up to f of them (and some clients) lie. Then the faults but f end, everything pending must complete, and all correct replicas must agree. The same seed gives the same run, event for event. Exit code 0: nothing is wrong; 1: a seed failed; the command that repeats it is printed.`
}

// Run implements the subcommand.
func (c simCmd) Run(p *process) error {
	o := sim.Options{F: c.F, Duration: c.Duration, Scenario: fileSystemScenario()}
	if c.Service == "kv" {
		o.Scenario = sim.KV()
	}
	if c.F < 0 || 3*c.F+1 > wire.MaxReplicas {
		return &exitError{exitUsage, fmt.Errorf("--f %d: 1 to %d are possible", c.F, (wire.MaxReplicas-1)/3)}
	}
	if c.Seed != nil {
		o.Seed = *c.Seed
		return c.one(p, o)
	}
	if c.Trace {
		return &exitError{exitUsage, errors.New("--trace is for one run: give its --seed")}
	}
	o.Seed = c.From
	if c.Seeds == 0 {
		c.Seeds = 1000
	}
	return c.many(p, o)
}

// one runs one seed.
func (c simCmd) one(p *process, o sim.Options) error {
	out := bufio.NewWriter(p.stdout)
	if c.Trace {
		o.Trace = out
	}
	began := time.Now()
	stats, failure := sim.Run(o)
	if err := out.Flush(); err != nil {
		return err
	}
	if failure != nil {
		return fmt.Errorf("%v\nrun it again with: %s", failure, c.replay(o.Seed))
	}
	fmt.Fprintf(p.stdout, "seed %d: nothing is wrong (%v)\n%s\n", o.Seed, time.Since(began).Round(time.Millisecond), describeStats(stats))
	return nil
}

// many runs the seeds and reports.
func (c simCmd) many(p *process, o sim.Options) error {
	ctx := p.ctx
	if c.Within > 0 {
		bounded, cancel := context.WithTimeout(ctx, c.Within)
		defer cancel()
		ctx = bounded
	}
	bar := newSimBar(p, c.Seeds)
	sum := sim.Many(ctx, o, c.Seeds, c.Stop, func(f *sim.Failure) {
		bar.add()
		if f != nil {
			bar.say(fmt.Sprintf("%v\n  run it again with: %s\n", f, c.replay(f.Seed)))
		}
	})
	bar.finish()
	fmt.Fprintf(p.stdout, "%d seeds from %d in %v: %.0f per second, %d failed\n%s\n",
		sum.Runs, o.Seed, sum.Took.Round(10*time.Millisecond), float64(sum.Runs)/sum.Took.Seconds(), len(sum.Failures), describeStats(sum.Stats))
	if len(sum.Failures) > 0 {
		return fmt.Errorf("%d of %d seeds failed; the first: %s", len(sum.Failures), sum.Runs, c.replay(sum.Failures[0].Seed))
	}
	return nil
}

// replay is the command that repeats a seed.
func (c simCmd) replay(seed uint64) string {
	s := fmt.Sprintf("bfsd sim --seed %d", seed)
	if c.F != 0 {
		s += fmt.Sprintf(" --f %d", c.F)
	}
	if c.Duration != 0 {
		s += fmt.Sprintf(" --duration %v", c.Duration)
	}
	if c.Service != "fs" {
		s += " --service " + c.Service
	}
	return s + " --trace"
}

func describeStats(s sim.Stats) string {
	return fmt.Sprintf("%v simulated: %d batches with %d requests, %d reads without order, %d new views, %d rollbacks, %d proposals abandoned, "+
		"%d checkpoints, %d state transfers, %d crashes, %d rejoins, %d messages (%d refused); longest way back to health %v",
		time.Duration(s.Simulated).Round(time.Millisecond), s.Batches, s.Requests, s.Reads, s.NewViews, s.Rollbacks, s.Abandoned,
		s.Checkpoints, s.Transfers, s.Crashes, s.Rejoins, s.Messages, s.Refused, time.Duration(s.Healing).Round(time.Millisecond))
}

// simBar shows how far the seeds are: a bar on a terminal, else nothing but what is said.
type simBar struct {
	p   *process
	bar *progressbar.ProgressBar
}

func newSimBar(p *process, seeds uint64) *simBar {
	b := &simBar{p: p}
	if f, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.bar = progressbar.NewOptions64(int64(seeds), progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("seeds"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("seeds"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	}
	return b
}

func (b *simBar) add() {
	if b.bar != nil {
		_ = b.bar.Add(1) // fails only past its end
	}
}

func (b *simBar) say(text string) {
	if b.bar != nil {
		_ = b.bar.Clear() // it has nothing to fail on but the terminal
	}
	fmt.Fprint(b.p.stderr, text)
}

func (b *simBar) finish() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
}
