package client

import (
	"sync"
	"time"

	"bfsd/replica/wire"
)

// repliers chooses who sends a call's result in full; the others send its digest (TOCS §5, digest replies). The client
// inside a replica asks that replica, whose reply does not cross the network; another client asks the one from which the
// fewest results are due. A replica that let a call wait for its result is not asked for a while, which doubles.
type repliers struct {
	mu      sync.Mutex
	near    int // the replica this client is part of; -1 if none
	next    int // where to start looking
	replica []replier
}

type replier struct {
	due     int // calls that it is to send the result of
	until   time.Time
	strikes int
}

const (
	penaltyMin = 250 * time.Millisecond
	penaltyMax = 30 * time.Second
)

func (r *repliers) init(n int, self wire.ClientID) {
	r.replica = make([]replier, n)
	r.near = -1
	if int64(self) < int64(n) {
		r.near = int(self) // config.FirstGateway: small numbers are the replicas' own
	}
}

// choose picks a replier; release must follow.
func (r *repliers) choose(now time.Time) wire.ReplicaID {
	r.mu.Lock()
	defer r.mu.Unlock()
	best := r.pick(now)
	r.replica[best].due++
	r.next = (r.next + 1) % len(r.replica)
	return wire.ReplicaID(best)
}

func (r *repliers) pick(now time.Time) int {
	if r.near >= 0 && !now.Before(r.replica[r.near].until) {
		return r.near
	}
	best := -1
	for k := range r.replica {
		i := (r.next + k) % len(r.replica)
		if p := &r.replica[i]; !now.Before(p.until) && (best < 0 || p.due < r.replica[best].due) {
			best = i
		}
	}
	if best < 0 {
		return r.next // all are in disgrace: it does not matter
	}
	return best
}

// release ends what choose began.
func (r *repliers) release(id wire.ReplicaID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replica[id].due--
}

// blame notes that a replier did not send its result. Calls that were under way together blame it once.
func (r *repliers) blame(id wire.ReplicaID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.replica[id]
	if now.Before(p.until) {
		return
	}
	if now.Sub(p.until) > penaltyMax {
		p.strikes = 0 // it has been good for long
	}
	p.until = now.Add(min(penaltyMin<<p.strikes, penaltyMax))
	p.strikes = min(p.strikes+1, 10)
}
