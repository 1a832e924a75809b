package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"bfsd/fsstate"
)

// window is one measurement: its callers call without a break (a closed loop, as in TOCS §8.1) from before it begins until
// after it has ended, and what ends within it is counted. It lasts until at least one call has.
type window struct {
	order   *loadOrder
	phase   atomic.Int32
	begun   time.Time    // of the window
	last    atomic.Int64 // when the last call ended, in nanoseconds since begun
	longest atomic.Int64 // the longest pause
	calls   atomic.Int64
	first   chan struct{} // closed when one call has ended
	once    sync.Once
}

const (
	phaseWarmup int32 = iota
	phaseMeasuring
	phaseOver
)

func (l *load) window(ctx context.Context, order *loadOrder, measuring func() error) (*loadReport, error) {
	workloads := make([]workload, order.Clients)
	for i := range workloads {
		var err error
		if workloads[i], err = l.workload(order, i); err != nil {
			return nil, err
		}
	}
	// One deadline for all calls: one for each would be a part of what is measured.
	timed, stop := context.WithTimeout(ctx, order.Warmup+order.Duration+callTimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(timed)
	defer cancel(nil)
	w := &window{order: order, first: make(chan struct{})}
	var callers sync.WaitGroup
	times := make([]*callTimes, order.Clients)
	for i := range times {
		times[i] = newCallTimes(order)
		callers.Go(func() {
			if err := w.call(ctx, l.clients[i%len(l.clients)], workloads[i], times[i]); err != nil {
				cancel(err)
			}
		})
	}
	report, err := l.measure(ctx, w, measuring)
	w.phase.Store(phaseOver)
	callers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, err
	}
	mergeTimes(times, report)
	report.Calls = w.calls.Load()
	report.LongestPause = time.Duration(w.longest.Load()).Seconds()
	return report, nil
}

// measure takes the window's time, and what the processes use in it.
func (l *load) measure(ctx context.Context, w *window, measuring func() error) (*loadReport, error) {
	if err := wait(ctx, w.order.Warmup); err != nil {
		return nil, err
	}
	servers, own, err := l.cpu(w.order.CPU)
	if err != nil {
		return nil, err
	}
	fallbacks, retransmissions := l.counts()
	w.begun = time.Now()
	w.phase.Store(phaseMeasuring)
	if err := measuring(); err != nil {
		return nil, err
	}
	if err := wait(ctx, w.order.Duration); err != nil {
		return nil, err
	}
	select {
	case <-w.first:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	w.phase.Store(phaseOver)
	w.ended() // a pause that lasts to the end is one, too
	r := &loadReport{Seconds: time.Since(w.begun).Seconds()}
	serversAfter, ownAfter, err := l.cpu(w.order.CPU)
	if err != nil {
		return nil, err
	}
	r.ServerCPU, r.ClientCPU = (serversAfter - servers).Seconds(), (ownAfter - own).Seconds()
	r.Fallbacks, r.Retransmissions = l.counts()
	r.Fallbacks -= fallbacks
	r.Retransmissions -= retransmissions
	return r, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// call is one caller: it calls until the window is over.
func (w *window) call(ctx context.Context, c invoker, next workload, times *callTimes) error {
	for number := uint64(1); w.phase.Load() != phaseOver; number++ {
		op, check := next()
		begun := time.Now()
		result, err := c.Invoke(ctx, op, w.order.ReadOnly)
		took := time.Since(begun)
		if err != nil {
			return err
		}
		w.calls.Add(1)
		if w.phase.Load() == phaseMeasuring {
			if err := times.record(number, took); err != nil {
				return err
			}
			w.ended()
			w.once.Do(func() { close(w.first) })
		}
		if err := check(result); err != nil {
			return err
		}
	}
	return nil
}

// ended takes note that a call ended now, or the window.
func (w *window) ended() {
	now := int64(time.Since(w.begun))
	pause := now - w.last.Swap(now)
	for {
		longest := w.longest.Load()
		if pause <= longest || w.longest.CompareAndSwap(longest, pause) {
			return
		}
	}
}

// workload gives the next operation, and what its result must pass. The operation is the caller's until it asks again.
type workload func() (op []byte, check func(result []byte) error)

func (l *load) workload(order *loadOrder, caller int) (workload, error) {
	if order.Pages > 0 {
		return l.writes(order.Pages, uint64(caller))
	}
	s := size{order.Args, order.Result}
	op, check := s.op(), s.check
	return func() ([]byte, func([]byte) error) { return op, check }, nil
}

// writes is a workload that overwrites random pages of the state.
func (l *load) writes(pages int64, seed uint64) (workload, error) {
	file, err := createFile(fsstate.New(fsstate.Config{Seed: fsstate.Seed(l.cluster.Seed)}))
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	args := &fsstate.Write{Object: file, Data: make([]byte, pageBytes)}
	op := &fsstate.Op{Args: args}
	var buf []byte
	return func() ([]byte, func([]byte) error) {
		args.Offset = uint64(rng.Int64N(pages)) * pageBytes
		for i := range 8 {
			args.Data[i] = byte(rng.Uint32())
		}
		buf = fsstate.AppendOp(buf[:0], op)
		return buf, func(result []byte) error {
			r, err := fsstate.DecodeResult(fsstate.KindWrite, result)
			if err != nil {
				return err
			}
			if r.Code() != fsstate.OK {
				return fmt.Errorf("writing a page of the state: %v", r.Code())
			}
			return nil
		}
	}, nil
}
