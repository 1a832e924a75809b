package main

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bfsd/internal/kernelclient"
)

func TestMain(m *testing.M) {
	kernelclient.Agent(guestHandlers())
	os.Exit(m.Run())
}

// treeDigest is one digest over all paths and contents of a tree.
func treeDigest(t *sourceTree) string {
	var all strings.Builder
	for _, dir := range t.Dirs {
		all.WriteString(dir + "\x00")
	}
	for _, f := range t.Files {
		all.WriteString(f.Path + "\x00" + digest(f.Data))
	}
	return digest([]byte(all.String()))
}

func TestTreeDependsOnItsSeedAlone(t *testing.T) {
	for _, lang := range []language{langC, langGo} {
		first := treeDigest(generateTree(1, lang))
		if again := treeDigest(generateTree(1, lang)); again != first {
			t.Errorf("%s: the same seed gave another tree", lang)
		}
		if other := treeDigest(generateTree(2, lang)); other == first {
			t.Errorf("%s: another seed gave the same tree", lang)
		}
	}
}

// The guest and the host generate the tree apart, and observations of different days are of the same tree: a change of the
// generator is a change of the benchmark, and must be meant.
func TestTreeIsTheOneThatFiguresWereTakenWith(t *testing.T) {
	const seedOne = "2679bdca8b2e85a4be286e8e776c7f43241f7ede5d0f32927e6ad0a2229efe5e"
	if got := treeDigest(generateTree(1, langC)); got != seedOne {
		t.Errorf("the tree of seed 1 has changed: its digest is %s", got)
	}
}

func TestTreeIsLikeTheOriginals(t *testing.T) {
	for seed := range uint64(20) {
		tree := generateTree(seed, langC)
		if n := len(tree.Files); n < 60 || n > 80 {
			t.Errorf("seed %d: %d files", seed, n)
		}
		if n := tree.Bytes(); n < 120_000 || n > 300_000 {
			t.Errorf("seed %d: %d bytes", seed, n)
		}
		seen := map[string]bool{".": true}
		for _, dir := range tree.Dirs {
			if !seen[path.Dir(dir)] || seen[dir] {
				t.Errorf("seed %d: directory %s comes before its parent or twice", seed, dir)
			}
			seen[dir] = true
		}
		objects := map[string]bool{}
		for _, f := range tree.Files {
			if !seen[path.Dir(f.Path)] || seen[f.Path] {
				t.Errorf("seed %d: file %s has no directory or comes twice", seed, f.Path)
			}
			seen[f.Path] = true
		}
		for _, source := range tree.Sources() {
			if objects[path.Base(source)] {
				t.Errorf("seed %d: two sources are called %s, and would compile to one object", seed, path.Base(source))
			}
			objects[path.Base(source)] = true
		}
	}
}

func TestEveryCompilerBuildsTheTreeAlike(t *testing.T) {
	for _, name := range []string{"tcc", "gcc", "go"} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skip(err)
			}
			c, err := findCompiler(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(1) {
				tree := generateTree(seed, c.Language)
				first, err := c.referenceOutputs(t.Context(), tree)
				if err != nil {
					t.Fatal(err)
				}
				again, err := c.referenceOutputs(t.Context(), tree)
				if err != nil {
					t.Fatal(err)
				}
				same := slices.EqualFunc(first, again, func(a, b output) bool { return a.Path == b.Path && a.SHA256 == b.SHA256 })
				if !same {
					t.Error("two builds of one tree differ, so outputs cannot be verified")
				}
				if c.Language == langC && len(first) != len(tree.Sources())+1 {
					t.Errorf("%d sources gave %d outputs", len(tree.Sources()), len(first))
				}
			}
		})
	}
	if _, err := findCompiler(t.Context(), "no-such-compiler"); err == nil {
		t.Error("found a compiler that is not there")
	}
}

// testWorkload is small, with a Make if there is a compiler.
func testWorkload(t *testing.T, phases ...phase) workload {
	t.Helper()
	o := options{Workload: workloadAndrew, Seed: 7, Scale: 2, Compiler: "auto"}
	if len(phases) == 0 {
		phases = andrewPhases
	}
	w, err := newWorkload(t.Context(), o, phases)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// andrewPhases are those of the Andrew benchmark.
var andrewPhases = []phase{phaseMakeDir, phaseCopy, phaseScanDir, phaseReadAll, phaseMake}

func ignoreMark(mark) {}

// doneIn collects the phases that were done.
func doneIn(seen *[]phase) func(mark) {
	return func(m mark) {
		if m.point == phaseDone {
			*seen = append(*seen, m.phase)
		}
	}
}

func TestPhasesOnAMountedDirectory(t *testing.T) {
	w := testWorkload(t)
	root := t.TempDir()
	var seen []phase
	m, err := runPhases(t.Context(), newOSFS(""), root, w, doneIn(&seen))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, andrewPhases) || len(m.Phases) != len(andrewPhases) {
		t.Errorf("phases %v, measured %v", seen, m.Phases)
	}
	sum := 0.0
	for p, seconds := range m.Phases {
		if seconds <= 0 {
			t.Errorf("%s took %v s", p, seconds)
		}
		sum += seconds
	}
	if diff := m.Total - sum; diff > 1e-9 || diff < -1e-9 {
		t.Errorf("total %v is not the sum %v", m.Total, sum)
	}
	tree := generateTree(w.Seed, w.Compiler.Language)
	// Per copy: the copy's own directory and those in it; a write and a read per file; a listing per directory and the
	// copy's own, a stat for each thing in it; one Make.
	dirs, files := len(tree.Dirs), len(tree.Files)
	if want := w.Scale * (dirs + 1 + files + dirs + 1 + dirs + files + files + 1); m.Operations != want {
		t.Errorf("%d operations, want %d", m.Operations, want)
	}
	if m.LongestPause <= 0 || m.LongestPauseOp == "" || m.LongestPause > m.Total {
		t.Errorf("longest pause %v %q", m.LongestPause, m.LongestPauseOp)
	}
	v, err := verify(t.Context(), newOSFS(""), root, w)
	if err != nil {
		t.Fatal(err)
	}
	if want := w.Scale * (files + len(w.Outputs)); v.Files != want {
		t.Errorf("verified %d files, want %d", v.Files, want)
	}
}

func TestUnmeasuredPhasesStillRun(t *testing.T) {
	w := testWorkload(t, phaseReadAll)
	m, err := runPhases(t.Context(), newOSFS(""), t.TempDir(), w, ignoreMark)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Phases[phaseReadAll]; !ok || len(m.Phases) != 1 || m.Operations != w.Scale*len(generateTree(w.Seed, w.Compiler.Language).Files) {
		t.Errorf("measured %v with %d operations", m.Phases, m.Operations)
	}
}

func TestCancelledRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := testWorkload(t, phaseMakeDir, phaseCopy)
	_, err := runPhases(ctx, newOSFS(""), t.TempDir(), w, func(mark) { cancel() })
	if err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v", err)
	}
}

func TestScanDirNoticesAMissingFile(t *testing.T) {
	w := testWorkload(t, phaseMakeDir, phaseCopy)
	root := t.TempDir()
	if _, err := runPhases(t.Context(), newOSFS(""), root, w, ignoreMark); err != nil {
		t.Fatal(err)
	}
	tree := generateTree(w.Seed, w.Compiler.Language)
	if err := os.Remove(filepath.Join(copyDir(root, 0), tree.Files[0].Path)); err != nil {
		t.Fatal(err)
	}
	r := &phaseRun{fs: newOSFS(""), root: root, tell: ignoreMark, m: &measurement{}}
	if _, err := newAndrew(w).run(t.Context(), r, phaseScanDir); err == nil || !strings.Contains(err.Error(), "were written") {
		t.Errorf("got %v", err)
	}
	if _, err := newAndrew(w).run(t.Context(), r, phaseReadAll); err == nil {
		t.Error("read a file that is not there")
	}
}
