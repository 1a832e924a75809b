package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whenever the replicas look, no two of them find it due at the same time, and each finds it due once in a period.
func TestRecoverySlotsNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{4, 7, 10, 13}).Draw(t, "n")
		period := time.Duration(rapid.IntRange(5*n, 100_000).Draw(t, "period")) * time.Second
		now := time.Unix(rapid.Int64Range(1.6e9, 4e9).Draw(t, "now"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		var at []time.Time
		for id := range n {
			w := &watchdog{id: id, n: n, period: period}
			next := w.next(now)
			if !next.After(now) || next.Sub(now) > period {
				t.Fatalf("replica %d of %d: after %v comes %v, with a period of %v", id, n, now, next, period)
			}
			if again := w.next(next); again.Sub(next) != period {
				t.Fatalf("replica %d: %v after its slot comes the next", id, again.Sub(next))
			}
			for _, other := range at {
				if d := next.Sub(other).Abs(); d < w.slot() {
					t.Fatalf("replica %d begins %v from another, a slot is %v", id, d, w.slot())
				}
			}
			at = append(at, next)
		}
	})
}

// One that is missing delays the others' recovery by half a slot and no more, and none begins at the end of its slot.
func TestRecoveryIsDue(t *testing.T) {
	w := &watchdog{id: 1, n: 4, period: 40 * time.Second}
	begin := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		into   time.Duration
		linked int
		want   bool
	}{
		{-1, 3, false},
		{0, 3, true},
		{0, 2, false},
		{4999 * time.Millisecond, 2, false},
		{5 * time.Second, 2, true},
		{5 * time.Second, 0, true},
		{7500 * time.Millisecond, 3, false},
		{time.Hour, 3, false},
	} {
		if got := w.due(begin.Add(tt.into), begin, tt.linked); got != tt.want {
			t.Errorf("%v into the slot, with %d links: %v, want %v", tt.into, tt.linked, got, tt.want)
		}
	}
}
