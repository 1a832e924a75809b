package replica

import (
	"bytes"

	"bfsd/replica/wire"
)

// Service is the replicated state machine: the application upcalls (after libbyz, TOCS §6.4). Its methods are called one
// at a time, from the node's event loop, except Restore, which has a goroutine of its own while the loop keeps away from
// the service. Snapshot values may be used from elsewhere at any time.
//
// Execute and Query are deterministic functions of the state and their arguments. Failures of an operation are results,
// never errors, and no input makes them panic: operations come from clients, who may be faulty.
type Service interface {
	// Propose is the primary's choice for what is not deterministic (here: the time), given its clock in nanoseconds
	// since 1970.
	Propose(now int64) []byte
	// Check is a backup's veto on a choice, given its own clock.
	Check(choice []byte, now int64) error
	// Execute runs one ordered operation under the batch's choice.
	Execute(c wire.ClientID, op, choice []byte) []byte
	// Query answers a read-only operation from the current state; ok is false when it must be ordered instead.
	Query(c wire.ClientID, op []byte) (result []byte, ok bool)

	// SetReply records the last reply of a client's slot in the state, under the root: a replica that restores the
	// state restores with it what makes execution exactly once.
	SetReply(c wire.ClientID, slot wire.Slot, number uint64, result []byte)
	// Replies calls yield for every recorded reply, in order of client and slot.
	Replies(yield func(c wire.ClientID, slot wire.Slot, number uint64, result []byte) bool)

	// Load fills a service that is new, or whose last Load or Restore failed, with the pairs that Diff gave of another.
	// They come from a disk, which may lie: the caller compares the root afterwards. pairs calls its argument for each;
	// neither key nor value may be kept.
	Load(pairs func(yield func(key, value []byte) error) error) error

	// Snapshot freezes the current state, in O(1).
	Snapshot() Snapshot
	// Rollback returns to a snapshot of this service, in O(1). The snapshot stays valid.
	Rollback(s Snapshot)
	// Restore replaces the state by the one whose root is given. It fetches only what it lacks; kept is told, each time, how
	// many bytes it has found it has already. each, unless it is nil, is told all pairs of the new state as Diff would emit
	// them, if it can be while they come: who keeps them must forget them if there is an error. After an error the old state is
	// kept.
	Restore(root wire.Digest, fetch Fetch, kept func(bytes uint64), each func(key, value []byte) error) error
}

// Fetch is told the digests of more nodes of a state that a service wants, and returns at least one of those that it has been
// told since it was first called, each once, in any order. So the service works on some while others are under way.
type Fetch func(more []wire.Digest) ([]StateNode, error)

// StateNode is the encoding of a node of a state, which has been compared with its digest.
type StateNode struct {
	Digest   wire.Digest
	Encoding []byte // part of a message: to be copied, not kept
}

// All waits for all nodes with some digests, for a service that has no use for some of them, and returns them in their order.
func (f Fetch) All(digests []wire.Digest) ([][]byte, error) {
	nodes := make(map[wire.Digest][]byte, len(digests))
	for more := digests; len(nodes) < len(digests); more = nil {
		some, err := f(more)
		if err == nil && len(some) == 0 {
			err = errStateGone
		}
		if err != nil {
			return nil, err
		}
		for _, n := range some {
			nodes[n.Digest] = bytes.Clone(n.Encoding)
		}
	}
	out := make([][]byte, len(digests))
	for i, d := range digests {
		out[i] = nodes[d]
	}
	return out, nil
}

// Snapshot is a frozen state. Its methods are safe on any goroutine, concurrently with the service.
type Snapshot interface {
	// Root is the digest of everything replicated. It hashes what changed since the last snapshot whose root was taken.
	Root() wire.Digest
	// Node returns the encoding of the tree node with a digest, which is its SHA-256, for a peer that restores; false if it
	// has none.
	Node(d wire.Digest) ([]byte, bool)
	// Size is how many bytes all nodes take, about: for showing how far a restoring peer has come.
	Size() uint64
	// Diff calls emit for every stored pair in which this snapshot differs from an earlier one of the same service
	// (nil: from the empty state), in key order; value nil means the key is gone. It is how a checkpoint is written
	// at the cost of what changed.
	Diff(since Snapshot, emit func(key, value []byte) error) error
	// Release says the snapshot is not needed any more: Node finds nothing from then on.
	Release()
}
