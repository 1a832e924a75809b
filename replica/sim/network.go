package sim

import (
	"math/rand/v2"

	"bfsd/replica/wire"
)

// network decides which messages arrive, when, and how often. Links are authenticated: who a message is from is not up to
// the sender.
type network struct {
	w    *world
	rng  *rand.Rand
	calm bool // the faults are over: every message arrives, soon
	// cut[a][b]: nothing gets from endpoint a to endpoint b. Replicas come first, clients after them.
	cut [][]bool
	// wide[a][b], if set, is the delay from endpoint a to endpoint b, and there are no faults.
	wide [][]int64
}

func newNetwork(w *world, rng *rand.Rand) *network {
	nw := &network{w: w, rng: rng}
	size := w.plan.n + w.plan.clients + w.plan.rogues
	nw.cut = make([][]bool, size)
	for i := range nw.cut {
		nw.cut[i] = make([]bool, size)
	}
	return nw
}

func (nw *network) endpoint(p wire.Principal) int {
	if p.Role == wire.RoleReplica {
		return int(p.ID)
	}
	return nw.w.plan.n + int(p.ID) - clientBase
}

// send puts a frame on its way, late by extra.
func (nw *network) send(from, to wire.Principal, frame []byte, extra int64) {
	p := &nw.w.plan
	if nw.wide != nil {
		nw.arrive(from, to, frame, extra+nw.wide[nw.endpoint(from)][nw.endpoint(to)])
		return
	}
	if nw.calm {
		nw.arrive(from, to, frame, extra+50*microsecond+nw.rng.Int64N(millisecond))
		return
	}
	if nw.cut[nw.endpoint(from)][nw.endpoint(to)] || p.loss > 0 && nw.rng.Float64() < p.loss {
		nw.w.tracef("   lost: %v → %v %s", short(from), short(to), traced{frame})
		return
	}
	copies := 1
	if p.twice > 0 && nw.rng.Float64() < p.twice {
		copies = 2
	}
	for range copies {
		d := extra + 10*microsecond + p.delay + nw.rng.Int64N(p.jitter)
		if p.spike > 0 && nw.rng.Float64() < p.spike {
			d += nw.rng.Int64N(p.spikes)
		}
		nw.arrive(from, to, frame, d)
	}
}

func (nw *network) arrive(from, to wire.Principal, frame []byte, delay int64) {
	nw.w.plant(event{at: nw.w.now + delay, from: from, to: to, frame: frame})
}

// partition cuts the principals into two groups at random, or one off, sometimes in one direction only.
func (nw *network) partition() {
	nw.mend()
	size := len(nw.cut)
	inside := make([]bool, size)
	if nw.rng.IntN(2) == 0 {
		inside[nw.rng.IntN(nw.w.plan.n)] = true
	} else {
		for i := range inside {
			inside[i] = nw.rng.IntN(2) == 0
		}
	}
	oneWay := nw.rng.IntN(4) == 0
	for a := range size {
		for b := range size {
			nw.cut[a][b] = inside[a] && !inside[b] || !oneWay && inside[b] && !inside[a]
		}
	}
}

func (nw *network) mend() {
	for _, row := range nw.cut {
		clear(row)
	}
}
