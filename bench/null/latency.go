package main

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latency describes how long calls took, in seconds.
type latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// histogram counts times in nanoseconds, to three digits.
func histogram() *hdrhistogram.Histogram {
	const lowest = 100
	return hdrhistogram.New(lowest, int64(2*callTimeout), 3)
}

func latencyOf(h *hdrhistogram.Histogram) latency {
	at := func(quantile float64) float64 { return float64(h.ValueAtQuantile(quantile)) / 1e9 }
	return latency{Mean: h.Mean() / 1e9, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1e9}
}

// callTimes counts how long one caller's calls took.
type callTimes struct {
	order     *loadOrder
	after     *hdrhistogram.Histogram // calls that followed a checkpoint
	otherwise *hdrhistogram.Histogram // all others; all calls, where they are not told apart
}

func newCallTimes(order *loadOrder) *callTimes {
	t := &callTimes{order: order, otherwise: histogram()}
	if order.apart() {
		t.after = histogram()
	}
	return t
}

// apart says whether it can be known which calls followed a checkpoint, and others did not.
func (o *loadOrder) apart() bool { return o.Clients == 1 && o.Interval >= 2*batchesAfter }

// record counts the caller's call of that number, from 1.
func (t *callTimes) record(number uint64, took time.Duration) error {
	h := t.otherwise
	if t.after != nil && (t.order.Executed+number)%t.order.Interval < batchesAfter {
		h = t.after
	}
	if err := h.RecordValue(int64(took)); err != nil {
		return fmt.Errorf("counting a call of %v: %w", took, err)
	}
	return nil
}

// mergeTimes writes the times of all callers into the report.
func mergeTimes(all []*callTimes, r *loadReport) {
	after, otherwise := histogram(), histogram()
	for _, t := range all {
		otherwise.Merge(t.otherwise)
		if t.after != nil {
			after.Merge(t.after)
		}
	}
	if after.TotalCount() > 0 && otherwise.TotalCount() > 0 {
		a, o := latencyOf(after), latencyOf(otherwise)
		r.AfterCheckpoint, r.Otherwise = &a, &o
	}
	otherwise.Merge(after)
	r.Operations, r.Latency = otherwise.TotalCount(), latencyOf(otherwise)
}
