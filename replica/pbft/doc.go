// Package pbft is the protocol: PBFT with MACs (Castro & Liskov, "Practical Byzantine Fault Tolerance and Proactive
// Recovery", TOCS 20(4), 2002, §4 to §6) as a pure state machine. Core.Step takes one event and appends effects; the same
// events give the same effects, byte for byte. There is no goroutine, channel, clock, randomness, IO or map iteration
// here: the replica's driver and the simulator supply those.
//
// It knows views, sequence numbers, quorums, clients' slots. It does not know file systems, links, disks or keys: it
// accepts only auth.Verified messages, and operations and results are bytes.
//
// Start reading at event.go and effect.go, the contract with the driver; then core.go; then the normal case in the order
// of a request's life: request.go, normal.go, slot.go, execute.go, checkpoint.go. The rest repairs: status.go, catchup.go
// (retransmission), viewchange.go, newview.go, timers.go, transfer.go, doubt.go, recovery.go.
package pbft
