package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bfsd/bench/internal/measure"
)

// benchmark carries out the plan as often as asked: every run goes through all of it, so that what is compared alternates.
type benchmark struct {
	options  options
	steps    []step
	machine  measure.Machine
	load     float64 // before anything ran
	record   *measure.Recorder[observation]
	progress *measure.Progress
}

// errRunsFailed makes the program fail although it measured to the end.
var errRunsFailed = errors.New("some measurements failed; see observations.jsonl")

// echoDuration is how long the echo runs, once in every run.
const echoDuration = 200 * time.Millisecond

// runBenchmark is the whole program after the flags.
func runBenchmark(ctx context.Context, o options, out io.Writer, progressOut *os.File) (err error) {
	b := &benchmark{machine: measure.ThisMachine(ctx), load: measure.LoadAverage()}
	if b.steps, err = o.plan(); err != nil {
		return err
	}
	b.options = o
	if b.record, err = measure.NewRecorder[observation](o.Out); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.record.Close()) }()
	count := 0
	for _, s := range b.steps {
		count += len(s.measurements)
	}
	b.progress = measure.NewProgress(progressOut, count*o.Runs)
	failed := false
	for run := 1; run <= o.Runs && ctx.Err() == nil; run++ {
		ok, err := b.run(ctx, run)
		if err != nil {
			return err
		}
		failed = failed || !ok
	}
	b.progress.Finish()
	if err := b.report(out); err != nil {
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

// run goes once through the plan. ok is false if a measurement failed.
func (b *benchmark) run(ctx context.Context, run int) (ok bool, err error) {
	echo := observation{Run: run, Target: targetEcho, Fault: faultNone, Clients: 1, Op: fmt.Sprintf("%d/%d", echoBytes, echoBytes)}
	b.stamp(&echo)
	if echo.Latency, err = tcpEcho(ctx, min(echoDuration, b.options.Duration)); err != nil {
		return false, err
	}
	echo.Verified = true
	if err := b.record.Record(echo); err != nil {
		return false, err
	}
	ok = true
	for i := 0; i < len(b.steps) && ctx.Err() == nil; i++ {
		good, err := b.step(ctx, run, &b.steps[i])
		if err != nil {
			return false, err
		}
		ok = ok && good
	}
	return ok, nil
}

func (b *benchmark) stamp(o *observation) {
	o.Date, o.Load, o.Machine = time.Now().UTC().Truncate(time.Second), measure.LoadAverage(), b.machine
}

// step makes one group and all measurements in it. After one that failed the group is given up.
func (b *benchmark) step(ctx context.Context, run int, s *step) (ok bool, err error) {
	done := 0
	defer func() { b.progress.StepsDone(len(s.measurements) - done) }()
	b.progress.Starting(fmt.Sprintf("run %d/%d %s", run, b.options.Runs, s.setting.label()))
	g, runErr := startGroup(ctx, b.options.Scratch, s.setting)
	for i := range s.measurements {
		m := &s.measurements[i]
		o := b.describe(run, s, m)
		if runErr == nil {
			runErr = g.measure(ctx, m, &o)
		}
		if runErr != nil && ctx.Err() != nil {
			break // interrupted: neither a result nor a failure
		}
		if runErr != nil {
			o.Verified, o.Error = false, b.portable(runErr.Error())
		}
		if err := b.record.Record(o); err != nil {
			return false, errors.Join(err, stopGroup(g))
		}
		b.progress.RunDone(runLine(&o, b.options.Runs))
		b.progress.StepsDone(1)
		done++
		if runErr != nil {
			break
		}
	}
	stopErr := stopGroup(g)
	if runErr == nil && stopErr != nil {
		return false, stopErr
	}
	return runErr == nil || ctx.Err() != nil, nil
}

func stopGroup(g *group) error {
	if g == nil {
		return nil
	}
	return g.stop()
}

// describe is the observation of a measurement before it is made.
func (b *benchmark) describe(run int, s *step, m *measurement) observation {
	o := observation{
		Run: run, Part: s.part, Target: targetGroup, Replicas: s.setting.replicas, Off: s.setting.off, Fault: faultNone,
		Durability: string(s.setting.durability), Gateways: s.setting.gateways, Interval: s.setting.interval, StateMiB: s.setting.state >> 20,
		Mode: m.mode, Op: m.size.String(), Clients: m.clients,
	}
	if s.setting.replicas == 0 {
		o.Target, o.Durability = targetPlain, "memory"
	}
	if m.kill {
		o.Fault = faultKilled
	}
	b.stamp(&o)
	return o
}

// measure makes one measurement in the group and verifies it.
func (g *group) measure(ctx context.Context, m *measurement, o *observation) error {
	ctx, done := g.watch(ctx)
	defer done()
	before, err := g.agree(ctx, 0)
	if err != nil {
		return err
	}
	order := loadOrder{
		Clients: m.clients, ReadOnly: m.mode == modeReadOnly, Args: m.size.args, Result: m.size.result, Pages: m.pages,
		Warmup: g.warmup, Duration: m.duration, CPU: !m.kill, Executed: before.Executed, Interval: uint64(g.interval),
	}
	if err := g.load.send(order); err != nil {
		return err
	}
	event, err := g.load.receive(ctx, &o.loadReport)
	if err != nil {
		return err
	}
	if event != eventMeasuring {
		return fmt.Errorf("the clients said %q instead of that they measure", event)
	}
	minView := uint64(0)
	if m.kill {
		if err := g.servers[before.Primary].kill(); err != nil {
			return err
		}
		minView = before.View + 1
	}
	if _, err := g.load.receive(ctx, &o.loadReport); err != nil {
		return err
	}
	after, err := g.agree(ctx, minView)
	if err != nil {
		return err
	}
	batches := after.Executed - before.Executed
	if batches != uint64(o.Calls) { // it is not known which call was which batch
		o.AfterCheckpoint, o.Otherwise = nil, nil
	}
	o.derive(batches)
	o.Verified = true
	return nil
}

// label names a setting in progress and tables.
func (s *setting) label() string {
	if s.replicas == 0 {
		return targetPlain
	}
	text := fmt.Sprintf("%d replicas", s.replicas)
	if s.off != "" {
		text += " without " + about(s.off)
	}
	if s.state > 0 {
		text += fmt.Sprintf(", %d MiB, checkpoint every %d batches", s.state>>20, s.interval)
	}
	return text
}

func runLine(o *observation, runs int) string {
	s := setting{replicas: o.Replicas, off: o.Off, interval: o.Interval, state: o.StateMiB << 20}
	head := fmt.Sprintf("run %d/%d %s: %s %s, %d clients, %s", o.Run, runs, o.Part, s.label(), o.Mode, o.Clients, o.Op)
	if o.Error != "" {
		return head + ": FAILED: " + o.Error
	}
	return fmt.Sprintf("%s: p50 %.0f µs, p99.9 %.0f µs, %.0f/s, %.0f µs of processor each, longest pause %.1f ms",
		head, o.Latency.P50*1e6, o.Latency.P999*1e6, o.Throughput, o.CPUPerOp*1e6, o.LongestPause*1e3)
}

// portable takes from a message the paths of this machine.
func (b *benchmark) portable(text string) string {
	scratch := b.options.Scratch
	if scratch == "" {
		scratch = os.TempDir()
	}
	text = strings.ReplaceAll(text, filepath.Clean(scratch), "SCRATCH")
	if self, err := os.Executable(); err == nil {
		text = strings.ReplaceAll(text, self, "null")
	}
	return text
}
