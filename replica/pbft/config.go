package pbft

import (
	"errors"
	"fmt"

	"bfsd/replica/wire"
)

// Config is what all replicas of a group must agree on, and who this one is. Durations are in nanoseconds.
type Config struct {
	ID      wire.ReplicaID
	F       int             // faults tolerated; the group has 3F+1 replicas
	Clients []wire.ClientID // who may send requests, ascending
	Slots   int             // slots of each client: W

	CheckpointInterval int // K, in batches; the window is 2K (TOCS §4.4)
	BatchWindow        int // batches in flight (TOCS §6.1, sliding window)
	BatchRequests      int // requests in a batch
	BatchBytes         int // bytes of requests in a batch of more than one
	InlineBytes        int // requests with larger operations travel by digest in pre-prepares: wire.Request.Large
	DigestReplyBytes   int // results of more bytes come from the designated replier alone, from the others their digest
	QueriesHeld        int // read-only replies waiting for what they read to commit

	ViewChangeTimeout int64 // from a request's waiting to the first view change; doubles (TOCS §4.5)
	StatusInterval    int64 // between STATUS messages while something is missing
	IdleStatusEvery   int   // in an idle group STATUS goes out every so many intervals
	FetchDelay        int64 // how long a missing body may still come by itself
	DoubtDelay        int64 // how long a backup waits for vouchers before it abandons a proposal (doubt.go)

	Volatile bool // durability memory: there is no log, so Persist effects are not made

	// Switches, for measuring what each optimisation brings.
	NoTentative     bool // execute when committed, not when prepared
	NoDigestReplies bool // every replica sends the result
	NoReadOnly      bool // order read-only requests
	NoPiggyback     bool // send every COMMIT at once and alone

	// Propose makes the primary's choice for what is not deterministic; Check is a backup's veto on one. Both are given
	// this replica's clock and are pure upcalls: see replica.Service.
	Propose func(now int64) []byte
	Check   func(choice []byte, now int64) error
}

// Defaults fills the tunables that are zero.
func (c *Config) Defaults() {
	const ms = int64(1e6)
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Slots, 64},
		{&c.CheckpointInterval, 64},
		{&c.BatchWindow, 8},
		{&c.BatchRequests, 64},
		{&c.BatchBytes, 1 << 20},
		{&c.InlineBytes, 8 << 10},
		{&c.DigestReplyBytes, 64},
		{&c.QueriesHeld, 1024},
		{&c.IdleStatusEvery, 10},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.ViewChangeTimeout == 0 {
		c.ViewChangeTimeout = 500 * ms
	}
	for _, d := range []struct {
		field *int64
		value int64
	}{
		{&c.StatusInterval, 100 * ms},
		{&c.FetchDelay, 20 * ms},
		{&c.DoubtDelay, c.ViewChangeTimeout / 10},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// Validate says what is wrong with a configuration.
func (c *Config) Validate() error {
	switch {
	case c.F < 1 || c.N() > wire.MaxReplicas:
		return fmt.Errorf("f = %d: want 1 to %d", c.F, (wire.MaxReplicas-1)/3)
	case int(c.ID) >= c.N():
		return fmt.Errorf("replica %d in a group of %d", c.ID, c.N())
	case c.CheckpointInterval < 1 || 2*c.CheckpointInterval > wire.MaxWindow:
		return fmt.Errorf("checkpoint interval %d: want 1 to %d", c.CheckpointInterval, wire.MaxWindow/2)
	case c.BatchWindow < 1 || c.BatchWindow > c.CheckpointInterval:
		return fmt.Errorf("batch window %d: want 1 to the checkpoint interval %d", c.BatchWindow, c.CheckpointInterval)
	case c.BatchRequests < 1 || c.BatchRequests > wire.MaxBatch:
		return fmt.Errorf("batch of %d requests: want 1 to %d", c.BatchRequests, wire.MaxBatch)
	case c.BatchBytes < 1 || c.BatchBytes > wire.MaxFrame/4:
		return fmt.Errorf("batch of %d bytes: want 1 to %d", c.BatchBytes, wire.MaxFrame/4)
	case c.InlineBytes < 0 || c.InlineBytes > wire.MaxFrame/4:
		return fmt.Errorf("inline requests up to %d bytes: want 0 to %d", c.InlineBytes, wire.MaxFrame/4)
	case c.Slots < 1 || c.Slots > 1<<16:
		return fmt.Errorf("%d slots: want 1 to %d", c.Slots, 1<<16)
	case c.ViewChangeTimeout <= 0 || c.StatusInterval <= 0 || c.FetchDelay < 0 || c.DoubtDelay <= 0:
		return errors.New("timeouts must be positive")
	case c.Propose == nil || c.Check == nil:
		return errors.New("the upcalls Propose and Check are missing")
	}
	for i := 1; i < len(c.Clients); i++ {
		if c.Clients[i-1] >= c.Clients[i] {
			return fmt.Errorf("clients are not ascending: %d before %d", c.Clients[i-1], c.Clients[i])
		}
	}
	return nil
}

// N is the number of replicas.
func (c *Config) N() int { return 3*c.F + 1 }

// quorum is the size of a quorum certificate, weak that of a weak certificate (TOCS §4.1).
func (c *Config) quorum() int { return 2*c.F + 1 }
func (c *Config) weak() int   { return c.F + 1 }

// window is L, the distance of the water marks.
func (c *Config) window() wire.Seq { return wire.Seq(2 * c.CheckpointInterval) }
