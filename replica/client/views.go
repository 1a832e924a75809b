package client

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bfsd/replica/wire"
)

// views tracks the group's view from what replies say. The view is the largest that f+1 replicas have reached: one of
// them is correct, so that liars cannot send the client's requests to a primary of their choice.
type views struct {
	n, f   int
	view   atomic.Uint64
	latest []atomic.Uint64 // by replica
	mu     sync.Mutex      // to raise
}

func (v *views) init(n, f int) { v.n, v.f, v.latest = n, f, make([]atomic.Uint64, n) }

func (v *views) current() wire.View { return wire.View(v.view.Load()) }

// primary of the current view (TOCS §4.2: view mod n).
func (v *views) primary() wire.ReplicaID { return wire.ReplicaID(v.view.Load() % uint64(v.n)) }

// seen notes that a replica said it is in a view.
func (v *views) seen(r wire.ReplicaID, view wire.View) {
	if uint64(view) <= v.latest[r].Load() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.latest[r].Store(max(uint64(view), v.latest[r].Load()))
	all := make([]uint64, len(v.latest))
	for i := range v.latest {
		all[i] = v.latest[i].Load()
	}
	slices.Sort(all)
	v.view.Store(all[len(all)-1-v.f]) // the (f+1)-th largest; it never falls, because none of them does
}

// reach notes which replicas let a call run into its timeout without a word and have said nothing since. A link that loses
// everything looks like a link for a while, and longer where the loss is between this client and one replica alone, which
// the group has no reason to replace as its primary.
type reach struct {
	doubted []atomic.Bool // by replica
}

func (r *reach) init(n int) { r.doubted = make([]atomic.Bool, n) }

func (r *reach) doubts(id wire.ReplicaID) bool { return r.doubted[id].Load() }

func (r *reach) missed(id wire.ReplicaID) { r.doubted[id].Store(true) }

func (r *reach) heard(id wire.ReplicaID) {
	if r.doubted[id].Load() {
		r.doubted[id].Store(false)
	}
}

// latency follows how long calls take, so that a group that is slow (many calls, slow disks) is not flooded with
// retransmissions.
type latency struct {
	floor  time.Duration
	smooth atomic.Int64 // nanoseconds
}

// took counts a call. Two calls that end together may count as one: the average does not mind.
func (l *latency) took(d time.Duration) {
	old := l.smooth.Load()
	l.smooth.CompareAndSwap(old, old+(int64(d)-old)/8)
}

func (l *latency) average() time.Duration { return time.Duration(l.smooth.Load()) }

// timeout is four times the average, within one to eight times the floor.
func (l *latency) timeout() time.Duration {
	return min(max(4*l.average(), l.floor), 8*l.floor)
}
