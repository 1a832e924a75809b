package sim

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Summary is the outcome of many runs.
type Summary struct {
	Runs     int
	Stats    Stats
	Failures []*Failure // by rising seed
	Took     time.Duration
}

// Many runs the seeds from o.Seed on, n of them, on all processors; each is as if it ran alone. It stops early when the
// context ends or when stopAfter seeds have failed. done is called after each, from one goroutine at a time.
func Many(ctx context.Context, o Options, n uint64, stopAfter int, done func(failed *Failure)) Summary {
	var (
		sum    Summary
		mu     sync.Mutex
		wait   sync.WaitGroup
		next   atomic.Uint64
		failed atomic.Int64
	)
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= n || ctx.Err() != nil || stopAfter > 0 && failed.Load() >= int64(stopAfter) {
					return
				}
				one := o
				one.Seed += i
				stats, f := Run(one)
				if f != nil {
					failed.Add(1)
				}
				mu.Lock()
				sum.Runs++
				sum.Stats.Add(stats)
				if f != nil {
					sum.Failures = append(sum.Failures, f)
				}
				done(f)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	sum.Took = time.Since(began)
	sortFailures(sum.Failures)
	return sum
}

func sortFailures(list []*Failure) {
	slices.SortFunc(list, func(a, b *Failure) int { return cmp.Compare(a.Seed, b.Seed) })
}
