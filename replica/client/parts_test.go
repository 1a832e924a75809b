package client

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"bfsd/replica/wire"
)

func TestTheViewIsOneThatACorrectReplicaHasReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.IntRange(0, 4).Draw(t, "f")
		n := 3*f + 1
		var v views
		v.init(n, f)
		honest := make([]uint64, n)
		before := wire.View(0)
		for range rapid.IntRange(1, 40).Draw(t, "replies") {
			r := rapid.IntRange(0, n-1).Draw(t, "replica")
			view := rapid.Uint64Range(0, 20).Draw(t, "view")
			if r < f { // a liar
				view = rapid.Uint64().Draw(t, "lie")
			} else {
				honest[r] = max(honest[r], view)
			}
			v.seen(wire.ReplicaID(r), wire.View(view))
			now := v.current()
			if now < before {
				t.Fatalf("the view fell from %d to %d", before, now)
			}
			before = now
			reached := false
			for i := f; i < n; i++ {
				reached = reached || honest[i] >= uint64(now)
			}
			if !reached {
				t.Fatalf("view %d, but the correct replicas are in %v", now, honest[f:])
			}
		}
	})
}

func TestRepliersShareTheLoad(t *testing.T) {
	var r repliers
	r.init(4, gateway)
	now := time.Unix(1000, 0)
	count := make([]int, 4)
	for range 400 {
		count[r.choose(now)]++
	}
	for i, n := range count {
		if n != 100 {
			t.Errorf("replica %d has %d of 400 results to send", i, n)
		}
	}
	r.release(2)
	if got := r.choose(now); got != 2 {
		t.Errorf("chose %d, though 2 has the least to do", got)
	}
}

func TestTheOwnReplicaIsPreferredUntilItFails(t *testing.T) {
	var r repliers
	r.init(4, 2)
	now := time.Unix(1000, 0)
	for range 10 {
		if got := r.choose(now); got != 2 {
			t.Fatalf("the client of replica 2 chose %d", got)
		}
	}
	penalty := penaltyMin
	for range 12 {
		r.blame(2, now)
		r.blame(2, now) // the same failure, seen by another call
		if got := r.choose(now.Add(penalty - 1)); got == 2 {
			t.Fatalf("chosen again within %v", penalty)
		}
		if got := r.choose(now.Add(penalty)); got != 2 {
			t.Fatalf("not chosen again after %v", penalty)
		}
		now = now.Add(penalty)
		penalty = min(2*penalty, penaltyMax)
	}
	now = now.Add(2 * penaltyMax)
	r.blame(2, now)
	if got := r.choose(now.Add(penaltyMin)); got != 2 {
		t.Error("old failures are held against it")
	}
}

func TestTheTimeoutFollowsTheLatencyWithinBounds(t *testing.T) {
	l := latency{floor: 100 * time.Millisecond}
	if got := l.timeout(); got != 100*time.Millisecond {
		t.Errorf("at first %v", got)
	}
	for range 100 {
		l.took(50 * time.Millisecond)
	}
	if got := l.timeout(); got < 180*time.Millisecond || got > 200*time.Millisecond {
		t.Errorf("with calls of 50 ms: %v, want about 200 ms", got)
	}
	for range 100 {
		l.took(time.Hour)
	}
	if got := l.timeout(); got != 800*time.Millisecond {
		t.Errorf("with calls of an hour: %v, want the bound of 800 ms", got)
	}
}
