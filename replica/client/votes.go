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
	cast bool
	wire.Reply
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
	cast := vote{true, *r}
	if !cast.Full && place.Full && place.Digest == cast.Digest {
		cast.Full, cast.Result = true, place.Result
	}
	*place = cast
}

// result finds the bytes that have a digest.
func (v *votes) result(d wire.Digest) ([]byte, bool) {
	for _, all := range [][]vote{v.ordered, v.reads} {
		for i := range all {
			if all[i].Full && all[i].Digest == d {
				return all[i].Result, true
			}
		}
	}
	return nil, false
}

// decided gives the digest of the result, once a quorum of replies matches.
//
// Which replies match is told at wire.Reply.SupportedBy.
//
// Ordered calls wait for 2f+1 as well, even if f+1 replies say "committed": only so does every later read-only quorum
// contain a correct replica that has executed them.
func (v *votes) decided(quorum int) (wire.Digest, bool) {
	for i := range v.ordered {
		if support(v.ordered, &v.ordered[i]) >= quorum {
			return v.ordered[i].Digest, true
		}
	}
	if !v.isRead {
		return wire.Digest{}, false
	}
	best, count, _ := v.bestRead()
	return best, count >= quorum
}

// support counts the votes that support one of them.
func support(votes []vote, of *vote) (n int) {
	for i := range votes {
		if v := &votes[i]; of.cast && v.cast && of.SupportedBy(&v.Reply) {
			n++
		}
	}
	return n
}

// dropTentative forgets the tentative unordered replies; whether there were any.
func (v *votes) dropTentative() (found bool) {
	for i := range v.reads {
		if v.reads[i].Tentative {
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
		if same := support(v.reads, &v.reads[i]); same > count {
			best, count = v.reads[i].Digest, same
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
	case len(v.reads)-silent >= quorum && slices.ContainsFunc(v.reads, func(r vote) bool { return r.Tentative }):
		return wantCommitted
	}
	return wantReplies
}
