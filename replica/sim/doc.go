// Package sim runs whole clusters (pbft.Core, a service, a log on a disk) over a simulated network, disk and clock, all
// driven by one seed: the same seed gives the same run, event for event. It looks for what tests of parts cannot see: two
// histories, a promise forgotten in a crash, a cluster that stands still.
//
// A run has two phases. In the safety phase everything may go wrong at once: messages are lost, repeated, reordered, late;
// replicas crash and forget what was not synced, stop and go on, are cut off; up to f replicas are traitors (traitor.go),
// and so may some clients be (rogue.go). Then all faults but f end, and whatever is pending must complete, and all correct
// replicas must reach the same state: the liveness phase. Which faults there are at all, and every size and delay, is drawn
// from the seed too (plan.go): a fault that is always there hides what happens without it.
//
// The checkers (checker.go, promises.go, reads.go, kvcheck.go) look at what replicas and clients do from outside, and share no
// code with the protocol.
//
// The package knows no file system: what is replicated, and what clients do with it, is a Scenario. KV is a small one;
// `bfsd sim` brings the file system.
//
// Start reading at run.go, then world.go and node.go.
package sim
