package main

import (
	"time"

	"bfsd/bench/internal/measure"
)

// The targets.
const (
	targetGroup = "bfs"
	targetPlain = "unreplicated"
	targetEcho  = "tcp-echo" // no server at all: two goroutines, to tell what any exchange costs here
)

// The faults.
const (
	faultNone   = "none"
	faultKilled = "killed-primary"
)

// observation is one line of observations.jsonl: one measurement. Times are in seconds.
type observation struct {
	Date       time.Time `json:"date"`
	Run        int       `json:"run"` // from 1
	Part       string    `json:"part"`
	Target     string    `json:"target"`
	Replicas   int       `json:"replicas"` // 0: not replicated
	Off        string    `json:"switched_off,omitempty"`
	Fault      string    `json:"fault"`
	Durability string    `json:"durability"`
	Gateways   int       `json:"gateways"`
	Interval   int       `json:"checkpoint_interval,omitempty"`
	StateMiB   int64     `json:"state_mib"`
	Mode       string    `json:"mode"`
	Op         string    `json:"op"`
	Clients    int       `json:"clients"`
	loadReport
	Throughput  float64 `json:"throughput"`              // operations per second
	CPUPerOp    float64 `json:"cpu_per_op"`              // of all processes; 0 where it was not measured
	OpsPerBatch float64 `json:"ops_per_batch,omitempty"` // of ordered operations
	Verified    bool    `json:"verified"`                // every result was right, and the replicas had equal roots afterwards
	Error       string  `json:"error,omitempty"`
	// Load is the machine's load average over the minute before the measurement: this benchmark's own, and what else ran.
	Load    float64         `json:"load"`
	Machine measure.Machine `json:"machine"`
}

// derive fills in what follows from the report.
func (o *observation) derive(batches uint64) {
	o.Throughput = float64(o.Operations) / o.Seconds
	o.CPUPerOp = (o.ServerCPU + o.ClientCPU) / float64(o.Operations)
	if o.Mode == modeOrdered && batches > 0 {
		o.OpsPerBatch = float64(o.Calls) / float64(batches)
	}
}
