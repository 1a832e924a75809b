package sim

import (
	"math/rand/v2"

	"bfsd/replica"
	"bfsd/replica/wire"
)

// Scenario is what is replicated, and what clients do with it.
type Scenario struct {
	Name string
	// New makes an empty service. All that it makes in one run must behave alike; the model that replies are compared
	// with is one of them.
	New func() replica.Service
	// Workload makes the operations of one slot of a correct client. rng is the slot's own.
	Workload func(rng *rand.Rand, c wire.ClientID, s wire.Slot) Workload
	// Rogue makes an operation of a faulty client.
	Rogue func(rng *rand.Rand) []byte
	// Check looks at the history of the correct clients, in addition to the general checks; nil: there is nothing to add.
	// It returns what is wrong, or "".
	Check func(history []Operation) string
}

// Workload is what one slot of a client does: one operation after another.
type Workload interface {
	// Next gives the next operation, knowing the result of the last; nil at first.
	Next(last []byte) (op []byte, readOnly bool)
}

// Operation is one that a correct client invoked, and its result. The times are places in the run, not durations: of
// two events the later one has the larger time.
type Operation struct {
	Client   wire.ClientID
	Slot     wire.Slot
	Number   uint64
	Op       []byte
	ReadOnly bool // invoked as such
	Result   []byte
	Done     bool // the client accepted Result
	Ordered  bool // Result came from ordered replies
	Invoked  int64
	Returned int64
}
