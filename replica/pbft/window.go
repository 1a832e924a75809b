package pbft

import (
	"slices"

	"bfsd/replica/wire"
)

// window holds the slots between the water marks h (low) and H = h + L (TOCS §4.3, §4.4).
type window struct {
	low   wire.Seq
	n     int
	slots []*slot // slot seq lies at seq mod L

	// old holds the last K slots below the window that were decided, ascending. The protocol is done with them; they
	// are kept for peers that lag a little, so that a checkpoint does not force a state transfer on them.
	old []*slot
}

func newWindow(low wire.Seq, size wire.Seq, n int) window {
	return window{low: low, n: n, slots: make([]*slot, size)}
}

// retire keeps a slot that leaves the window.
func (w *window) retire(s *slot) {
	if s == nil || !s.decided {
		return
	}
	s.undo = nil
	s.contents = slices.DeleteFunc(s.contents, func(b *batch) bool { return b.digest != s.decision })
	if len(w.old) >= len(w.slots)/2 {
		copy(w.old, w.old[1:])
		w.old = w.old[:len(w.old)-1]
	}
	w.old = append(w.old, s)
}

// high is the high water mark H.
func (w *window) high() wire.Seq { return w.low + wire.Seq(len(w.slots)) }

// contains says whether a sequence number lies between the water marks.
func (w *window) contains(seq wire.Seq) bool { return seq > w.low && seq <= w.high() }

// peek finds a slot that was used; nil otherwise.
func (w *window) peek(seq wire.Seq) *slot {
	if !w.contains(seq) {
		return nil
	}
	return w.slots[seq%wire.Seq(len(w.slots))]
}

// find finds a slot in the window, or one that left it not long ago.
func (w *window) find(seq wire.Seq) *slot {
	for _, s := range w.old {
		if s.seq == seq {
			return s
		}
	}
	return w.peek(seq)
}

// slot finds or makes a slot in the window.
func (w *window) slot(seq wire.Seq) *slot {
	i := seq % wire.Seq(len(w.slots))
	if w.slots[i] == nil {
		w.slots[i] = newSlot(seq, w.n)
	}
	return w.slots[i]
}

// advance moves the low water mark up and drops the slots at and below it.
func (w *window) advance(low wire.Seq) {
	if low-w.low >= wire.Seq(len(w.slots)) {
		clear(w.slots)
		w.old = nil
	} else {
		for seq := w.low + 1; seq <= low; seq++ {
			w.retire(w.slots[seq%wire.Seq(len(w.slots))])
			w.slots[seq%wire.Seq(len(w.slots))] = nil
		}
	}
	w.low = low
}
