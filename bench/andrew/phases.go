package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"
)

// fileSystem is what the phases work on: a mount (osFS) or an NFS client in this process (nfsFS). Paths are absolute in it.
type fileSystem interface {
	Mkdir(path string) error
	// WriteFile makes a file and returns once the server has its data, as close does on an NFS mount.
	WriteFile(path string, data []byte) error
	// ReadDir returns the names in a directory, without "." and "..".
	ReadDir(path string) ([]string, error)
	Stat(path string) (fileInfo, error)
	// ReadFile reads a whole file; the result is valid until the next call.
	ReadFile(path string) ([]byte, error)
	// Build compiles and links the copy of the tree at dir.
	Build(ctx context.Context, dir string, w workload, tree *sourceTree) error
	// RPCs counts the calls so far; ok is false where that is not known.
	RPCs() (n uint64, ok bool)
}

type fileInfo struct {
	Size int64
	Dir  bool
}

// measurement is what one run of the phases measured. Times are in seconds.
type measurement struct {
	Phases         map[phase]float64 `json:"phases"`
	PhaseRPCs      map[phase]uint64  `json:"phase_rpcs,omitempty"`
	Total          float64           `json:"total"`
	RPCs           *uint64           `json:"rpcs,omitempty"`
	LongestPause   float64           `json:"longest_pause"`
	LongestPauseOp string            `json:"longest_pause_op"`
	Operations     int               `json:"operations"`
}

// runPhases runs the workload's phases below root, which is an empty directory, and calls done after each.
func runPhases(ctx context.Context, fs fileSystem, root string, w workload, done func(phase)) (*measurement, error) {
	r := &phaseRun{fs: fs, root: root, w: w, tree: w.tree(), m: &measurement{Phases: map[phase]float64{}, PhaseRPCs: map[phase]uint64{}}}
	measured := map[phase]bool{}
	for _, p := range w.Phases {
		measured[p] = true
	}
	for _, p := range allPhases {
		if !w.needs(p) {
			continue
		}
		r.measuring = measured[p]
		before, counted := fs.RPCs()
		start := time.Now()
		if err := r.run(ctx, p); err != nil {
			return nil, fmt.Errorf("phase %s: %w", p, err)
		}
		elapsed := time.Since(start).Seconds()
		if measured[p] {
			r.m.Phases[p] = elapsed
			r.m.Total += elapsed
			if after, ok := fs.RPCs(); ok && counted {
				r.m.PhaseRPCs[p] = after - before
				r.m.addRPCs(after - before)
			}
			done(p)
		}
	}
	return r.m, nil
}

func (m *measurement) addRPCs(n uint64) {
	if m.RPCs == nil {
		m.RPCs = new(uint64)
	}
	*m.RPCs += n
}

type phaseRun struct {
	fs        fileSystem
	root      string
	w         workload
	tree      *sourceTree
	m         *measurement
	measuring bool
}

func (r *phaseRun) run(ctx context.Context, p phase) error {
	for i := range r.w.Scale {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := copyDir(r.root, i)
		var err error
		switch p {
		case phaseMakeDir:
			err = r.makeDir(dir)
		case phaseCopy:
			err = r.copyTree(dir)
		case phaseScanDir:
			err = r.scanDir(dir)
		case phaseReadAll:
			err = r.readAll(dir)
		case phaseMake:
			err = r.timed("make", dir, func() error { return r.fs.Build(ctx, dir, r.w, r.tree) })
		default:
			panic("no phase " + string(p))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// timed runs one operation as a user sees it and keeps the longest.
func (r *phaseRun) timed(op, name string, f func() error) error {
	start := time.Now()
	err := f()
	if elapsed := time.Since(start).Seconds(); r.measuring {
		r.m.Operations++
		// A whole compiler run is no pause of the file system.
		if op != "make" && elapsed > r.m.LongestPause {
			r.m.LongestPause, r.m.LongestPauseOp = elapsed, op+" "+name
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

func (r *phaseRun) makeDir(dir string) error {
	if err := r.timed("mkdir", dir, func() error { return r.fs.Mkdir(dir) }); err != nil {
		return err
	}
	for _, name := range r.tree.Dirs {
		name := path.Join(dir, name)
		if err := r.timed("mkdir", name, func() error { return r.fs.Mkdir(name) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *phaseRun) copyTree(dir string) error {
	for _, f := range r.tree.Files {
		name := path.Join(dir, f.Path)
		if err := r.timed("write", name, func() error { return r.fs.WriteFile(name, f.Data) }); err != nil {
			return err
		}
	}
	return nil
}

// scanDir lists the copy recursively and asks for the attributes of everything in it, knowing nothing but its root.
func (r *phaseRun) scanDir(dir string) error {
	var dirs, files int
	var size int64
	var scan func(dir string) error
	scan = func(dir string) error {
		var names []string
		if err := r.timed("list", dir, func() (err error) { names, err = r.fs.ReadDir(dir); return err }); err != nil {
			return err
		}
		for _, name := range names {
			name := path.Join(dir, name)
			var info fileInfo
			if err := r.timed("stat", name, func() (err error) { info, err = r.fs.Stat(name); return err }); err != nil {
				return err
			}
			if !info.Dir {
				files++
				size += info.Size
				continue
			}
			dirs++
			if err := scan(name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := scan(dir); err != nil {
		return err
	}
	if dirs != len(r.tree.Dirs) || files != len(r.tree.Files) || size != r.tree.Bytes() {
		return fmt.Errorf("%s holds %d directories and %d files of %d bytes, %d and %d of %d were written",
			dir, dirs, files, size, len(r.tree.Dirs), len(r.tree.Files), r.tree.Bytes())
	}
	return nil
}

func (r *phaseRun) readAll(dir string) error {
	for _, f := range r.tree.Files {
		name := path.Join(dir, f.Path)
		err := r.timed("read", name, func() error {
			data, err := r.fs.ReadFile(name)
			if err == nil && len(data) != len(f.Data) {
				err = errShort(len(data), len(f.Data))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func errShort(got, want int) error {
	if got == want {
		return errors.New("content differs")
	}
	return fmt.Errorf("read %d bytes, %d were written", got, want)
}
