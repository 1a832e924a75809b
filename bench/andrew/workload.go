package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// phase is one of the benchmark's five.
type phase string

// The phases, in order.
const (
	phaseMakeDir phase = "MakeDir"
	phaseCopy    phase = "Copy"
	phaseScanDir phase = "ScanDir"
	phaseReadAll phase = "ReadAll"
	phaseMake    phase = "Make"
)

var allPhases = []phase{phaseMakeDir, phaseCopy, phaseScanDir, phaseReadAll, phaseMake}

func parsePhases(names []string) ([]phase, error) {
	var chosen []phase
	for _, p := range allPhases {
		if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), string(p)) }) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(allPhases, func(p phase) bool { return strings.EqualFold(strings.TrimSpace(name), string(p)) }) {
			return nil, fmt.Errorf("no phase is called %q; there are %v", name, allPhases)
		}
	}
	return chosen, nil
}

// output is a file that Make writes, with what it must contain. Data is nil where only the digest is known.
type output struct {
	Path   string `json:"path"` // relative to the root of a copy
	SHA256 string `json:"sha256"`
	Data   []byte `json:"data,omitempty"`
}

// workload is everything that decides what a run does. It travels to the guest as JSON, where the tree is generated again
// from the seed.
type workload struct {
	Seed     uint64   `json:"seed"`
	Scale    int      `json:"scale"`
	Phases   []phase  `json:"phases"` // measured ones; earlier ones they need run unmeasured
	Compiler compiler `json:"compiler"`
	Outputs  []output `json:"outputs,omitempty"` // of one copy
}

func (w workload) tree() *sourceTree { return generateTree(w.Seed, w.Compiler.Language) }

// needs reports whether p runs, measured or not.
func (w workload) needs(p phase) bool {
	last := w.Phases[len(w.Phases)-1]
	switch p {
	case phaseMakeDir:
		return true
	case phaseCopy:
		return last != phaseMakeDir
	default:
		return slices.Contains(w.Phases, p)
	}
}

// copyDir is the directory of a copy of the tree below root.
func copyDir(root string, i int) string { return path.Join(root, fmt.Sprintf("copy%04d", i)) }

// withoutData leaves out the outputs' bytes, whose digests suffice where a compiler runs.
func (w workload) withoutData() workload {
	outputs := make([]output, len(w.Outputs))
	for i, o := range w.Outputs {
		outputs[i] = output{Path: o.Path, SHA256: o.SHA256}
	}
	w.Outputs = outputs
	return w
}
