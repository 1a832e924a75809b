package wire

import (
	"crypto/sha256"
	"fmt"
)

// SlotVote is a COMMIT that rides on another message of the same sender and view (TOCS §5, piggy-backed commits).
type SlotVote struct {
	Seq    Seq
	Digest Digest
}

// Entry is one request of a PRE-PREPARE: inline (Inline set, Digest zero), or by digest alone (Digest set) when the
// client sends the body to all replicas itself (TOCS §5, separate request transmission).
type Entry struct {
	Inline Body
	Digest Digest
}

// PrePrepare is PRE-PREPARE: the primary of View proposes a batch for Seq (TOCS §4.3).
type PrePrepare struct {
	View    View
	Seq     Seq
	Replica ReplicaID
	Choice  []byte
	Entries []Entry
	Commits []SlotVote

	requests []*Request // decoded inline requests; nil where only the digest travels
	batch    *Batch
	digest   Digest
	content  []byte
}

// NewPrePrepare makes a pre-prepare; inline[i] says whether the body of request i travels in it.
func NewPrePrepare(v View, n Seq, from ReplicaID, choice []byte, reqs []*Request, inline []bool) *PrePrepare {
	p := &PrePrepare{View: v, Seq: n, Replica: from, Choice: choice, Entries: make([]Entry, len(reqs))}
	p.requests = make([]*Request, len(reqs))
	for i, r := range reqs {
		if inline[i] {
			p.Entries[i].Inline = r.Body()
			p.requests[i] = r
		} else {
			p.Entries[i].Digest = r.Digest()
		}
	}
	p.finish()
	return p
}

// finish computes what is derived from the entries.
func (p *PrePrepare) finish() {
	b := &Batch{Choice: p.Choice, Requests: make([]Digest, len(p.Entries))}
	for i, r := range p.requests {
		if r != nil {
			b.Requests[i] = r.digest
		} else {
			b.Requests[i] = p.Entries[i].Digest
		}
	}
	p.batch, p.content = b, b.Encode()
	p.digest = sha256.Sum256(p.content)
}

// Kind is KindPrePrepare.
func (*PrePrepare) Kind() Kind { return KindPrePrepare }

// Sender is the replica the message claims to be from.
func (p *PrePrepare) Sender() ReplicaID { return p.Replica }

// Requests gives the inline requests; nil where the digest alone travels.
func (p *PrePrepare) Requests() []*Request { return p.requests }

// Batch is the proposed batch.
func (p *PrePrepare) Batch() *Batch { return p.batch }

// Content is the encoding of the batch, which BatchDigest covers.
func (p *PrePrepare) Content() []byte { return p.content }

// BatchDigest names the batch: SHA-256 over what does not depend on the view.
func (p *PrePrepare) BatchDigest() Digest { return p.digest }

func (p *PrePrepare) check() error {
	if err := p.batch.check(); err != nil {
		return err
	}
	return checkVotes(p.Commits)
}

// Prepare is PREPARE: a backup accepted the proposal (TOCS §4.3).
type Prepare struct {
	View    View
	Seq     Seq
	Digest  Digest
	Replica ReplicaID
	Commits []SlotVote
}

// Kind is KindPrepare.
func (*Prepare) Kind() Kind { return KindPrepare }

// Sender is the replica the message claims to be from.
func (p *Prepare) Sender() ReplicaID { return p.Replica }

func (p *Prepare) check() error { return checkVotes(p.Commits) }

// Commit is COMMIT: the sender has a prepared certificate, durably (TOCS §4.3).
type Commit struct {
	View    View
	Seq     Seq
	Digest  Digest
	Replica ReplicaID
}

// Kind is KindCommit.
func (*Commit) Kind() Kind { return KindCommit }

// Sender is the replica the message claims to be from.
func (c *Commit) Sender() ReplicaID { return c.Replica }

func (c *Commit) check() error { return nil }

// Abandon is ABANDON: the sender has not prepared the proposal for Seq in View and promises never to, because it holds
// requests that it cannot authenticate. A quorum of them turns the slot into a null request in the same view, so that
// a client whose authenticators convince the primary alone costs a slot and not a view change ("big MAC attack",
// Clement et al., NSDI '09). It is not in the papers: see package pbft, doubt.go.
type Abandon struct {
	View    View
	Seq     Seq
	Digest  Digest
	Replica ReplicaID
	Doubted []Digest // the requests the sender could not authenticate; empty when it only joins others
}

// Kind is KindAbandon.
func (*Abandon) Kind() Kind { return KindAbandon }

// Sender is the replica the message claims to be from.
func (a *Abandon) Sender() ReplicaID { return a.Replica }

func (a *Abandon) check() error {
	if len(a.Doubted) > MaxBatch {
		return fmt.Errorf("%d doubted requests exceed %d", len(a.Doubted), MaxBatch)
	}
	return nil
}

// Vouch is VOUCH: the sender authenticated this request, from its client, and waits for it to be executed. It replaces the
// paper's relaying of requests to the primary (TOCS §4.2): the primary fetches a body that it lacks, f+1 vouchers make up
// for a MAC that does not convince it, and a view-change timer starts only for what a quorum vouches for, so that a
// client with partial authenticators cannot cause a view change.
type Vouch struct {
	Replica ReplicaID
	Client  ClientID
	Slot    Slot
	Number  uint64
	Digest  Digest
}

// Kind is KindVouch.
func (*Vouch) Kind() Kind { return KindVouch }

// Sender is the replica the message claims to be from.
func (v *Vouch) Sender() ReplicaID { return v.Replica }

func (v *Vouch) check() error { return nil }

// Reply is REPLY. The client accepts a result that 2f+1 replicas gave with matching Digest, of the same View and Seq when they
// are tentative (TOCS §4.2, §5).
type Reply struct {
	View      View
	Seq       Seq // the batch that the operation was executed in; of a read, the last batch executed before it
	Client    ClientID
	Slot      Slot
	Number    uint64
	Replica   ReplicaID
	Tentative bool // the batch has not committed yet
	ReadOnly  bool // answered without ordering; never mix with ordered replies in a quorum
	Digest    Digest
	Full      bool // Result is present; else the digest alone
	Result    []byte
}

// Kind is KindReply.
func (*Reply) Kind() Kind { return KindReply }

// Sender is the replica the message claims to be from.
func (r *Reply) Sender() ReplicaID { return r.Replica }

func (r *Reply) check() error {
	switch {
	case len(r.Result) > MaxResult:
		return fmt.Errorf("result of %d bytes exceeds %d", len(r.Result), MaxResult)
	case r.Full && sha256.Sum256(r.Result) != r.Digest:
		return fmt.Errorf("result does not match its digest %v", r.Digest)
	}
	return nil
}

// SupportedBy says whether reply o to the same request, of another replica, counts together with r: what 2f+1 replicas say like
// that is the result, if they say it about one tentative reply, or about final ones alone.
//
// Final replies need the same digest. A tentative reply is supported by the tentative ones of the same View and Seq (TOCS §5,
// tentative execution): then the repliers have all prepared the request there, and no view change can undo it;
// tentative replies of different views, or numbers, prove no such thing. A final reply supports the tentative ones of any
// view, for the request has committed; but of a read it must be of the same state, Seq: each replier then has everything up to
// there that any client has a result of, and it will commit. Of different states with equal results that cannot be
// said: what made the difference may still be undone.
func (r *Reply) SupportedBy(o *Reply) bool {
	switch {
	case r.Digest != o.Digest || r.ReadOnly != o.ReadOnly:
		return false
	case !r.Tentative:
		return !o.Tentative
	case o.Tentative:
		return r.View == o.View && r.Seq == o.Seq
	}
	return !r.ReadOnly || r.Seq == o.Seq
}

// ResultDigest is what replies with the same result agree on.
func ResultDigest(result []byte) Digest { return sha256.Sum256(result) }

func checkVotes(v []SlotVote) error {
	if len(v) > MaxVotes {
		return fmt.Errorf("%d piggy-backed commits exceed %d", len(v), MaxVotes)
	}
	return nil
}
