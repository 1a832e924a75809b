package pbft

import "bfsd/replica/wire"

// Effects collects what a Step wants done. The driver applies them in order. A Persist must be durable before any Send,
// Broadcast or Reply that follows it, in this Step or a later one, leaves; the driver may gather many Persists into
// one sync, as long as what follows waits. Execute, Query, snapshots and FetchState need not wait for it.
type Effects []Effect

// Effect is something the driver must do.
type Effect interface{ effect() }

// Persist appends a record to the log. The record may be dropped once a stable checkpoint at or above Seq is durable; a
// record with Seq 0 is about the view: the newest of those must be kept, older ones may be dropped.
type Persist struct {
	Seq    wire.Seq
	View   wire.View // of a record with Seq 0: no message so far is about a later one
	Record []byte
}

// Rejoined says that nothing is in doubt any more (Recovered.Doubt): the driver tells its store, once everything that was
// persisted so far, and the last stable checkpoint, are durable.
type Rejoined struct{}

// Send sends a message to one principal, over its link. Signed messages sent this way already have their signature.
type Send struct {
	To  wire.Principal
	Msg wire.Message
}

// Broadcast sends a message to all other replicas. A CHECKPOINT, VIEW-CHANGE or NEW-VIEW in it is this replica's own and
// not yet signed: the driver signs it (auth.Verifier.Seal), sends it, and Steps Received with the signed copy.
type Broadcast struct{ Msg wire.Message }

// Execute runs requests of one batch on the service, in order, under the batch's choice, records each result with
// Service.SetReply, and answers with Executed. What was executed before is already left out.
//
// When Tentative, the batch may have to be undone (TOCS §5, tentative execution): the driver takes a snapshot of the service before
// and keeps it under the number Seq−1 until a Committed with a Seq of at least that number plus one, or a Rollback.
type Execute struct {
	ID        uint64
	Seq       wire.Seq
	Choice    []byte
	Requests  []*wire.Request
	Tentative bool
}

// Committed says that everything up to Seq has committed: snapshots kept for undoing it may go.
type Committed struct{ Seq wire.Seq }

// Rollback returns the service to the state after ToSeq, undoing the tentative executions behind it: the driver restores
// the snapshot that it kept under the lowest number of at least ToSeq (batches that execute nothing leave no snapshot),
// and forgets it and all later ones.
type Rollback struct{ ToSeq wire.Seq }

// Query runs a read-only operation on the current state and answers with Queried.
type Query struct {
	ID      uint64
	Request *wire.Request
}

// TakeSnapshot freezes the state as it is now, after batch Seq, and answers with Snapshotted when its root is computed. From
// then on the driver serves peers from it, too: a new view may start from a state that is announced and not yet stable.
type TakeSnapshot struct {
	ID  uint64
	Seq wire.Seq
}

// ReleaseSnapshot says that the core will never need a snapshot of TakeSnapshot again, neither its root.
type ReleaseSnapshot struct{ ID uint64 }

// StableCheckpoint says that the snapshot ID, after batch Seq, is proven: the driver writes it to the store with the
// proof, and only then drops records up to Seq. It owns the snapshot from now on and serves peers from it; it should
// keep it pinned for a while after the next one, so that peers that are fetching can finish.
type StableCheckpoint struct {
	ID    uint64
	Seq   wire.Seq
	Root  wire.Digest
	Proof []*wire.Checkpoint
}

// FetchState asks for the state with a root, from the peers (state transfer, TOCS §4.6): nodes whose digests match are good,
// whoever sends them. Sources are where to ask first. The driver answers with StateFetched or
// StateUnavailable; a newer FetchState replaces an older one. The core executes nothing until StateFetched. The driver
// must make the state durable, with Proof, before it answers, because records up to Seq are then void.
type FetchState struct {
	Seq     wire.Seq
	Root    wire.Digest
	Sources []wire.ReplicaID
	Proof   []*wire.Checkpoint
}

// Reply sends a client its reply, over whatever link the client has to this replica.
type Reply struct {
	Client wire.ClientID
	Reply  *wire.Reply
}

// Trace reports what happened, for logs, metrics and traces. It asks for nothing.
type Trace struct {
	Event   TraceEvent
	View    wire.View
	Seq     wire.Seq
	Digest  wire.Digest
	Replica wire.ReplicaID
	Reason  Reason // of TraceViewChange
}

func (Persist) effect()          {}
func (Send) effect()             {}
func (Broadcast) effect()        {}
func (Execute) effect()          {}
func (Committed) effect()        {}
func (Rollback) effect()         {}
func (Query) effect()            {}
func (TakeSnapshot) effect()     {}
func (ReleaseSnapshot) effect()  {}
func (StableCheckpoint) effect() {}
func (FetchState) effect()       {}
func (Reply) effect()            {}
func (Trace) effect()            {}
func (Rejoined) effect()         {}

func (e *Effects) add(f Effect) { *e = append(*e, f) }

// TraceEvent says what a Trace reports.
type TraceEvent uint8

// The events worth reporting. Those of Loud mean that somebody is faulty or something was lost.
const (
	TracePrepared TraceEvent = iota + 1
	TraceCommitted
	TraceAdopted       // committed because f+1 replicas said so
	TraceViewChange    // left the view before View
	TraceNewView       // View is active
	TraceStable        // a checkpoint became stable
	TraceFetching      // state transfer began
	TraceFetched       // state transfer ended
	TraceEquivocation  // Replica proposed two batches for Seq in View
	TraceBadNewView    // the primary's NEW-VIEW does not follow from its VIEW-CHANGEs
	TraceBadChoice     // the primary's choice was refused
	TraceCorrupt       // my state differs from the stable checkpoint
	TraceAbandoned     // a proposal was abandoned for requests that cannot be authenticated
	TraceBadRecord     // a log record does not decode: the log is of another build, or corrupt
	TraceUndone        // another batch committed than the one executed tentatively
	TraceUnauthentic   // a proposal holds a request that I cannot authenticate yet
	TraceBadProposal   // the primary proposed a batch larger than the configuration allows
	TraceStateOutdated // nobody has the state any more that I was fetching
	TraceDoubt         // I may have forgotten what I said, and do not vote
	TraceRejoined      // whatever I forgot lies behind the stable checkpoint
	TraceDivergence    // Replica announced another root than 2f+1 did for the checkpoint Seq
	traceEnd
)

// TraceEvents lists all there are.
func TraceEvents() []TraceEvent {
	all := make([]TraceEvent, 0, traceEnd-1)
	for e := TracePrepared; e < traceEnd; e++ {
		all = append(all, e)
	}
	return all
}

// String names the event.
func (t TraceEvent) String() string {
	names := [...]string{
		TracePrepared: "prepared", TraceCommitted: "committed", TraceAdopted: "adopted", TraceViewChange: "view change",
		TraceNewView: "new view", TraceStable: "stable checkpoint", TraceFetching: "fetching state", TraceFetched: "fetched state",
		TraceEquivocation: "equivocation", TraceBadNewView: "bad new view", TraceBadChoice: "bad choice",
		TraceCorrupt: "state differs from stable checkpoint", TraceAbandoned: "abandoned", TraceBadRecord: "bad log record",
		TraceUndone: "undone", TraceBadProposal: "bad proposal", TraceUnauthentic: "unauthentic request", TraceStateOutdated: "state outdated",
		TraceDoubt: "in doubt", TraceRejoined: "rejoined", TraceDivergence: "diverging checkpoint",
	}
	if int(t) < len(names) {
		return names[t]
	}
	return "unknown"
}

// Loud says whether the event deserves an operator's attention.
func (t TraceEvent) Loud() bool {
	switch t {
	case TraceEquivocation, TraceBadNewView, TraceBadProposal, TraceCorrupt, TraceBadRecord, TraceDivergence:
		return true
	default:
		return false
	}
}

// Reason says why a replica left a view.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = iota
	ReasonTimeout            // a request that a quorum vouched for was not executed in time
	ReasonStalled            // a batch was proposed and did not commit
	ReasonJoined             // f+1 other replicas asked for a later view
	ReasonRejoining          // the primary, or one who asks for the next view, has forgotten what it said and rejoins
	ReasonPrimaryLeft        // the primary itself asked for the next view
	ReasonStray              // another replica has long been alone in the next view
	reasonEnd
)

// Reasons lists all there are, but ReasonNone.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonEnd-1)
	for r := ReasonTimeout; r < reasonEnd; r++ {
		all = append(all, r)
	}
	return all
}

// String names the reason, as metrics and logs do.
func (r Reason) String() string {
	names := [...]string{"none", "timeout", "stalled", "joined", "rejoining", "primary_left", "stray"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}
