package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// faultNone is the only fault so far: the normal case.
const faultNone = "none"

// observation is one line of observations.jsonl: one run of one target. Times are in seconds.
type observation struct {
	Date       time.Time `json:"date"`
	Run        int       `json:"run"` // from 1, as the targets are interleaved
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
	Load    float64 `json:"load"`
	Machine machine `json:"machine"`
}

// machine is where a run ran.
type machine struct {
	Host     string `json:"host"`
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB uint64 `json:"memory_mb"`
	System   string `json:"system"`
	Go       string `json:"go"`
	Commit   string `json:"commit,omitempty"`
}

func thisMachine(ctx context.Context) machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	m.Host, _ = os.Hostname() // left empty where it is unknown
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(info) {
			if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMB = info.Totalram * uint64(info.Unit) >> 20
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.System = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// loadAverage is 0 where the system does not tell.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

// recorder appends observations to DIR/observations.jsonl, each as soon as it is made.
type recorder struct {
	file *os.File
	all  []observation
}

func newRecorder(dir string) (*recorder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory for observations: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "observations.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the file for observations: %w", err)
	}
	return &recorder{file: f}, nil
}

func (r *recorder) record(o observation) error {
	line, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode an observation: %w", err)
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write an observation: %w", err)
	}
	r.all = append(r.all, o)
	return nil
}

func (r *recorder) close() error { return r.file.Close() }
