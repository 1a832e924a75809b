package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fileSystem is what the phases work on: a mount (osFS) or an NFS client in this process (nfsFS). Paths are absolute in it.
type fileSystem interface {
	Mkdir(path string) error
	// WriteFile makes a file and returns once the server has its data, as close does on an NFS mount.
	WriteFile(path string, data []byte) error
	// Append adds data to the end of a file; it returns as WriteFile does.
	Append(path string, data []byte) error
	Remove(path string) error
	// ReadDir returns the names in a directory, without "." and "..".
	ReadDir(path string) ([]string, error)
	Stat(path string) (fileInfo, error)
	// ReadFile reads a whole file; the result is valid until the next call.
	ReadFile(path string) ([]byte, error)
	// WriteStream makes a file of so many blocks, which fill gives their bytes, and returns once the server has it all.
	WriteStream(ctx context.Context, path string, blocks int, fill func(i int, block []byte), each eachBlock) error
	// ReadStream reads such a file and has every block checked. It does not read past the blocks.
	ReadStream(ctx context.Context, path string, blocks int, check func(i int, block []byte) error, each eachBlock) error
	// Forget drops what the client has in its cache of a file.
	Forget(path string) error
	// Build compiles and links the copy of the tree at dir.
	Build(ctx context.Context, dir string, w workload, tree *sourceTree) error
	// RPCs counts the calls so far; ok is false where that is not known.
	RPCs() (n uint64, ok bool)
}

// blockBytes is the size of a block of WriteStream and ReadStream.
const blockBytes = 1 << 20

// eachBlock is told of each block that was written or read, and how long that took the caller, in seconds. It may be called
// from several goroutines.
type eachBlock func(i int, seconds float64)

type fileInfo struct {
	Size int64
	Dir  bool
}

// measurement is what one run of the phases measured. Times are in seconds.
type measurement struct {
	Phases         map[phase]float64 `json:"phases"`
	PhaseRPCs      map[phase]uint64  `json:"phase_rpcs,omitempty"`
	Rates          map[phase]float64 `json:"rates,omitempty"` // per second, of what the phase counts: see workloadKinds
	Total          float64           `json:"total"`
	RPCs           *uint64           `json:"rpcs,omitempty"`
	LongestPause   float64           `json:"longest_pause"`
	LongestPauseOp string            `json:"longest_pause_op"`
	Operations     int               `json:"operations"`
}

// mark is a place in a run that those who watch it are told of.
type mark struct {
	phase phase
	point point
}

// point says where in a phase a mark is.
type point string

// The points of a phase.
const (
	phaseMiddle point = "middle"
	phaseDone   point = "done"
)

// runPhases runs the workload's phases below root, which is an empty directory. tell is told of the middle of every phase
// that runs, and of the end of those that are measured.
func runPhases(ctx context.Context, fs fileSystem, root string, w workload, tell func(mark)) (*measurement, error) {
	r := &phaseRun{
		fs: fs, root: root, tell: tell,
		m: &measurement{Phases: map[phase]float64{}, PhaseRPCs: map[phase]uint64{}, Rates: map[phase]float64{}},
	}
	s := w.script()
	measured := map[phase]bool{}
	for _, p := range w.Phases {
		measured[p] = true
	}
	for _, p := range w.kind().names() {
		if !w.needs(p) {
			continue
		}
		r.measuring, r.paused = measured[p], 0
		before, counted := fs.RPCs()
		start := time.Now()
		things, err := s.run(ctx, r, p)
		if err != nil {
			return nil, fmt.Errorf("phase %s: %w", p, err)
		}
		elapsed := (time.Since(start) - r.paused).Seconds()
		if !measured[p] {
			continue
		}
		r.m.Phases[p] = elapsed
		r.m.Total += elapsed
		if things > 0 && elapsed > 0 {
			r.m.Rates[p] = things / elapsed
		}
		if after, ok := fs.RPCs(); ok && counted {
			r.m.PhaseRPCs[p] = after - before
			r.m.addRPCs(after - before)
		}
		tell(mark{p, phaseDone})
	}
	return r.m, nil
}

func (m *measurement) addRPCs(n uint64) {
	if m.RPCs == nil {
		m.RPCs = new(uint64)
	}
	*m.RPCs += n
}

// phaseRun is what a script runs its phases with.
type phaseRun struct {
	fs        fileSystem
	root      string
	tell      func(mark)
	m         *measurement
	measuring bool
	paused    time.Duration // of this phase: not measured
}

// each runs step for 0 to n-1, and tells of the middle.
func (r *phaseRun) each(ctx context.Context, p phase, n int, step func(i int) error) error {
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i == n/2 {
			r.tell(mark{p, phaseMiddle})
		}
		if err := step(i); err != nil {
			return err
		}
	}
	return nil
}

// timed runs one operation as a user sees it and keeps the longest.
func (r *phaseRun) timed(op, name string, f func() error) error {
	start := time.Now()
	err := f()
	r.took(op, name, time.Since(start).Seconds())
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// took notes one operation that a user waited for.
func (r *phaseRun) took(op, name string, seconds float64) {
	if !r.measuring {
		return
	}
	r.m.Operations++
	if seconds > r.m.LongestPause {
		r.m.LongestPause, r.m.LongestPauseOp = seconds, op+" "+name
	}
}

// unmeasured does something between operations that is no part of the phase.
func (r *phaseRun) unmeasured(f func() error) error {
	start := time.Now()
	defer func() { r.paused += time.Since(start) }()
	return f()
}

func errShort(got, want int) error {
	if got == want {
		return errors.New("content differs")
	}
	return fmt.Errorf("read %d bytes, %d were written", got, want)
}
