package client

import (
	"sync/atomic"

	"bfsd/replica/wire"
)

// Stats is a snapshot of a client's counters.
type Stats struct {
	View     wire.View
	Slots    int // calls that may be in flight
	InFlight int // calls that have a slot
	Waiting  int // calls that wait for one

	Invoked, Completed uint64
	Reads              uint64 // calls tried without ordering
	Fallbacks          uint64 // of them, ordered in the end
	Retransmissions    uint64 // after a timeout
	MissingResults     uint64 // calls whose replier did not send the result that a quorum agreed on
	LateReplies        uint64 // to calls that had ended: the normal fate of the slowest
	LastNumber         uint64 // the largest request number used

	Replicas []ReplicaStats
}

// ReplicaStats is what the client has against one replica.
type ReplicaStats struct {
	FaultyReplies uint64 // malformed, misaddressed, or to calls that were never made
	Matched       uint64 // replies that agreed with the result
	Contradicted  uint64 // ordered replies that a quorum contradicted
	ReadsDiffered uint64 // unordered replies other than the result: of another moment, while writes go on, or lies
}

type counters struct {
	invoked, completed, reads, fallbacks, retransmissions, missingResults, late atomic.Uint64

	faultyReplies, matched, contradicted, readsDiffered []atomic.Uint64 // by replica
}

func (k *counters) init(n int) {
	for _, c := range []*[]atomic.Uint64{&k.faultyReplies, &k.matched, &k.contradicted, &k.readsDiffered} {
		*c = make([]atomic.Uint64, n)
	}
}

func (k *counters) faulty(from wire.Principal) {
	if from.Role == wire.RoleReplica && int64(from.ID) < int64(len(k.faultyReplies)) {
		k.faultyReplies[from.ID].Add(1)
	}
}

// Stats takes a snapshot of the counters.
func (c *Client) Stats() Stats {
	k := &c.counters
	s := Stats{
		View: c.views.current(), Waiting: int(c.waiting.Load()),
		Invoked: k.invoked.Load(), Completed: k.completed.Load(), Reads: k.reads.Load(), Fallbacks: k.fallbacks.Load(),
		Retransmissions: k.retransmissions.Load(), MissingResults: k.missingResults.Load(), LateReplies: k.late.Load(),
		Replicas: make([]ReplicaStats, c.cfg.N),
	}
	for i := range s.Replicas {
		s.Replicas[i] = ReplicaStats{
			FaultyReplies: k.faultyReplies[i].Load(), Matched: k.matched[i].Load(),
			Contradicted: k.contradicted[i].Load(), ReadsDiffered: k.readsDiffered[i].Load(),
		}
	}
	s.Slots = len(c.slots)
	c.mu.Lock()
	s.InFlight = len(c.slots) - len(c.free)
	c.mu.Unlock()
	for _, slot := range c.slots {
		slot.mu.Lock()
		s.LastNumber = max(s.LastNumber, slot.number)
		slot.mu.Unlock()
	}
	return s
}
