package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
)

// verification is what was compared.
type verification struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// verify reads everything that a run wrote again and compares it with what was written, and the directories' entries with
// what was made: a file too many, too few, or with a wrong byte is an error that names it.
func verify(ctx context.Context, fs fileSystem, root string, w workload) (verification, error) {
	tree := w.tree()
	var v verification
	want := map[string][]string{} // directory of a copy → names in it
	add := func(name string) { want[path.Dir(name)] = append(want[path.Dir(name)], path.Base(name)) }
	want["."] = nil
	for _, dir := range tree.Dirs {
		if want[dir] == nil {
			want[dir] = []string{} // an empty directory must be empty
		}
		add(dir)
	}
	if w.needs(phaseCopy) {
		for _, f := range tree.Files {
			add(f.Path)
		}
	}
	if w.needs(phaseMake) {
		for _, o := range w.Outputs {
			add(o.Path)
		}
	}
	for i := range w.Scale {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		dir := copyDir(root, i)
		for sub, names := range want {
			if err := verifyDir(fs, path.Join(dir, sub), names); err != nil {
				return v, err
			}
		}
		if err := verifyFiles(fs, dir, w, tree, &v); err != nil {
			return v, err
		}
	}
	return v, nil
}

func verifyDir(fs fileSystem, dir string, want []string) error {
	got, err := fs.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("verify %s: %w", dir, err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("verify %s: it lists %d names %v, %d were made %v", dir, len(got), got, len(want), want)
	}
	return nil
}

func verifyFiles(fs fileSystem, dir string, w workload, tree *sourceTree, v *verification) error {
	if w.needs(phaseCopy) {
		for _, f := range tree.Files {
			data, err := fs.ReadFile(path.Join(dir, f.Path))
			if err == nil && !bytes.Equal(data, f.Data) {
				err = errShort(len(data), len(f.Data))
			}
			if err != nil {
				return fmt.Errorf("verify %s: %w", path.Join(dir, f.Path), err)
			}
			v.Files++
			v.Bytes += int64(len(data))
		}
	}
	if !w.needs(phaseMake) {
		return nil
	}
	for _, o := range w.Outputs {
		data, err := fs.ReadFile(path.Join(dir, o.Path))
		if err == nil && digest(data) != o.SHA256 {
			err = fmt.Errorf("its %d bytes are not what the compiler writes elsewhere", len(data))
		}
		if err != nil {
			return fmt.Errorf("verify %s: %w", path.Join(dir, o.Path), err)
		}
		v.Files++
		v.Bytes += int64(len(data))
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
