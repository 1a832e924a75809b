package pbft

import (
	"math"
	"slices"

	"bfsd/replica/wire"
)

// slot is what a replica knows about one sequence number in the window.
type slot struct {
	seq wire.Seq

	// The proposal of the core's view, from a PRE-PREPARE or a NEW-VIEW.
	proposed bool
	planned  bool // it comes from a NEW-VIEW: its requests are vouched for by f+1 pre-prepares (A2)
	digest   wire.Digest
	since    int64 // when it arrived
	fetchAt  int64 // when to ask for what is missing of it
	asks     int   // how often I have
	asked    wire.ReplicaID
	doubting bool // waits for vouchers for a request that it cannot authenticate
	accepted bool // all bodies there and authentic, durably recorded, PREPARE sent
	prepared bool // prepared certificate of this view, durably recorded, COMMIT sent

	// Votes, by replica. A vote of a later view replaces one of an earlier view; within a view the first counts.
	prepares, commits, decideds []vote

	// The ballot that voids the proposal (doubt.go).
	abandons           []vote
	abandoned          bool // promised not to prepare the proposal
	voidOpen, voided   bool // a quorum abandoned: null is pre-prepared, prepared at (view, Void)
	voidPreps, voidCom []vote

	// The outcome.
	decided  bool
	decision wire.Digest

	// Execution.
	executed    bool
	executedAs  wire.Digest
	undo        []undoClient
	wasPrepared bool // traced

	// What view changes need (TOCS §4.5.2): the last prepared certificate, and the latest view for each digest.
	inP bool
	p   wire.PreparedEntry
	q   []wire.PreparedEntry

	contents []*batch    // the batches whose content is known
	wanted   wire.Digest // a batch that a new primary needs for its NEW-VIEW (A3)
}

// vote is one replica's word on a slot.
type vote struct {
	set    bool
	view   wire.View
	digest wire.Digest
}

// maxQ bounds the digests that one slot remembers in Q. The entry of the lowest view
// goes first. That cannot hide a committed batch: once d committed in v, no correct replica pre-prepares another digest
// for this number in a later view, so d's entry stays the newest.
const maxQ = 4

func newSlot(seq wire.Seq, n int) *slot {
	votes := make([]vote, 6*n)
	part := func(i int) []vote { return votes[i*n : (i+1)*n : (i+1)*n] }
	return &slot{
		seq: seq, prepares: part(0), commits: part(1), decideds: part(2),
		abandons: part(3), voidPreps: part(4), voidCom: part(5),
	}
}

// cast records a vote and says whether it is new.
func cast(votes []vote, from wire.ReplicaID, v wire.View, d wire.Digest) bool {
	w := &votes[from]
	if w.set && w.view >= v {
		return false
	}
	*w = vote{set: true, view: v, digest: d}
	return true
}

// count counts the votes for a digest in a view.
func count(votes []vote, v wire.View, d wire.Digest) int {
	n := 0
	for i := range votes {
		if votes[i].set && votes[i].view == v && votes[i].digest == d {
			n++
		}
	}
	return n
}

// leaveView forgets the proposal; votes stay, they name their view.
func (s *slot) leaveView() {
	s.proposed, s.planned, s.accepted, s.prepared, s.doubting = false, false, false, false, false
	s.abandoned, s.voidOpen, s.voided, s.wasPrepared = false, false, false, false
	s.digest, s.wanted = wire.NullDigest, wire.NullDigest
	s.trim()
}

// trim drops the contents that no view change or decision can ask for any more.
func (s *slot) trim() {
	s.contents = slices.DeleteFunc(s.contents, func(b *batch) bool {
		return (!s.decided || s.decision != b.digest) &&
			!slices.ContainsFunc(s.q, func(e wire.PreparedEntry) bool { return e.Digest == b.digest })
	})
}

// content finds the batch with a digest; known is false when its content must be fetched. The null batch is nil.
func (s *slot) content(d wire.Digest) (b *batch, known bool) {
	if d == wire.NullDigest {
		return nil, true
	}
	for _, b := range s.contents {
		if b.digest == d {
			return b, true
		}
	}
	return nil, false
}

// incomplete says whether a batch's content or one of its bodies is missing.
func (s *slot) incomplete(d wire.Digest) bool {
	b, known := s.content(d)
	return !known || b != nil && b.missing > 0
}

// enterP records a prepared certificate: the latest one counts.
func (s *slot) enterP(e wire.PreparedEntry) {
	if !s.inP || ballotLess(s.p, e) {
		s.inP, s.p = true, e
	}
}

// enterQ records a pre-prepare: for each digest the latest view counts.
func (s *slot) enterQ(e wire.PreparedEntry) {
	lowest := 0
	for i := range s.q {
		if s.q[i].Digest == e.Digest {
			if ballotLess(s.q[i], e) {
				s.q[i] = e
			}
			return
		}
		if ballotLess(s.q[i], s.q[lowest]) {
			lowest = i
		}
	}
	if len(s.q) < maxQ {
		s.q = append(s.q, e)
		return
	}
	s.q[lowest] = e
}

// ballotLess orders (view, void): the void ballot of a view ranks above its proposal (doubt.go).
func ballotLess(a, b wire.PreparedEntry) bool {
	return a.View < b.View || a.View == b.View && !a.Void && b.Void
}

// batch is the content of a proposal.
type batch struct {
	digest    wire.Digest
	content   []byte
	choice    []byte
	digests   []wire.Digest
	requests  []*wire.Request // nil while the body is missing
	authentic []bool          // my MAC convinced me
	missing   int
	room      int      // bytes of bodies that still fit: what a faulty primary names by digest must not fill my memory
	logged    bool     // an accepted record holds the content
	doubters  []uint64 // primary: by request, the set of replicas that doubt it; nil while none does
}

// newBatch makes a batch without bodies; a batch of more than one request holds at most so many bytes of them.
func newBatch(d wire.Digest, content []byte, w *wire.Batch, bytes int) *batch {
	n := len(w.Requests)
	if n == 1 {
		bytes = math.MaxInt
	}
	return &batch{
		room:   bytes,
		digest: d, content: content, choice: w.Choice, digests: w.Requests,
		requests: make([]*wire.Request, n), authentic: make([]bool, n), missing: n,
	}
}

// put fills in a body.
func (b *batch) put(i int, r *wire.Request, authentic bool) {
	if b.requests[i] == nil {
		if r.Size() > b.room {
			return
		}
		b.requests[i] = r
		b.room -= r.Size()
		b.missing--
	}
	b.authentic[i] = b.authentic[i] || authentic
}
