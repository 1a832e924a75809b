package transport

import "sync"

// bounds of a queue.
type bounds struct {
	frames int
	bytes  int
}

// queue holds the frames on their way to one peer. Pushing never blocks.
//
// While a link drains the queue and falls behind, new frames are dropped: what was accepted arrives in order. While there
// is no link, the oldest are dropped, and the bounds are smaller: a peer that comes back has use for the newest.
type queue struct {
	linked, unlinked bounds

	mu      sync.Mutex
	wake    sync.Cond
	drainer any // the link that may take frames; nil while there is none
	waiting [][]byte
	frames  int // waiting, or taken and not yet released
	bytes   int
	dropped uint64
}

func newQueue(linked, unlinked bounds) *queue {
	q := &queue{linked: linked, unlinked: unlinked}
	q.wake.L = &q.mu
	return q
}

// push adds a frame, which must not change any more. It says false if that cost a frame, this one or an older one.
func (q *queue) push(frame []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.drainer == nil {
		return q.pushUnlinked(frame)
	}
	if q.frames >= q.linked.frames || q.bytes+len(frame) > q.linked.bytes {
		q.dropped++
		return false
	}
	q.add(frame)
	if len(q.waiting) == 1 {
		q.wake.Signal()
	}
	return true
}

func (q *queue) pushUnlinked(frame []byte) bool {
	q.add(frame)
	kept := true
	for len(q.waiting) > 0 && (q.frames > q.unlinked.frames || q.bytes > q.unlinked.bytes) {
		q.frames--
		q.bytes -= len(q.waiting[0])
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.dropped++
		kept = false
	}
	return kept
}

func (q *queue) add(frame []byte) {
	q.waiting = append(q.waiting, frame)
	q.frames++
	q.bytes += len(frame)
}

// attach makes drainer the one who takes frames; the one before it gets no more.
func (q *queue) attach(drainer any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drainer = drainer
	q.wake.Broadcast()
}

// detach ends drainer's turn, if it is its turn.
func (q *queue) detach(drainer any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.drainer == drainer {
		q.drainer = nil
	}
	q.wake.Broadcast()
}

// take waits for frames and gives all there are; false when drainer's turn is over. The queue goes on in buf, which the
// drainer gives up: two slices travel back and forth and nothing is allocated.
func (q *queue) take(drainer any, buf [][]byte) ([][]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.drainer == drainer && len(q.waiting) == 0 {
		q.wake.Wait()
	}
	if q.drainer != drainer {
		return nil, false
	}
	taken := q.waiting
	q.waiting = buf[:0]
	return taken, true
}

// release says that frames taken are out of memory's way: written or lost.
func (q *queue) release(frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.frames -= frames
	q.bytes -= bytes
}

// load is what the queue holds now, and what it has dropped ever.
func (q *queue) load() (frames, bytes int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.frames, q.bytes, q.dropped
}
