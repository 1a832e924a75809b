package pbft

import (
	"slices"

	"bfsd/replica/wire"
)

// clientTable holds what is known of every slot of every client. Its size is fixed by the configuration.
type clientTable struct {
	index map[wire.ClientID]int // for look-up only
	rows  [][]clientSlot
}

// clientSlot is one request stream of one client.
type clientSlot struct {
	client wire.ClientID
	slot   wire.Slot

	// The last request executed, and its reply: exactly once means that no number up to last executes again (TOCS §4.2).
	last     uint64
	lastSeq  wire.Seq
	result   []byte
	answered bool // result is there: the service has answered

	// pending is the first authentic request with a number above last; variant is the same number with another body,
	// which is what a retransmission looks like, or a client that lies.
	pending, variant *wire.Request
	full             bool   // the client wants the result from everybody
	arrival          uint64 // order of arrival of pending, for FIFO fairness

	proposed uint64 // primary: the number it put into a batch of this view
	queued   bool   // primary: in the queue

	vouches []vouch // by replica: the latest VOUCH
	vouched int64   // when I vouched
	since   int64   // when a quorum began to wait
	waiting vouch   // what a quorum vouched for; it has not settled while the slot is in timerState.waiting
	suspect bool    // its authenticators failed others: order only what a quorum vouches for (doubt.go)
}

type vouch struct {
	number uint64
	digest wire.Digest
}

// undoClient is a slot's state before a tentative execution.
type undoClient struct {
	cs       *clientSlot
	last     uint64
	lastSeq  wire.Seq
	result   []byte
	answered bool
}

func newClientTable(clients []wire.ClientID, slots, n int) clientTable {
	t := clientTable{index: make(map[wire.ClientID]int, len(clients)), rows: make([][]clientSlot, len(clients))}
	for i, id := range clients {
		t.index[id] = i
		t.rows[i] = make([]clientSlot, slots)
		for j := range t.rows[i] {
			t.rows[i][j] = clientSlot{client: id, slot: wire.Slot(j), vouches: make([]vouch, n)}
		}
	}
	return t
}

// get finds a slot; nil if there is no such client or slot.
func (t *clientTable) get(c wire.ClientID, s wire.Slot) *clientSlot {
	row, ok := t.index[c]
	if !ok || int64(s) >= int64(len(t.rows[row])) {
		return nil
	}
	return &t.rows[row][s]
}

// restore replaces what was executed by what a state's client table says.
func (t *clientTable) restore(replies []ClientReply, seq wire.Seq) {
	for i := range t.rows {
		for j := range t.rows[i] {
			cs := &t.rows[i][j]
			cs.last, cs.lastSeq, cs.result, cs.answered = 0, 0, nil, false
		}
	}
	for _, r := range replies {
		if cs := t.get(r.Client, r.Slot); cs != nil {
			cs.last, cs.lastSeq, cs.result, cs.answered = r.Number, seq, r.Result, true
		}
	}
}

// settled says whether a request has executed for good. Until the batch commits it may have to be undone, and its client
// may be waiting for replies that only a view change will bring.
func (cs *clientSlot) settled(number uint64, committed wire.Seq) bool {
	return number < cs.last || number == cs.last && cs.lastSeq <= committed
}

// vouchedFor says whether any replica vouches for a request of this number.
func (cs *clientSlot) vouchedFor(number uint64) bool {
	return slices.ContainsFunc(cs.vouches, func(v vouch) bool { return v.number == number })
}

// vouchers counts the replicas that vouch for a request of this slot.
func (cs *clientSlot) vouchers(number uint64, d wire.Digest) int {
	n := 0
	for i := range cs.vouches {
		if cs.vouches[i].number == number && cs.vouches[i].digest == d {
			n++
		}
	}
	return n
}

// awaits says whether a quorum waits for exactly this request.
func (cs *clientSlot) awaits(r *wire.Request) bool {
	return r != nil && cs.waiting.number == r.Number && cs.waiting.digest == r.Digest()
}

// awaited says whether a quorum waits for a request in this slot, and the primary has not had time enough to order it. A
// client that goes on without (a read that was answered in the end need not be ordered any more) is not held up for ever.
func (cs *clientSlot) awaited(now, patience int64, committed wire.Seq) bool {
	return !cs.settled(cs.waiting.number, committed) && now-cs.since < patience
}

// quorumVouch finds the request above number that a quorum vouches for.
func (cs *clientSlot) quorumVouch(number uint64, quorum int) (vouch, bool) {
	for _, v := range cs.vouches {
		if v.number > number && cs.vouchers(v.number, v.digest) >= quorum {
			return v, true
		}
	}
	return vouch{}, false
}

// candidate is the request that a primary should order: of two bodies with one number the one that others vouch for.
func (cs *clientSlot) candidate(weak int) *wire.Request {
	if cs.variant != nil && cs.vouchers(cs.variant.Number, cs.variant.Digest()) >= weak &&
		cs.vouchers(cs.pending.Number, cs.pending.Digest()) < weak {
		return cs.variant
	}
	return cs.pending
}
