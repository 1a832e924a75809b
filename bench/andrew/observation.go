package main

import (
	"time"

	"bfsd/bench/internal/measure"
)

// observation is one line of observations.jsonl: one run of one target. Times are in seconds.
type observation struct {
	Date       time.Time `json:"date"`
	Run        int       `json:"run"` // from 1, as the targets are interleaved
	Workload   string    `json:"workload"`
	Target     string    `json:"target"`
	Fault      string    `json:"fault"`
	Client     string    `json:"client"`
	Kernel     string    `json:"kernel,omitempty"` // of the kernel client: "native" or "uml"
	Scale      int       `json:"scale"`
	Seed       uint64    `json:"seed"`
	Replicas   int       `json:"replicas"`   // 0: not replicated
	Durability string    `json:"durability"` // of this target: memory, os, disk, or unknown
	Compiler   string    `json:"compiler,omitempty"`
	measurement
	// Probe is what a prober beside the workload saw, where one ran. LongestPause is its longest call if the workload's own
	// were shorter.
	Probe *probing `json:"probe,omitempty"`
	// Of bfs: how many views the cluster went through, how often the fault struck where that is not once, how long a replica
	// that was started again took until it had the state (seconds, the longest), and how many replicas were found in one
	// state at the end.
	ViewChanges   uint64  `json:"view_changes,omitempty"`
	FaultCount    int     `json:"fault_count,omitempty"`
	Recovered     float64 `json:"recovered,omitempty"`
	ReplicasEqual int     `json:"replicas_equal,omitempty"`

	Verified      bool   `json:"verified"`
	VerifiedFiles int    `json:"verified_files"`
	VerifiedBytes int64  `json:"verified_bytes"`
	Error         string `json:"error,omitempty"`
	// StartSeconds is how long the target took from its start until it answered; 0 for one that was running already.
	StartSeconds float64 `json:"start_seconds"`
	// Load is the machine's load average over the minute before the run: what else it was doing.
	Load    float64         `json:"load"`
	Machine measure.Machine `json:"machine"`
}
