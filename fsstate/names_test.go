package fsstate

import "testing"

// Where a file's names are is known through every way in which it can get and lose them.
func TestNamesAreKnown(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	a, b := w.mkdir(alice, root, "a", 0o755), w.mkdir(alice, root, "b", 0o755)
	f := w.create(alice, a, "f", 0o644)
	at := func(what string, want map[uint64]uint32) {
		t.Helper()
		w.sound()
		var n inode
		if s := w.fs.view().load(f, &n); s != OK {
			t.Fatalf("%s: status %d", what, s)
		}
		total := uint32(0)
		for dir, count := range want {
			total += count
			if n.parent == 0 && w.fs.view().namesIn(f.Ino, dir) != count {
				t.Errorf("%s: %d names in directory %d, want %d", what, w.fs.view().namesIn(f.Ino, dir), dir, count)
			}
		}
		if n.nlink != total || (total == 1) != (n.parent != 0) || want[w.fs.view().firstParent(&n)] == 0 {
			t.Errorf("%s: nlink %d, parent %d, want %v", what, n.nlink, n.parent, want)
		}
	}
	at("created", map[uint64]uint32{a.Ino: 1})
	must[*RenameResult](w, alice, &Rename{FromDir: a, FromName: "f", ToDir: b, ToName: "f"})
	at("moved", map[uint64]uint32{b.Ino: 1})
	must[*LinkResult](w, alice, &Link{Object: f, Dir: b, Name: "second"})
	at("linked in the same directory", map[uint64]uint32{b.Ino: 2})
	must[*LinkResult](w, alice, &Link{Object: f, Dir: a, Name: "third"})
	at("linked in another", map[uint64]uint32{a.Ino: 1, b.Ino: 2})
	must[*RenameResult](w, alice, &Rename{FromDir: b, FromName: "f", ToDir: a, ToName: "f"})
	at("one of three moved", map[uint64]uint32{a.Ino: 2, b.Ino: 1})
	must[*RenameResult](w, alice, &Rename{FromDir: a, FromName: "f", ToDir: a, ToName: "g"})
	at("renamed in place", map[uint64]uint32{a.Ino: 2, b.Ino: 1})
	must[*RenameResult](w, alice, &Rename{FromDir: a, FromName: "g", ToDir: a, ToName: "third"})
	at("renamed over itself, which does nothing", map[uint64]uint32{a.Ino: 2, b.Ino: 1})
	w.create(alice, b, "other", 0o644)
	must[*RenameResult](w, alice, &Rename{FromDir: b, FromName: "other", ToDir: a, ToName: "third"})
	at("one of three replaced", map[uint64]uint32{a.Ino: 1, b.Ino: 1})
	must[*RemoveResult](w, alice, &Remove{Dir: a, Name: "g"})
	at("one of two removed", map[uint64]uint32{b.Ino: 1})
	must[*RemoveResult](w, alice, &Remove{Dir: b, Name: "second"})
	w.sound()
	if s := w.do(alice, &GetAttr{Object: f}).Code(); s != ESTALE {
		t.Errorf("without a name: status %d", s)
	}
}
