package replica

import (
	"sync"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// inbox hands verified messages from the links' reader goroutines to the event loop. Each sender has a bounded queue of
// its own and the loop takes from them in turn, so that a flood from one principal holds up that principal's link (its
// reader blocks, and TCP pushes back) and nobody else's.
type inbox struct {
	ready chan struct{} // holds a token while something may be waiting

	mu     sync.Mutex
	space  sync.Cond
	queues map[wire.Principal]*senderQueue
	turn   []*senderQueue // the non-empty queues, in the order in which they take turns
	closed bool
}

// senderQueue is a ring of messages from one sender.
type senderQueue struct {
	ring  [inboxPerSender]auth.Verified
	first int
	count int
	bytes int // of the frames in the ring
}

func (q *senderQueue) full() bool { return q.count == len(q.ring) || q.bytes > inboxBytesPerSender }

// inboxPerSender and inboxBytesPerSender bound a sender's queue: enough to keep the loop busy for a few batches, little enough that what waits
// is fresh.
const (
	inboxPerSender      = 512
	inboxBytesPerSender = 16 << 20
)

func newInbox() *inbox {
	in := &inbox{ready: make(chan struct{}, 1), queues: make(map[wire.Principal]*senderQueue)}
	in.space.L = &in.mu
	return in
}

// put queues a message of from's, waiting while that queue is full. It reports false once the inbox is closed.
func (in *inbox) put(from wire.Principal, m auth.Verified) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	q := in.queues[from]
	if q == nil {
		q = &senderQueue{}
		in.queues[from] = q
	}
	for q.full() && !in.closed {
		in.space.Wait()
	}
	if in.closed {
		return false
	}
	if q.count == 0 {
		in.turn = append(in.turn, q)
	}
	q.ring[(q.first+q.count)%len(q.ring)] = m
	q.count++
	q.bytes += len(m.Raw())
	in.signal()
	return true
}

// take appends up to limit messages to dst, one from each sender in turn.
func (in *inbox) take(dst []auth.Verified, limit int) []auth.Verified {
	in.mu.Lock()
	defer in.mu.Unlock()
	for ; limit > 0 && len(in.turn) > 0; limit-- {
		q := in.turn[0]
		in.turn = in.turn[1:]
		full := q.full()
		m := q.ring[q.first]
		dst = append(dst, m)
		q.ring[q.first] = auth.Verified{} // not kept alive by the ring
		q.first = (q.first + 1) % len(q.ring)
		q.count--
		q.bytes -= len(m.Raw())
		if q.count > 0 {
			in.turn = append(in.turn, q)
		}
		if full && !q.full() {
			in.space.Broadcast()
		}
	}
	if len(in.turn) > 0 {
		in.signal()
	}
	return dst
}

func (in *inbox) signal() {
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// close wakes everybody who waits in put.
func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.space.Broadcast()
}
