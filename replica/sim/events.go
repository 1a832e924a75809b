package sim

import "bfsd/replica/wire"

// event is something that will happen: a message that arrives (frame set), a tick of a replica's driver (tick set), or
// anything else (do set).
type event struct {
	at    int64
	order uint64 // of two events at one time the first planned is first

	from, to wire.Principal
	frame    []byte
	tick     *node
	life     int // of tick: the incarnation it was planned in
	do       func()
}

// eventQueue is a binary heap, the earliest event first.
type eventQueue []event

func (q eventQueue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q *eventQueue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *eventQueue) pop() event {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = event{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.before(child, least) {
				least = child
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
