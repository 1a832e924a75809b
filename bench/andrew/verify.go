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
	return w.script().verify(ctx, fs, root)
}

func (a *andrew) verify(ctx context.Context, fs fileSystem, root string) (v verification, err error) {
	want := a.entries()
	for i := range a.w.Scale {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		dir := copyDir(root, i)
		for sub, names := range want {
			if err := verifyDir(fs, path.Join(dir, sub), names); err != nil {
				return v, err
			}
		}
		if err := a.verifyFiles(fs, dir, &v); err != nil {
			return v, err
		}
	}
	return v, nil
}

// entries are the names in each directory of a copy.
func (a *andrew) entries() map[string][]string {
	want := map[string][]string{".": nil}
	add := func(name string) { want[path.Dir(name)] = append(want[path.Dir(name)], path.Base(name)) }
	for _, dir := range a.tree.Dirs {
		if want[dir] == nil {
			want[dir] = []string{} // an empty directory must be empty
		}
		add(dir)
	}
	if a.w.needs(phaseCopy) {
		for _, f := range a.tree.Files {
			add(f.Path)
		}
	}
	if a.w.needs(phaseMake) {
		for _, o := range a.w.Outputs {
			add(o.Path)
		}
	}
	return want
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

func (a *andrew) verifyFiles(fs fileSystem, dir string, v *verification) error {
	if a.w.needs(phaseCopy) {
		for _, f := range a.tree.Files {
			if err := v.file(fs, path.Join(dir, f.Path), func(data []byte) error {
				if !bytes.Equal(data, f.Data) {
					return errShort(len(data), len(f.Data))
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	if !a.w.needs(phaseMake) {
		return nil
	}
	for _, o := range a.w.Outputs {
		if err := v.file(fs, path.Join(dir, o.Path), func(data []byte) error {
			if digest(data) != o.SHA256 {
				return fmt.Errorf("its %d bytes are not what the compiler writes elsewhere", len(data))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// file reads a file, has it compared, and counts it.
func (v *verification) file(fs fileSystem, name string, compare func(data []byte) error) error {
	data, err := fs.ReadFile(name)
	if err == nil {
		err = compare(data)
	}
	if err != nil {
		return fmt.Errorf("verify %s: %w", name, err)
	}
	v.Files++
	v.Bytes += int64(len(data))
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
