package config

import "bfsd/replica/wire"

// Optimisations switch what makes the protocol fast, each on its own, so that what it brings can be measured
// (bench/null). Every combination is safe; all members must use the same.
type Optimisations struct {
	MACs          bool `toml:"macs" comment:"Clients prove a request with a MAC for each replica; off: with a signature, which costs some hundred times as much."`
	Batching      bool `toml:"batching" comment:"Under load requests are ordered together, batch_window batches at a time; off: each by itself, at once."`
	DigestReplies bool `toml:"digest_replies" comment:"One replica answers with the result and the others with its digest; off: all with the result."`
	Tentative     bool `toml:"tentative" comment:"Operations execute as soon as they are prepared, to be undone if they do not commit; off: when they have committed."`
	ReadOnly      bool `toml:"read_only" comment:"Operations that change nothing are not ordered; off: they are ordered like others."`
	LargeRequests bool `toml:"large_requests" comment:"Requests above large_request_bytes go from the client to all replicas; off: all travel inside their batch."`
	Piggyback     bool `toml:"piggyback" comment:"COMMITs ride on other messages, or wait for 5 ms; off: each is a message by itself, at once."`
}

// AllOptimisations has everything on.
func AllOptimisations() Optimisations {
	return Optimisations{
		MACs: true, Batching: true, DigestReplies: true, Tentative: true, ReadOnly: true, LargeRequests: true, Piggyback: true,
	}
}

// Batch is how many requests are ordered together at most, and how many batches are in flight.
func (c *Cluster) Batch() (requests, window int) {
	if !c.Optimisations.Batching {
		return 1, int(c.Tunables.CheckpointInterval)
	}
	return c.Tunables.BatchRequests, c.Tunables.BatchWindow
}

// LargeRequestBytes is the size above which an operation travels apart from its batch: clients and replicas must judge
// alike (wire.Request.Large).
func (c *Cluster) LargeRequestBytes() int {
	if !c.Optimisations.LargeRequests {
		return wire.MaxOp
	}
	return c.Tunables.LargeRequestBytes
}
