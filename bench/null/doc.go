// Command null measures what agreement costs with operations that do nothing (the micro-benchmarks of TOCS §8.1): their
// latency, the throughput of many clients and the processor time of each operation, for groups of several sizes and an
// unreplicated server over the same links; what each optimisation brings, by switching it off; for how long the service
// is away when the primary dies; and what checkpoints cost. README.md says how to read its figures.
//
// Every replica is a process of its own that runs replica.Node with the keys, the cluster.toml and the TLS links of
// production; only the service is another (service.go). The clients are one process more. The program starts them by
// running itself in another role (role.go).
//
// Start reading at main.go; plan.go is what is measured in which order, bench.go carries it out, group.go starts the
// processes of one group, load.go makes the calls and measures, summary.go and table.go say what came of it.
package main
