package client

import (
	"slices"

	"bfsd/replica/wire"
)

// votes are the replies to one call: the latest of each replica, ordered and unordered ones apart, because they mean
// different things and are never counted together.
type votes struct {
	ordered []vote
	reads   []vote
	isRead  bool // the call was sent as read-only: unordered replies count
}

type vote struct {
	cast      bool
	tentative bool
	view      wire.View
	seq       wire.Seq
	digest    wire.Digest
	full      bool
	result    []byte // if full; its digest is right
}

func (v *votes) init(n int) { v.ordered, v.reads = make([]vote, n), make([]vote, n) }

func (v *votes) reset(isRead bool) {
	clear(v.ordered)
	clear(v.reads)
	v.isRead = isRead
}

// add counts a reply, in place of the same replica's earlier one. It is the caller's that the reply is to this call, and
// from the replica that it names; decoding has compared its result with its digest.
func (v *votes) add(r *wire.Reply) {
	place := &v.ordered[r.Replica]
	if r.ReadOnly {
		place = &v.reads[r.Replica]
	}
	cast := vote{cast: true, tentative: r.Tentative, view: r.View, seq: r.Seq, digest: r.Digest, full: r.Full, result: r.Result}
	if !cast.full && place.full && place.digest == cast.digest {
		cast.full, cast.result = true, place.result
	}
	*place = cast
}

// result finds the bytes that have a digest.
func (v *votes) result(d wire.Digest) ([]byte, bool) {
	for _, all := range [][]vote{v.ordered, v.reads} {
		for i := range all {
			if all[i].full && all[i].digest == d {
				return all[i].result, true
			}
		}
	}
	return nil, false
}

// decided gives the digest of the result, once a quorum of replies matches.
//
// Ordered replies match if their digest is the same and those that are tentative are of one view and sequence number (TOCS §5,
// tentative execution): then the 2f+1 repliers have all prepared the request there, or some correct one has committed it, and
// no view change can undo it. Tentative replies of different views, or numbers, prove no such thing.
//
// Ordered calls wait for 2f+1 as well, even if f+1 replies say "committed": only so does every later read-only quorum
// contain a correct replica that has executed them.
func (v *votes) decided(quorum int) (wire.Digest, bool) {
	for i := range v.ordered {
		a := &v.ordered[i]
		if !a.cast {
			continue
		}
		count := 0
		for j := range v.ordered {
			b := &v.ordered[j]
			if b.cast && b.digest == a.digest && (!b.tentative || b.view == a.view && b.seq == a.seq) {
				count++
			}
		}
		if count >= quorum {
			return a.digest, true
		}
	}
	if !v.isRead {
		return wire.Digest{}, false
	}
	best, count, _ := v.bestRead()
	return best, count >= quorum
}

// readsLike says whether an unordered reply supports another. Those from committed states match by digest alone. A tentative
// one is supported by those of the same state: the same number, and, where they are tentative, too, the same view. Then the
// 2f+1 repliers have all prepared everything up to that number, so that it will commit, and each of them has everything
// up to that number that any client has a result of. Of different states, with equal results, that cannot be said: what made
// the difference may still be undone.
func (a *vote) readsLike(b *vote) bool {
	switch {
	case !b.cast || b.digest != a.digest:
		return false
	case a.tentative:
		return b.seq == a.seq && (!b.tentative || b.view == a.view)
	}
	return !b.tentative
}

// dropTentative forgets the tentative unordered replies; whether there were any.
func (v *votes) dropTentative() (found bool) {
	for i := range v.reads {
		if v.reads[i].tentative {
			v.reads[i], found = vote{}, true
		}
	}
	return found
}

// bestRead is the digest on which most unordered replies agree, how many do, and how many have not answered.
func (v *votes) bestRead() (best wire.Digest, count, silent int) {
	for i := range v.reads {
		if !v.reads[i].cast {
			silent++
			continue
		}
		same := 0
		for j := range v.reads {
			if v.reads[i].readsLike(&v.reads[j]) {
				same++
			}
		}
		if same > count {
			best, count = v.reads[i].digest, same
		}
	}
	return best, count, silent
}

// want is what a call lacks.
type want int

const (
	wantNothing   want = iota
	wantReplies        // more replies: they may be under way
	wantOrder          // the unordered replies contradict each other: order the operation
	wantResult         // a quorum agrees, but the result itself has not come; the replier may be about to send it
	wantOthers         // the same, and the replier has answered without it: ask the others
	wantCommitted      // a quorum of unordered replies is there, some from different tentative states: one that is late may yet do
)

func (v *votes) missing(quorum int, replier wire.ReplicaID) want {
	if digest, ok := v.decided(quorum); ok {
		if _, known := v.result(digest); known {
			return wantNothing
		}
		if v.ordered[replier].cast || v.reads[replier].cast {
			return wantOthers
		}
		return wantResult
	}
	if !v.isRead {
		return wantReplies
	}
	_, count, silent := v.bestRead()
	switch {
	case count+silent < quorum:
		return wantOrder
	case len(v.reads)-silent >= quorum && slices.ContainsFunc(v.reads, func(r vote) bool { return r.tentative }):
		return wantCommitted
	}
	return wantReplies
}
