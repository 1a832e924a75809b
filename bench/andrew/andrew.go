package main

import (
	"context"
	"fmt"
	"path"
)

// andrew is the script of the Andrew benchmark: each phase works on every copy of the tree in turn.
type andrew struct {
	w    workload
	tree *sourceTree
}

func newAndrew(w workload) *andrew {
	return &andrew{w, generateTree(w.Seed, w.Compiler.Language)}
}

func (a *andrew) size() (files int, bytes int64) {
	return len(a.tree.Files) * a.w.Scale, a.tree.Bytes() * int64(a.w.Scale)
}

func (a *andrew) run(ctx context.Context, r *phaseRun, p phase) (float64, error) {
	return 0, r.each(ctx, p, a.w.Scale, func(i int) error {
		dir := copyDir(r.root, i)
		switch p {
		case phaseMakeDir:
			return a.makeDir(r, dir)
		case phaseCopy:
			return a.copyTree(r, dir)
		case phaseScanDir:
			return a.scanDir(r, dir)
		case phaseReadAll:
			return a.readAll(r, dir)
		case phaseMake:
			return a.make(ctx, r, dir)
		default:
			panic("andrew has no phase " + string(p))
		}
	})
}

func (a *andrew) makeDir(r *phaseRun, dir string) error {
	if err := r.timed("mkdir", dir, func() error { return r.fs.Mkdir(dir) }); err != nil {
		return err
	}
	for _, name := range a.tree.Dirs {
		name := path.Join(dir, name)
		if err := r.timed("mkdir", name, func() error { return r.fs.Mkdir(name) }); err != nil {
			return err
		}
	}
	return nil
}

func (a *andrew) copyTree(r *phaseRun, dir string) error {
	for _, f := range a.tree.Files {
		name := path.Join(dir, f.Path)
		if err := r.timed("write", name, func() error { return r.fs.WriteFile(name, f.Data) }); err != nil {
			return err
		}
	}
	return nil
}

// scanDir lists the copy recursively and asks for the attributes of everything in it, knowing nothing but its root.
func (a *andrew) scanDir(r *phaseRun, dir string) error {
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
	if dirs != len(a.tree.Dirs) || files != len(a.tree.Files) || size != a.tree.Bytes() {
		return fmt.Errorf("%s holds %d directories and %d files of %d bytes, %d and %d of %d were written",
			dir, dirs, files, size, len(a.tree.Dirs), len(a.tree.Files), a.tree.Bytes())
	}
	return nil
}

func (a *andrew) readAll(r *phaseRun, dir string) error {
	for _, f := range a.tree.Files {
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

// make is an operation that is not timed: a whole compiler run is no pause of the file system.
func (a *andrew) make(ctx context.Context, r *phaseRun, dir string) error {
	if r.measuring {
		r.m.Operations++
	}
	if err := r.fs.Build(ctx, dir, a.w, a.tree); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}
