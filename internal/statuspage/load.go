package statuspage

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// CallSample is what a front end did in one second.
type CallSample struct {
	AtMs   int64   `json:"at_ms"`   // Unix time of its end
	Calls  float64 `json:"calls"`   // a second
	MeanUs float64 `json:"mean_us"` // of the calls' times; 0: there were none
	MaxUs  float64 `json:"max_us"`
}

// Load follows a front end's calls over the last two minutes. The zero value is ready; Run has to run.
type Load struct {
	calls, total, longest atomic.Int64 // of this second; nanoseconds

	mu      sync.Mutex
	samples []CallSample
}

const samplesKept = 120

// Observe counts a call.
func (l *Load) Observe(took time.Duration) {
	l.calls.Add(1)
	l.total.Add(int64(took))
	for old := l.longest.Load(); int64(took) > old && !l.longest.CompareAndSwap(old, int64(took)); {
		old = l.longest.Load()
	}
}

// Run takes a sample each second until ctx ends.
func (l *Load) Run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			l.sample(now, now.Sub(last))
			last = now
		}
	}
}

func (l *Load) sample(now time.Time, took time.Duration) {
	calls, total, longest := l.calls.Swap(0), l.total.Swap(0), l.longest.Swap(0)
	s := CallSample{AtMs: now.UnixMilli(), Calls: float64(calls) / took.Seconds(), MaxUs: float64(longest) / 1e3}
	if calls > 0 {
		s.MeanUs = float64(total) / float64(calls) / 1e3
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == samplesKept {
		l.samples = slices.Delete(l.samples, 0, 1)
	}
	l.samples = append(l.samples, s)
}

// Samples returns what was kept, the newest last.
func (l *Load) Samples() []CallSample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.samples)
}
