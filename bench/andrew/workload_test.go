package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// smallWorkload is a small one of the name given.
func smallWorkload(t *testing.T, name string) workload {
	t.Helper()
	if name == workloadAndrew {
		return testWorkload(t)
	}
	kind, err := kindOf(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorkload(t.Context(), options{Workload: name, Seed: 7, Scale: 2}, kind.names())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// someFile is a file that a run of the workload leaves.
func someFile(root string, w workload) string {
	switch s := w.script().(type) {
	case *andrew:
		return filepath.Join(copyDir(root, 1), s.tree.Files[10].Path)
	case *postmark:
		s.replay()
		return s.name(root, s.pool[len(s.pool)/2])
	default:
		return filepath.Join(root, largeFile)
	}
}

func flipBit(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2+9] ^= 1
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVerificationFindsEveryDamage(t *testing.T) {
	for _, name := range []string{workloadAndrew, workloadPostmark, workloadSequential} {
		w := smallWorkload(t, name)
		ran := t.TempDir()
		if _, err := runPhases(t.Context(), newOSFS(""), ran, w, ignoreMark); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name   string
			damage func(t *testing.T, root string) error
			in     func(root string) string // what the error names
		}{
			{"flipped bit", func(t *testing.T, root string) error { flipBit(t, someFile(root, w)); return nil }, func(root string) string { return someFile(root, w) }},
			{"truncated", func(_ *testing.T, root string) error { return os.Truncate(someFile(root, w), 100) }, func(root string) string { return someFile(root, w) }},
			{"emptied", func(_ *testing.T, root string) error { return os.Truncate(someFile(root, w), 0) }, func(root string) string { return someFile(root, w) }},
			{"longer", func(_ *testing.T, root string) error { return appendByte(someFile(root, w)) }, func(root string) string { return someFile(root, w) }},
			{"missing file", func(_ *testing.T, root string) error { return os.Remove(someFile(root, w)) }, func(root string) string { return filepath.Dir(someFile(root, w)) }},
			{"extra file", func(_ *testing.T, root string) error {
				return os.WriteFile(filepath.Join(filepath.Dir(someFile(root, w)), "more"), nil, 0o600)
			}, func(root string) string { return filepath.Dir(someFile(root, w)) }},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				root := t.TempDir()
				if err := os.CopyFS(root, os.DirFS(ran)); err != nil {
					t.Fatal(err)
				}
				if v, err := verify(t.Context(), newOSFS(""), root, w); err != nil || v.Files == 0 {
					t.Fatalf("before the damage: %+v, %v", v, err)
				}
				if err := test.damage(t, root); err != nil {
					t.Fatal(err)
				}
				if _, err := verify(t.Context(), newOSFS(""), root, w); err == nil || !strings.Contains(err.Error(), test.in(root)) {
					t.Errorf("verification said %v, want an error about %s", err, test.in(root))
				}
			})
		}
	}
}

func TestVerificationComparesObjects(t *testing.T) {
	w := testWorkload(t)
	root := t.TempDir()
	if _, err := runPhases(t.Context(), newOSFS(""), root, w, ignoreMark); err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(copyDir(root, 0), w.Outputs[3].Path)
	flipBit(t, object)
	if _, err := verify(t.Context(), newOSFS(""), root, w); err == nil || !strings.Contains(err.Error(), object) {
		t.Errorf("verification said %v, want an error about %s", err, object)
	}
}

func appendByte(name string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write([]byte{0})
	return err
}

// Every workload counts what its rates are of, tells of the middle and the end of each phase, and keeps its longest pause.
func TestWorkloadsMeasure(t *testing.T) {
	for _, kind := range workloadKinds {
		t.Run(kind.name, func(t *testing.T) {
			w := smallWorkload(t, kind.name)
			var marks []mark
			m, err := runPhases(t.Context(), newOSFS(""), t.TempDir(), w, func(m mark) { marks = append(marks, m) })
			if err != nil {
				t.Fatal(err)
			}
			var want []mark
			for _, p := range kind.phases {
				want = append(want, mark{p.name, phaseMiddle}, mark{p.name, phaseDone})
				if rate := m.Rates[p.name]; (rate > 0) != (p.unit != "") {
					t.Errorf("phase %s has rate %v, unit %q", p.name, rate, p.unit)
				}
				if m.Phases[p.name] <= 0 {
					t.Errorf("phase %s took %v s", p.name, m.Phases[p.name])
				}
			}
			if !slices.Equal(marks, want) {
				t.Errorf("told of %v, want %v", marks, want)
			}
			if m.LongestPause <= 0 || m.LongestPause > m.Total || m.Operations == 0 {
				t.Errorf("longest pause %v (%s) of %d operations in %v s", m.LongestPause, m.LongestPauseOp, m.Operations, m.Total)
			}
			if !slices.Contains(kind.names(), kind.struck) {
				t.Errorf("faults strike in %s, which is none of %v", kind.struck, kind.names())
			}
		})
	}
}

func TestPostmarkTransactionsAreOfAllKinds(t *testing.T) {
	w := smallWorkload(t, workloadPostmark)
	fs := &countingFS{fileSystem: newOSFS("")}
	if _, err := runPhases(t.Context(), fs, t.TempDir(), w, ignoreMark); err != nil {
		t.Fatal(err)
	}
	transactions := transactionsPerScale * w.Scale
	for what, n := range map[string]int{"created": fs.created - poolFilesPerScale*w.Scale, "read": fs.read, "appended to": fs.appended} {
		if n < transactions/4 || n > transactions*3/4 {
			t.Errorf("%d files were %s in %d transactions", n, what, transactions)
		}
	}
	if left := newPostmark(w); fs.removed == 0 {
		t.Error("no file was removed")
	} else if left.replay(); fs.created-fs.removed != len(left.pool) {
		t.Errorf("%d files made, %d removed, but %d are verified", fs.created, fs.removed, len(left.pool))
	}
}

// A read that comes from the client's cache measures nothing, and is refused.
func TestSequentialReadMustReachTheServer(t *testing.T) {
	w := smallWorkload(t, workloadSequential)
	fs := &countingFS{fileSystem: newOSFS(""), counts: true}
	if _, err := runPhases(t.Context(), fs, t.TempDir(), w, ignoreMark); err == nil || !strings.Contains(err.Error(), "cache") {
		t.Errorf("a read without calls: %v", err)
	}
}

// A wrong byte that is read back in the middle of a run fails it at once.
func TestPostmarkComparesWhatItReads(t *testing.T) {
	w := smallWorkload(t, workloadPostmark)
	fs := &countingFS{fileSystem: newOSFS(""), corrupt: true}
	if _, err := runPhases(t.Context(), fs, t.TempDir(), w, ignoreMark); err == nil || !strings.Contains(err.Error(), "content differs") {
		t.Errorf("a corrupt read: %v", err)
	}
}

// A stream that fails ends, and says at which block.
func TestStreamsFail(t *testing.T) {
	broken := errors.New("broken")
	err := stream(t.Context(), 100, func(int, float64) {}, func(_ context.Context, i int, _ []byte) error {
		if i == 20 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "block 20") {
		t.Errorf("got %v", err)
	}
	root := t.TempDir()
	fs := newOSFS("")
	if err := fs.WriteFile(filepath.Join(root, "short"), make([]byte, blockBytes+1)); err != nil {
		t.Fatal(err)
	}
	err = fs.ReadStream(t.Context(), filepath.Join(root, "short"), 2, func(int, []byte) error { return nil }, func(int, float64) {})
	if err == nil || !strings.Contains(err.Error(), "block 1 ") {
		t.Errorf("a short file: %v", err)
	}
}

// countingFS counts what is done, and fakes a few things.
type countingFS struct {
	fileSystem
	created, removed, read, appended int
	counts                           bool // that no calls are made
	corrupt                          bool // reads
}

func (c *countingFS) WriteFile(path string, data []byte) error {
	c.created++
	return c.fileSystem.WriteFile(path, data)
}

func (c *countingFS) Remove(path string) error {
	c.removed++
	return c.fileSystem.Remove(path)
}

func (c *countingFS) Append(path string, data []byte) error {
	c.appended++
	return c.fileSystem.Append(path, data)
}

func (c *countingFS) ReadFile(path string) ([]byte, error) {
	c.read++
	data, err := c.fileSystem.ReadFile(path)
	if c.corrupt && len(data) > 0 {
		data[0] ^= 1
	}
	return data, err
}

func (c *countingFS) RPCs() (uint64, bool) { return 1, c.counts }
