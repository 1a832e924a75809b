package pbft

import (
	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// Event is what can happen to a replica. The driver hands events to Core.Step one at a time.
type Event interface{ event() }

// Tick tells the core that time passes: retransmission and timeouts happen on ticks. A few milliseconds apart is right.
// The first event after New must be a Tick: it is what resumes execution after a restart.
type Tick struct{}

// Received is a message that arrived and was verified; or the replica's own signed message: the driver signs what a
// Broadcast of a CHECKPOINT, VIEW-CHANGE or NEW-VIEW holds, sends it, and gives the core the signed copy.
type Received struct{ Message auth.Verified }

// Executed answers Execute: the results of its requests, in order.
//
// The driver runs the service while it applies effects and answers before any other event: it applies all effects of
// one Step, then Steps the Executed and Queried events that they produced, in order, then whatever those produced.
type Executed struct {
	ID      uint64 // the Execute's
	Results [][]byte
}

// Queried answers Query. OK is false when the operation cannot be answered without ordering; the core then orders it.
type Queried struct {
	ID     uint64 // the Query's
	Result []byte
	OK     bool
}

// Snapshotted answers TakeSnapshot, whenever the root has been computed: other events may come before.
type Snapshotted struct {
	ID   uint64 // the TakeSnapshot's
	Root wire.Digest
}

// StateFetched answers FetchState: the service's state is now the checkpoint's, and Replies is the client table in it.
// The driver has made the state durable as it does for a StableCheckpoint, and holds a snapshot of it.
type StateFetched struct {
	Seq     wire.Seq
	Root    wire.Digest
	Replies []ClientReply
}

// StateUnavailable answers FetchState when no peer has that state any more. The core asks for another when it can.
type StateUnavailable struct {
	Seq  wire.Seq
	Root wire.Digest
}

// ClientReply is the last reply in a client's slot, as the service records it under its root.
type ClientReply struct {
	Client wire.ClientID
	Slot   wire.Slot
	Number uint64
	Result []byte
}

func (Tick) event()             {}
func (Received) event()         {}
func (Executed) event()         {}
func (Queried) event()          {}
func (Snapshotted) event()      {}
func (StateFetched) event()     {}
func (StateUnavailable) event() {}

// Recovered is what a restarted replica found in its store. The zero value is a new replica.
type Recovered struct {
	Stable  wire.CheckpointRef // of the state that the service was restored to; Seq 0 when there is none
	Proof   []*wire.Checkpoint // as StableCheckpoint gave it
	Replies []ClientReply      // the client table in the restored state
	Records [][]byte           // the log, in the order in which Persist wrote it
	Doubt   *Doubt             // nil: Records is all that the replica wrote
}

// Doubt says that a replica may have said things of which its store knows nothing (rejoin.go).
type Doubt struct {
	Nonce uint64 // random and not 0: of this life, or of the store if that is New
	New   bool   // the store is new: perhaps nothing was said at all
	// View is the highest view in which the replica said anything or for which it asked, if ViewKnown.
	View      wire.View
	ViewKnown bool
}
