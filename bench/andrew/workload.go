package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// phase is one of a workload's.
type phase string

// The phases of all workloads.
const (
	phaseMakeDir phase = "MakeDir"
	phaseCopy    phase = "Copy"
	phaseScanDir phase = "ScanDir"
	phaseReadAll phase = "ReadAll"
	phaseMake    phase = "Make"

	phaseCreate       phase = "Create"
	phaseTransactions phase = "Transactions"
	phaseDelete       phase = "Delete"

	phaseWrite phase = "Write"
	phaseRead  phase = "Read"
)

// Names of the workloads.
const (
	workloadAndrew     = "andrew"
	workloadPostmark   = "postmark"
	workloadSequential = "sequential"
)

// phaseKind describes a phase.
type phaseKind struct {
	name phase
	// after are the phases that must have run before it.
	after []phase
	// unit is that of its rate, which is things per second; empty for a phase that has none.
	unit string
}

// workloadKind describes a workload: its phases in order, and the one that faults strike in the middle of.
type workloadKind struct {
	name   string
	phases []phaseKind
	struck phase
}

var workloadKinds = []workloadKind{
	{workloadAndrew, []phaseKind{
		{name: phaseMakeDir},
		{name: phaseCopy, after: []phase{phaseMakeDir}},
		{name: phaseScanDir, after: []phase{phaseMakeDir, phaseCopy}},
		{name: phaseReadAll, after: []phase{phaseMakeDir, phaseCopy}},
		{name: phaseMake, after: []phase{phaseMakeDir, phaseCopy}},
	}, phaseCopy},
	{workloadPostmark, []phaseKind{
		{name: phaseCreate, unit: "files/s"},
		{name: phaseTransactions, after: []phase{phaseCreate}, unit: "transactions/s"},
		{name: phaseDelete, after: []phase{phaseCreate, phaseTransactions}, unit: "files/s"},
	}, phaseTransactions},
	{workloadSequential, []phaseKind{
		{name: phaseWrite, unit: "MiB/s"},
		{name: phaseRead, after: []phase{phaseWrite}, unit: "MiB/s"},
	}, phaseWrite},
}

// kindOf finds a workload by its name.
func kindOf(name string) (workloadKind, error) {
	i := slices.IndexFunc(workloadKinds, func(k workloadKind) bool { return k.name == name })
	if i < 0 {
		return workloadKind{}, fmt.Errorf("no workload is called %q; there are %s, %s and %s", name, workloadAndrew, workloadPostmark, workloadSequential)
	}
	return workloadKinds[i], nil
}

// names are the workload's phases in order.
func (k workloadKind) names() (all []phase) {
	for _, p := range k.phases {
		all = append(all, p.name)
	}
	return all
}

// choose resolves the names of phases, in any case and order; no names are all phases.
func (k workloadKind) choose(names []string) ([]phase, error) {
	if len(names) == 0 {
		return k.names(), nil
	}
	var chosen []phase
	for _, p := range k.names() {
		if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), string(p)) }) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(k.names(), func(p phase) bool { return strings.EqualFold(strings.TrimSpace(name), string(p)) }) {
			return nil, fmt.Errorf("no phase of the workload %s is called %q; there are %v", k.name, name, k.names())
		}
	}
	return chosen, nil
}

// unit is that of a phase's rate.
func (k workloadKind) unit(p phase) string {
	i := slices.IndexFunc(k.phases, func(kind phaseKind) bool { return kind.name == p })
	if i < 0 {
		return ""
	}
	return k.phases[i].unit
}

// units are those of all phases that have a rate.
func (k workloadKind) units() map[phase]string {
	units := map[phase]string{}
	for _, p := range k.phases {
		if p.unit != "" {
			units[p.name] = p.unit
		}
	}
	return units
}

// workload is everything that decides what a run does. It travels to the guest as JSON, where files are generated again
// from the seed.
type workload struct {
	Name     string   `json:"name"`
	Seed     uint64   `json:"seed"`
	Scale    int      `json:"scale"`
	Phases   []phase  `json:"phases"`            // measured ones; earlier ones they need run unmeasured
	Compiler compiler `json:"compiler"`          // of andrew
	Outputs  []output `json:"outputs,omitempty"` // of one copy of andrew's tree
}

// output is a file that Make writes, with what it must contain. Data is nil where only the digest is known.
type output struct {
	Path   string `json:"path"` // relative to the root of a copy
	SHA256 string `json:"sha256"`
	Data   []byte `json:"data,omitempty"`
}

// script is what a workload does in its phases, and how it is verified. It is made anew for each of the two.
type script interface {
	// run does phase p below r.root, an empty directory at first. Phases come in order. It returns how many of the things
	// that the phase's rate counts it did.
	run(ctx context.Context, r *phaseRun, p phase) (things float64, err error)
	// verify compares everything below root with what the phases wrote.
	verify(ctx context.Context, fs fileSystem, root string) (verification, error)
	// size is how many files the workload writes, and their bytes, about.
	size() (files int, bytes int64)
}

func (w workload) script() script {
	switch w.Name {
	case workloadPostmark:
		return newPostmark(w)
	case workloadSequential:
		return newSequential(w)
	default:
		return newAndrew(w)
	}
}

func (w workload) kind() workloadKind {
	k, err := kindOf(w.Name)
	if err != nil {
		panic(err.Error()) // its name was checked when it was made
	}
	return k
}

// needs reports whether p runs, measured or not.
func (w workload) needs(p phase) bool {
	return slices.ContainsFunc(w.kind().phases, func(k phaseKind) bool {
		return slices.Contains(w.Phases, k.name) && (k.name == p || slices.Contains(k.after, p))
	})
}

// copyDir is the directory of a copy of andrew's tree below root.
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
