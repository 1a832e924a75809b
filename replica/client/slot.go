package client

import (
	"sync"
	"time"

	"bfsd/replica/wire"
)

// slot is one of the client's request streams; it carries one call at a time. The goroutine in Invoke owns the call, the
// links' readers add replies to it.
type slot struct {
	id      wire.Slot
	numbers wire.Numbers // of the client's key
	number  uint64       // of the current or last call; only the owner changes it, under mu

	mu      sync.Mutex
	open    bool // a call is waiting for its result
	replier wire.ReplicaID
	votes   votes

	decisions [decisionsKept]decision // the newest first

	done  chan []byte   // the result; holds one
	nudge chan struct{} // the owner should look at the votes; holds one
	timer *time.Timer
}

func newSlot(id wire.Slot, n int, floor uint64, numbers wire.Numbers) *slot {
	s := &slot{
		id: id, numbers: numbers, number: max(floor, numbers.At(clock())), done: make(chan []byte, 1), nudge: make(chan struct{}, 1), timer: time.NewTimer(time.Hour),
	}
	s.timer.Stop()
	s.votes.init(n)
	return s
}

// begin opens a call under the slot's next number.
//
// Replicas execute only numbers above the last one executed in the slot, so numbers must grow over restarts of the client,
// which keeps nothing on disk. As in the paper (TOCS §4.2: "t is a timestamp"), a number is the time in nanoseconds, or one
// more than the last if the clock has not moved on. The clock is read for every call and not only at the start: a client
// that starts with a clock that is behind works again as soon as the clock is set right. Until then replicas ignore it:
// that costs this client its availability, and nobody anything else. Each key of the client has numbers of its own
// (wire.Numbers): those of a later key are larger.
func (s *slot) begin(readOnly bool, replier wire.ReplicaID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number = min(max(s.number+1, s.numbers.At(clock())), s.numbers.Last())
	s.open = true
	s.replier = replier
	s.votes.reset(readOnly)
	select {
	case <-s.nudge:
	default:
	}
}

func clock() int64 { return time.Now().UnixNano() }

// end closes the call. A result that came at the last moment is given back, else nil and false.
func (s *slot) end() ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	s.votes.reset(false)
	select {
	case result := <-s.done:
		return result, true
	default:
		return nil, false
	}
}

// missing says what the call still lacks; wantNothing if its result is there.
func (s *slot) missing(quorum int) want {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return wantNothing
	}
	return s.votes.missing(quorum, s.replier)
}

// dropTentative forgets the tentative replies to a reading; whether there were any.
func (s *slot) dropTentative() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.votes.dropTentative()
}

// answered says whether a replica has replied to the call.
func (s *slot) answered(id wire.ReplicaID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.votes.ordered[id].cast || s.votes.reads[id].cast
}
