// Package replica is one replica of a group: Node, the event loop that joins the protocol's core (pbft) to the links
// (transport), the durable log and checkpoints (store) and the replicated service. It knows no file system: what it
// replicates is any Service.
//
// The way in: links' readers verify messages in parallel (auth) and put them into the inbox; the loop takes them in turns
// and steps the core. The way out: the core's effects are applied in order (apply.go); frames wait in the outbox until
// the log records before them are durable. Beside the loop, a worker hashes snapshots and writes checkpoints (worker.go),
// and a fetcher restores the state from peers (fetcher.go).
//
// Start reading at Service, then Node.
package replica
