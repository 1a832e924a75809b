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
)

// benchmark runs every target as often as asked, interleaved: A B C A B C.
type benchmark struct {
	options  options
	workload workload
	bfsd     string
	machine  measure.Machine
	record   *measure.Recorder[observation]
	progress *measure.Progress
	kernel   *kernelClient // the current one; nil until it is needed, and after it failed
	out      io.Writer
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
	if slices.ContainsFunc(o.Targets, func(t string) bool { return !isPath(t) }) {
		if b.bfsd = o.Bfsd; b.bfsd == "" {
			dir, err := os.MkdirTemp(o.Scratch, "andrew-build-")
			if err != nil {
				return fmt.Errorf("make a directory for the build: %w", err)
			}
			defer os.RemoveAll(dir)
			if b.bfsd, err = buildBfsd(ctx, dir, progressOut); err != nil {
				return err
			}
		}
	}
	if b.record, err = measure.NewRecorder[observation](o.Out); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.record.Close(), b.closeKernel()) }()
	b.progress = measure.NewProgress(progressOut, len(o.Targets)*o.Runs*len(phases))
	failed := false
	for run := 1; run <= o.Runs && ctx.Err() == nil; run++ {
		for _, target := range o.Targets {
			if ctx.Err() != nil {
				break
			}
			ok, err := b.observe(ctx, target, run)
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

// observe makes one run of one target and records it, whatever comes of it. ok is false for a run that failed.
func (b *benchmark) observe(ctx context.Context, target string, run int) (ok bool, err error) {
	o := observation{
		Date: time.Now().UTC().Truncate(time.Second), Run: run, Workload: b.workload.Name, Target: target, Fault: faultNone, Client: b.options.Client,
		Scale: b.options.Scale, Seed: b.options.Seed, Durability: b.durability(target), Compiler: b.workload.Compiler.Name, Load: measure.LoadAverage(), Machine: b.machine,
	}
	if target == targetBFS {
		o.Replicas = b.options.Replicas
	}
	b.progress.Starting(fmt.Sprintf("run %d/%d %s", run, b.options.Runs, target))
	runCtx, cancel := context.WithTimeout(ctx, b.options.Timeout)
	defer cancel()
	phasesDone := 0
	runErr := b.run(runCtx, &o, func(m mark) {
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
		if err := b.closeKernel(); err != nil { // a client that has seen a failure is not trusted with the next run
			o.Error += "\n" + err.Error()
		}
	}
	b.progress.RunDone(b.runLine(o))
	return runErr == nil, b.record.Record(o)
}

// durability is what a target promises: only bfs has a choice.
func (b *benchmark) durability(target string) string {
	switch {
	case target == targetBFS:
		return b.options.Durability
	case isPath(target):
		return "unknown"
	default:
		return "memory"
	}
}

func (b *benchmark) runLine(o observation) string {
	head := fmt.Sprintf("run %d/%d %s:", o.Run, b.options.Runs, o.Target)
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

// run starts the target, attaches the client, runs the phases, verifies, and takes everything down again.
func (b *benchmark) run(ctx context.Context, o *observation, tell func(mark)) (err error) {
	s, closeSession, err := b.attach(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSession()) }()
	m, err := s.Run(ctx, b.workload, tell)
	if err != nil {
		return err
	}
	o.measurement = *m
	v, err := s.Verify(ctx, b.workload)
	if err != nil {
		return err
	}
	o.Verified, o.VerifiedFiles, o.VerifiedBytes = true, v.Files, v.Bytes
	return nil
}

// attach starts what the target needs and connects the client to it; the function it returns undoes both.
func (b *benchmark) attach(ctx context.Context, o *observation) (session, func() error, error) {
	if isPath(o.Target) {
		o.Kernel = "native"
		s, err := newPathSession(strings.TrimPrefix(o.Target, targetPathPrefix), b.options.Keep)
		if err != nil {
			return nil, nil, err
		}
		return s, func() error { return s.Close(ctx) }, nil
	}
	l := localLauncher()
	if o.Client == clientKernel {
		if b.kernel == nil {
			var err error
			if b.kernel, err = newKernelClient(ctx, b.options.MemoryMiB, b.workload); err != nil {
				return nil, nil, err
			}
		}
		l = b.kernel.launcher()
		o.Kernel = string(b.kernel.guest.Kind())
	}
	start := time.Now()
	srv, err := b.startServer(ctx, l, o.Target)
	if err != nil {
		return nil, nil, err
	}
	o.StartSeconds = time.Since(start).Seconds()
	var s session
	if o.Client == clientKernel {
		s, err = b.kernel.session(ctx, srv)
	} else {
		s = newLibrarySession(srv)
	}
	if err != nil {
		return nil, nil, errors.Join(err, srv.stop())
	}
	return s, func() error { return errors.Join(s.Close(ctx), srv.stop()) }, nil
}

func (b *benchmark) closeKernel() error {
	if b.kernel == nil {
		return nil
	}
	network := b.kernel.network
	b.kernel = nil
	return network.Close()
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
	s.Load = measure.NewStatistic(loads)
	s.Targets = summarize(b.record.All, s.Baseline)
	if err := measure.WriteSummary(b.options.Out, s); err != nil {
		return err
	}
	return s.printTable(b.out)
}

func isPath(target string) bool { return strings.HasPrefix(target, targetPathPrefix) }
