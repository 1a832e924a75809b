package pbft

import "bfsd/replica/wire"

// window holds the slots between the water marks h (low) and H = h + L (TOCS §4.3, §4.4).
type window struct {
	low   wire.Seq
	n     int
	slots []*slot // slot seq lies at seq mod L
}

func newWindow(low wire.Seq, size wire.Seq, n int) window {
	return window{low: low, n: n, slots: make([]*slot, size)}
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
	} else {
		for seq := w.low + 1; seq <= low; seq++ {
			w.slots[seq%wire.Seq(len(w.slots))] = nil
		}
	}
	w.low = low
}
