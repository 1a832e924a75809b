package main

import (
	"time"

	"bfsd/bench/internal/measure"
)

// faultNone is the only fault so far: the normal case.
const faultNone = "none"

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
