package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"bfsd/bench/internal/measure"
	"bfsd/internal/kernelclient"
)

// benchmark runs every target as often as asked, interleaved: A B C A B C.
type benchmark struct {
	options  options
	workload workload
	targets  []target
	skipped  []skipped
	faults   []fault // to which bfs is put; the other targets run without
	bfsd     string
	// byzantine is a bfsd whose replicas misbehave when they are told to.
	byzantine string
	machine   measure.Machine
	settings  *settings // of the last cluster
	record    *measure.Recorder[observation]
	progress  *measure.Progress
	network   *kernelclient.Network // the current one; nil until it is needed, and after a failure
	kernel    *kernelClient         // in the network; nil likewise
	out       io.Writer
}

// errRunsFailed makes the program fail although it measured to the end.
var errRunsFailed = errors.New("some runs failed or were not verified")

// runBenchmark is the whole program after the flags.
func runBenchmark(ctx context.Context, o options, out io.Writer, progressOut *os.File) (err error) {
	phases, err := o.check()
	if err != nil {
		return err
	}
	b := &benchmark{options: o, machine: measure.ThisMachine(ctx), out: out}
	if b.workload, err = newWorkload(ctx, o, phases); err != nil {
		return err
	}
	if b.faults, err = chooseFaults(o.Faults); err != nil {
		return err
	}
	if b.targets, b.skipped, err = o.choose(); err != nil {
		return err
	}
	for _, s := range b.skipped {
		fmt.Fprintf(progressOut, "skipped %s: %s\n", s.Target, s.Reason)
	}
	cleanBuild, err := b.build(ctx, progressOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanBuild()) }()
	if b.record, err = measure.NewRecorder[observation](o.Out); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.record.Close(), b.closeNetwork()) }()
	round := b.round()
	b.progress = measure.NewProgress(progressOut, len(round)*o.Runs*len(phases))
	failed := false
	for run := 1; run <= o.Runs && ctx.Err() == nil; run++ {
		for _, t := range round {
			if ctx.Err() != nil {
				break
			}
			ok, err := b.observe(ctx, t, run)
			if err != nil {
				return err
			}
			failed = failed || !ok
		}
	}
	b.progress.Finish()
	if err := b.report(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	if failed {
		return errRunsFailed
	}
	return nil
}

// trial is a target under a fault.
type trial struct {
	target target
	fault  fault
}

func (t trial) String() string {
	if t.fault.name == faultNone {
		return t.target.name
	}
	return t.target.name + ", " + t.fault.name
}

// round is what is run once before anything is run again. Only bfs has replicas to be faulty.
func (b *benchmark) round() (list []trial) {
	for _, t := range b.targets {
		if t.name != targetBFS {
			list = append(list, trial{t, faults[0]})
			continue
		}
		for _, f := range b.faults {
			list = append(list, trial{t, f})
		}
	}
	return list
}

// build builds what the trials need. The function it returns removes it.
func (b *benchmark) build(ctx context.Context, log io.Writer) (clean func() error, err error) {
	ordinary, byzantine := false, false
	for _, t := range b.round() {
		ordinary = ordinary || slices.Contains([]string{targetBFS, targetPlain, targetGoNFS}, t.target.name)
		byzantine = byzantine || t.fault.byzantine != nil
	}
	if b.bfsd = b.options.Bfsd; b.bfsd != "" {
		ordinary = false
	}
	dir, err := os.MkdirTemp(b.options.Scratch, "andrew-build-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the build: %w", err)
	}
	if ordinary {
		b.bfsd, err = buildBfsd(ctx, dir, "", log)
	}
	if byzantine && err == nil {
		b.byzantine, err = buildBfsd(ctx, dir, "byzantine", log)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return func() error { return os.RemoveAll(dir) }, nil
}

func newWorkload(ctx context.Context, o options, phases []phase) (workload, error) {
	w := workload{Name: o.Workload, Seed: o.Seed, Scale: o.Scale, Phases: phases, Compiler: compiler{Language: langC}}
	if !slices.Contains(phases, phaseMake) {
		return w, nil
	}
	var err error
	if w.Compiler, err = findCompiler(ctx, o.Compiler); err != nil {
		return w, err
	}
	w.Outputs, err = w.Compiler.referenceOutputs(ctx, generateTree(w.Seed, w.Compiler.Language))
	return w, err
}

// observe makes one run of one trial and records it, whatever comes of it. ok is false for a run that failed.
func (b *benchmark) observe(ctx context.Context, t trial, run int) (ok bool, err error) {
	o := observation{
		Date: time.Now().UTC().Truncate(time.Second), Run: run, Workload: b.workload.Name, Target: t.target.name, Fault: t.fault.name, Client: b.options.Client,
		Scale: b.options.Scale, Seed: b.options.Seed, Durability: t.target.promises(b.options), Compiler: b.workload.Compiler.Name, Load: measure.LoadAverage(), Machine: b.machine,
	}
	if t.target.name == targetBFS {
		o.Replicas = b.options.Replicas
	}
	b.progress.Starting(fmt.Sprintf("run %d/%d %s", run, b.options.Runs, t))
	runCtx, cancel := context.WithTimeout(ctx, b.options.Timeout)
	defer cancel()
	phasesDone := 0
	runErr := b.run(runCtx, &o, t, func(m mark) {
		if m.point == phaseDone {
			phasesDone++
			b.progress.StepsDone(1)
		}
	})
	b.progress.StepsDone(len(b.workload.Phases) - phasesDone)
	if runErr != nil && ctx.Err() != nil {
		return true, nil // interrupted: neither a result nor a failure of the target
	}
	if runErr != nil {
		o.Verified, o.Error = false, runErr.Error()
		if err := b.closeNetwork(); err != nil { // a client that has seen a failure is not trusted with the next run
			o.Error += "\n" + err.Error()
		}
	}
	b.progress.RunDone(b.runLine(o, t))
	return runErr == nil, b.record.Record(o)
}

func (b *benchmark) runLine(o observation, t trial) string {
	head := fmt.Sprintf("run %d/%d %s:", o.Run, b.options.Runs, t)
	if o.Error != "" {
		return head + " FAILED: " + o.Error
	}
	parts := []string{head}
	kind := b.workload.kind()
	for _, p := range kind.names() {
		if seconds, ok := o.Phases[p]; ok {
			parts = append(parts, fmt.Sprintf("%s %.3f", p, seconds))
		}
		if rate, ok := o.Rates[p]; ok {
			parts = append(parts, fmt.Sprintf("(%.1f %s)", rate, kind.unit(p)))
		}
	}
	parts = append(parts, fmt.Sprintf("total %.3f s, longest pause %.4f s, verified %d files", o.Total, o.LongestPause, o.VerifiedFiles))
	return strings.Join(parts, " ")
}

// report writes summary.json and prints the table.
func (b *benchmark) report() error {
	s := &summary{
		Date: time.Now().UTC().Truncate(time.Second), Command: measure.Command("./bench/andrew"), Workload: b.workload.Name, Client: b.options.Client, Scale: b.options.Scale,
		Durability: b.options.Durability, Compiler: b.workload.Compiler.Name, Machine: b.machine,
	}
	s.Files, s.Bytes = b.workload.script().size()
	s.Units = b.workload.kind().units()
	var loads []float64
	for _, o := range b.record.All {
		loads = append(loads, o.Load)
		s.Kernel = o.Kernel
		if o.Target == targetPlain && o.Verified {
			s.Baseline = targetPlain
		}
	}
	s.Skipped, s.About, s.Settings = b.skipped, b.about(), b.settings
	s.Load = measure.NewStatistic(loads)
	s.Targets = summarize(b.record.All, s.Baseline)
	if err := measure.WriteSummary(b.options.Out, s); err != nil {
		return err
	}
	return s.print(b.out)
}
