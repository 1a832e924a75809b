package fsstate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// rebuilt makes a state of a snapshot's skeleton and pages.
func rebuilt(s *Snapshot) (*FS, error) {
	fs := New(Config{})
	stop := errors.New("stop")
	err := fs.Load(func(yield func(k, v []byte) bool) {
		_ = s.Skeleton(func(k, v []byte) error {
			if !yield(k, v) {
				return stop
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	return fs, s.Walk(0, func(o *Object) error {
		if o.Type != TypeRegular || seen[o.Ino] {
			return nil
		}
		seen[o.Ino] = true
		return s.Pages(o.Ino, func(offset uint64, data []byte) error { return fs.PutPage(o.Ino, offset, data) })
	})
}

// auditBackup verifies that a snapshot is rebuilt from what a backup takes of it, and that the walk visits every name of
// the model once.
func (h *history) auditBackup(s *Snapshot) {
	fs, err := rebuilt(s)
	if err != nil || fs.Root() != s.Root() {
		h.fatalf("a backup gives another state (%v)", err)
	}
	var walked []string
	path := []string{}
	if err := s.Walk(0, func(o *Object) error {
		path = append(path[:min(o.Depth, len(path))], o.Name)
		n := h.model.nodes[o.Ino]
		if n == nil || *n.a() != o.Attr || n.target != o.Target {
			h.fatalf("%v: walked %+v, the model has %+v", path, o, n)
		}
		walked = append(walked, strings.Join(path, "/"))
		return nil
	}); err != nil {
		h.fatalf("%v", err)
	}
	var names []string
	var list func(path string, n *mnode)
	list = func(path string, n *mnode) {
		names = append(names, path)
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			list(path+"/"+name, h.model.nodes[n.entries[name]])
		}
	}
	list("", h.model.nodes[rootIno])
	if !slices.Equal(walked, names) {
		h.fatalf("walked %q, the model has %q", walked, names)
	}
	if err := fs.Refound(Config{MaxBytes: 1 << 30, MaxInodes: 1 << 20}, nil); err != nil {
		h.fatalf("%v", err)
	}
	for _, err := range Check(fs.Snapshot()) {
		h.fatalf("refounded: fsck: %v", err)
	}
}

func TestRefoundLeavesTheFilesAndNothingElse(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 4, Seed: testSeed})
	d := w.mkdir(alice, w.root(), "dir", 0o755)
	w.write(alice, w.create(alice, d, "file", 0o644), 5000, "data")
	plain, err := rebuilt(w.fs.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	w.call("m", 1, alice, &Mkdir{Dir: w.root(), Name: "again"})
	w.do(alice, &Rmdir{Dir: w.root(), Name: "again"})
	w.fs.SetSession(1, 1, 1, make([]byte, 5000))
	fs, err := rebuilt(w.fs.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*FS{fs, plain} {
		if err := one.Refound(Config{Duplicates: 7}, nil); err != nil {
			t.Fatal(err)
		}
		for _, err := range Check(one.Snapshot()) {
			t.Error(err)
		}
		one.Sessions(func(client, slot uint32, _ uint64, _ []byte) bool {
			t.Errorf("the reply to client %d slot %d is left", client, slot)
			return true
		})
	}
	if used, files := fs.Snapshot().Usage(); used == 0 || files != 3 {
		t.Errorf("%d bytes and %d inodes are in use", used, files)
	}
	if fs.Snapshot().Seed() != testSeed {
		t.Error("the seed changed")
	}
	if err := fs.Refound(Config{MaxBytes: 100}, nil); err == nil {
		t.Error("files were put where there is no room for them")
	}
}

func TestPutPageRefusesWhatNoFileHas(t *testing.T) {
	w := newWorld(t, Config{})
	file := w.create(alice, w.root(), "file", 0o644)
	w.do(alice, &SetAttr{Object: file, Set: SetAttrs{Size: ptr(uint64(5000))}})
	page := make([]byte, PageSize+1)
	for name, err := range map[string]error{
		"a directory":   w.fs.PutPage(rootIno, 0, page[:1]),
		"no inode":      w.fs.PutPage(99, 0, page[:1]),
		"nothing":       w.fs.PutPage(file.Ino, 0, nil),
		"too much":      w.fs.PutPage(file.Ino, 0, page),
		"in between":    w.fs.PutPage(file.Ino, 100, page[:1]),
		"past the end":  w.fs.PutPage(file.Ino, PageSize, page[:905]),
		"too little":    w.fs.PutPage(file.Ino, PageSize, page[:903]),
		"far away":      w.fs.PutPage(file.Ino, 1<<63, page[:1]),
		"at the end":    w.fs.PutPage(file.Ino, 2*PageSize, page[:1]),
		"wrapping":      w.fs.PutPage(file.Ino, ^uint64(0)&^(PageSize-1), page[:PageSize]),
		"not even once": w.fs.PutPage(0, 0, page[:1]),
	} {
		if err == nil {
			t.Errorf("%s: stored", name)
		}
	}
	if err := w.fs.PutPage(file.Ino, PageSize, page[:904]); err != nil {
		t.Error(err)
	}
	if err := w.fs.PutPage(file.Ino, PageSize, page[:904]); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	page[700] = 1
	if err := w.fs.PutPage(file.Ino, PageSize, page[:904]); err == nil {
		t.Error("two different pages were stored in one place")
	}
}

// Whatever the pairs say, a walk ends: here directories contain each other.
func TestAWalkOfABrokenTreeEnds(t *testing.T) {
	build := func(edit func(w *world, a, b Handle)) error {
		w := newWorld(t, Config{})
		a := w.mkdir(alice, w.root(), "a", 0o755)
		b := w.mkdir(alice, a, "b", 0o755)
		edit(w, a, b)
		return w.fs.Snapshot().Walk(0, func(*Object) error { return nil })
	}
	enter := func(w *world, dir, to Handle, name string) {
		var d inode
		w.fs.view().inode(dir.Ino, &d)
		w.fs.enter(&d, entrySlot(&w.fs.super.seed, name), name, to.Ino)
	}
	for name, edit := range map[string]func(w *world, a, b Handle){
		"the root inside":      func(w *world, _, b Handle) { enter(w, b, w.root(), "root") },
		"the parent inside":    func(w *world, a, b Handle) { enter(w, b, a, "a") },
		"itself inside":        func(w *world, _, b Handle) { enter(w, b, b, "b") },
		"twice":                func(w *world, a, b Handle) { enter(w, a, b, "other") },
		"an entry to nowhere":  func(w *world, a, _ Handle) { enter(w, a, Handle{Ino: 77}, "x") },
		"a name with a slash":  func(w *world, a, b Handle) { enter(w, b, a, "../x") },
		"the name of a parent": func(w *world, a, b Handle) { enter(w, b, a, "..") },
	} {
		if err := build(edit); !errors.Is(err, errWalk) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := build(func(*world, Handle, Handle) {}); err != nil {
		t.Error(err)
	}
}

func TestAWalkLeavesOutWhatItIsTold(t *testing.T) {
	w := newWorld(t, Config{})
	a := w.mkdir(alice, w.root(), "a", 0o755)
	w.create(alice, w.mkdir(alice, a, "b", 0o755), "c", 0o644)
	w.create(alice, w.root(), "d", 0o644)
	names := func(dir uint64, skip string) (names []string) {
		if err := w.fs.Snapshot().Walk(dir, func(o *Object) error {
			names = append(names, fmt.Sprint(o.Depth, o.Name))
			if o.Name == skip && o.Type == TypeDirectory {
				return ErrSkip
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		return names
	}
	for _, tc := range []struct{ got, want []string }{
		{names(0, "-"), []string{"0", "1a", "2b", "3c", "1d"}},
		{names(0, "b"), []string{"0", "1a", "2b", "1d"}},
		{names(a.Ino, "-"), []string{"0", "1b", "2c"}},
	} {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("walked %q, want %q", tc.got, tc.want)
		}
	}
	if err := w.fs.Snapshot().Walk(99, func(*Object) error { return nil }); !errors.Is(err, errWalk) {
		t.Errorf("from nowhere: %v", err)
	}
}

func TestAWalkGoesAsDeepAsTheTree(t *testing.T) {
	w := newWorld(t, Config{})
	const depth = 20_000
	d := w.root()
	for i := range depth {
		d = w.mkdir(alice, d, fmt.Sprint(i), 0o755)
	}
	deepest := 0
	if err := w.fs.Snapshot().Walk(0, func(o *Object) error { deepest = o.Depth; return nil }); err != nil || deepest != depth {
		t.Errorf("got down to %d: %v", deepest, err)
	}
}
