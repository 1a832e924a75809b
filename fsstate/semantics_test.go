package fsstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bfsd/fsstate/tree"
)

// TestOwnerMayReadAndWriteWhateverTheMode: RFC 1813 §4.4; open(2) was permitted when the client called it.
func TestOwnerMayReadAndWriteWhateverTheMode(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(alice, w.root(), "f", 0)
	w.write(alice, f, 0, "mine")
	must[*ReadResult](w, alice, &Read{Object: f, Count: 10})
	must[*SetAttrResult](w, alice, &SetAttr{Object: f, Set: SetAttrs{Size: ptr(uint64(2))}})
	w.refuses(bob, EACCES, &Read{Object: f, Count: 10})
	w.refuses(bob, EACCES, &Write{Object: f, Data: []byte("x")})
	if g := must[*AccessResult](w, alice, &Access{Object: f, Mask: 0x3f}).Granted; g != 0 {
		t.Errorf("access grants %#x: it has to tell what open(2) would do", g)
	}
}

// TestExecuteSufficesForRead: a server cannot tell reading from paging in a program.
func TestExecuteSufficesForRead(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(superuser, w.root(), "f", 0o711)
	must[*ReadResult](w, bob, &Read{Object: f, Count: 10})
	if g := must[*AccessResult](w, bob, &Access{Object: f, Mask: 0x3f}).Granted; g != AccessExecute {
		t.Errorf("access grants %#x", g)
	}
}

func TestAccess(t *testing.T) {
	w := newWorld(t, Config{})
	const all = AccessRead | AccessLookup | AccessModify | AccessExtend | AccessDelete | AccessExecute
	for _, c := range []struct {
		who  Cred
		dir  bool
		mode uint32
		want uint32
	}{
		{alice, false, 0o640, AccessRead | AccessModify | AccessExtend},
		{alice, false, 0o477, AccessRead}, // the owner's digit decides alone
		{bob, false, 0o640, 0},
		{bob, false, 0o643, AccessModify | AccessExtend | AccessExecute},
		{Cred{UID: 5, GID: 100}, false, 0o650, AccessRead | AccessExecute},
		{Cred{UID: 5, GID: 5, GIDs: []uint32{7, 100}}, false, 0o650, AccessRead | AccessExecute},
		{superuser, false, 0o000, AccessRead | AccessModify | AccessExtend},
		{superuser, false, 0o010, AccessRead | AccessModify | AccessExtend | AccessExecute},
		{superuser, true, 0o000, all &^ AccessExecute},
		{bob, true, 0o754, AccessRead},
		{bob, true, 0o752, AccessModify | AccessExtend | AccessDelete}, // POSIX access(2): each permission by itself
		{bob, true, 0o753, AccessLookup | AccessModify | AccessExtend | AccessDelete},
	} {
		name := fmt.Sprintf("%+v", c)
		var h Handle
		if c.dir {
			h = w.mkdir(alice, w.root(), strings.ReplaceAll(name, "/", ""), c.mode)
		} else {
			h = w.create(alice, w.root(), name, c.mode)
		}
		if got := must[*AccessResult](w, c.who, &Access{Object: h, Mask: all}).Granted; got != c.want {
			t.Errorf("%s: %#x", name, got)
		}
		if got := must[*AccessResult](w, c.who, &Access{Object: h, Mask: AccessRead}).Granted; got != c.want&AccessRead {
			t.Errorf("%s: %#x outside the mask", name, got)
		}
	}
}

func TestStickyDirectory(t *testing.T) {
	w := newWorld(t, Config{})
	tmp := w.mkdir(superuser, w.root(), "tmp", 0o1777)
	w.create(alice, tmp, "a", 0o666)
	w.create(bob, tmp, "b", 0o666)
	w.mkdir(alice, tmp, "d", 0o777)
	w.refuses(bob, EPERM, &Remove{Dir: tmp, Name: "a"})
	w.refuses(bob, EPERM, &Rmdir{Dir: tmp, Name: "d"})
	w.refuses(bob, EPERM, &Rename{FromDir: tmp, FromName: "a", ToDir: tmp, ToName: "x"})
	w.refuses(bob, EPERM, &Rename{FromDir: tmp, FromName: "b", ToDir: tmp, ToName: "a"})
	must[*RenameResult](w, bob, &Rename{FromDir: tmp, FromName: "b", ToDir: tmp, ToName: "c"})
	must[*RemoveResult](w, alice, &Remove{Dir: tmp, Name: "a"})
	must[*RemoveResult](w, superuser, &Remove{Dir: tmp, Name: "c"})
}

func TestSetGroupIDDirectoryHandsItsGroupDown(t *testing.T) {
	w := newWorld(t, Config{})
	d := w.mkdir(superuser, w.root(), "d", 0o777)
	must[*SetAttrResult](w, superuser, &SetAttr{Object: d, Set: SetAttrs{GID: ptr(uint32(200)), Mode: ptr(uint32(0o2777))}})
	if a := w.attr(w.create(bob, d, "f", 0o644)); a.GID != 200 || a.Mode != 0o644 {
		t.Errorf("file: gid %d mode %o", a.GID, a.Mode)
	}
	if a := w.attr(w.mkdir(bob, d, "sub", 0o755)); a.GID != 200 || a.Mode != 0o2755 {
		t.Errorf("directory: gid %d mode %o", a.GID, a.Mode)
	}
	if a := w.attr(w.create(bob, d, "no member", 0o2755)); a.Mode != 0o755 {
		t.Errorf("set-group-id of a group that bob is not in: mode %o", a.Mode)
	}
	if a := w.attr(w.create(alice, d, "member", 0o2755)); a.Mode != 0o2755 {
		t.Errorf("set-group-id of a group that alice is in: mode %o", a.Mode)
	}
	if a := w.attr(w.create(bob, d, "a mark", 0o2745)); a.Mode != 0o2745 {
		t.Errorf("set-group-id without group execute, of a group that bob is not in: mode %o", a.Mode)
	}
}

func TestSetIDBitsAreCleared(t *testing.T) {
	w := newWorld(t, Config{})
	for name, c := range map[string]struct {
		who          Cred
		before, want uint32
		by           func(f Handle) Args
	}{
		"write by another":        {bob, 0o6777, 0o777, func(f Handle) Args { return &Write{Object: f, Data: []byte("x")} }},
		"write by the owner":      {alice, 0o6755, 0o755, func(f Handle) Args { return &Write{Object: f, Data: []byte("x")} }},
		"write by the superuser":  {superuser, 0o6755, 0o6755, func(f Handle) Args { return &Write{Object: f, Data: []byte("x")} }},
		"mandatory locking stays": {alice, 0o6745, 0o2745, func(f Handle) Args { return &Write{Object: f, Data: []byte("x")} }},
		"but not by a stranger":   {bob, 0o6767, 0o767, func(f Handle) Args { return &Write{Object: f, Data: []byte("x")} }},
		"nor his truncating":      {bob, 0o2767, 0o767, func(f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{Size: ptr(uint64(0))}} }},
		"nor the superuser's":     {superuser, 0o2767, 0o2767, func(f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{GID: ptr(uint32(7))}} }},
		"empty write":             {alice, 0o6755, 0o6755, func(f Handle) Args { return &Write{Object: f} }},
		"truncate":                {alice, 0o6755, 0o755, func(f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{Size: ptr(uint64(0))}} }},
		"chown by the superuser":  {superuser, 0o6755, 0o755, func(f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{UID: ptr(uint32(7))}} }},
		"chgrp by the owner":      {alice, 0o6755, 0o755, func(f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{GID: ptr(uint32(200))}} }},
		"chmod":                   {alice, 0o755, 0o6755, func(f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{Mode: ptr(uint32(0o6755))}} }},
	} {
		f := w.create(alice, w.root(), name, c.before)
		if w.do(c.who, c.by(f)).Code() != OK {
			t.Errorf("%s: refused", name)
		}
		if got := w.attr(f).Mode; got != c.want {
			t.Errorf("%s: mode %o became %o, want %o", name, c.before, got, c.want)
		}
	}
}

func TestChangingOwnership(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(alice, w.root(), "f", 0o644)
	set := func(s SetAttrs) *SetAttr { return &SetAttr{Object: f, Set: s} }
	w.refuses(alice, EPERM, set(SetAttrs{UID: ptr(uint32(1001))}))
	w.refuses(alice, EPERM, set(SetAttrs{GID: ptr(uint32(999))}))
	w.refuses(bob, EPERM, set(SetAttrs{GID: ptr(uint32(101))}))
	w.refuses(bob, EPERM, set(SetAttrs{Mode: ptr(uint32(0o777))}))
	w.refuses(bob, EPERM, set(SetAttrs{Mtime: SetTime{How: TimeClient}}))
	w.refuses(bob, EPERM, set(SetAttrs{Mtime: SetTime{How: TimeServer}}))
	must[*SetAttrResult](w, alice, set(SetAttrs{UID: ptr(uint32(1000)), GID: ptr(uint32(200))}))
	must[*SetAttrResult](w, superuser, set(SetAttrs{UID: ptr(uint32(5)), GID: ptr(uint32(6))}))
	w.refuses(alice, EPERM, &Create{Dir: w.root(), Name: "g", Set: SetAttrs{UID: ptr(uint32(1))}})
	w.refuses(alice, EPERM, &Create{Dir: w.root(), Name: "g", Set: SetAttrs{GID: ptr(uint32(1))}})
}

// POSIX utimensat: permission to write suffices for both times to be set to now, and for nothing else. Opening an empty file
// to truncate it comes as a new mtime alone from Linux.
func TestTouching(t *testing.T) {
	w := newWorld(t, Config{})
	now := SetTime{How: TimeServer}
	for mode, want := range map[uint32][3]Status{
		0o666: {OK, EPERM, OK},
		0o644: {EACCES, EPERM, EPERM},
	} {
		f := w.create(alice, w.root(), fmt.Sprintf("%o", mode), mode)
		for i, set := range []SetAttrs{{Atime: now, Mtime: now}, {Atime: now}, {Mtime: now}} {
			if got := w.do(bob, &SetAttr{Object: f, Set: set}).Code(); got != want[i] {
				t.Errorf("another's file of mode %o, times %d: %v, want %v", mode, i, got, want[i])
			}
			must[*SetAttrResult](w, alice, &SetAttr{Object: f, Set: set})
			must[*SetAttrResult](w, superuser, &SetAttr{Object: f, Set: set})
		}
	}
	f := w.create(alice, w.root(), "truncated", 0o622)
	must[*SetAttrResult](w, bob, &SetAttr{Object: f, Set: SetAttrs{Size: ptr(uint64(0)), Mtime: now}})
}

func TestGuardComparesTheChangeTime(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(alice, w.root(), "f", 0o644)
	old := w.attr(f).Ctime
	set := func() *SetAttr { return &SetAttr{Object: f, Set: SetAttrs{Mode: ptr(uint32(0o600))}, Guard: &old} }
	r := must[*SetAttrResult](w, alice, set())
	if r.Wcc.Before.Ctime != old || r.Wcc.After.Ctime <= old {
		t.Errorf("ctime from %d to %d", r.Wcc.Before.Ctime, r.Wcc.After.Ctime)
	}
	w.refuses(alice, ENOTSYNC, set())
}

func TestExclusiveCreateSucceedsAgainForItsVerifierAlone(t *testing.T) {
	w := newWorld(t, Config{})
	op := func(verf uint64) *Create { return &Create{Dir: w.root(), Name: "f", How: Exclusive, Verf: verf} }
	first := must[*CreateResult](w, alice, op(7))
	again := must[*CreateResult](w, alice, op(7))
	if first.Object != again.Object {
		t.Error("the second call made another file")
	}
	w.refuses(alice, EEXIST, op(8))
	w.refuses(alice, EEXIST, &Create{Dir: w.root(), Name: "f", How: Guarded})
	w.create(alice, w.root(), "plain", 0o644)
	w.refuses(alice, EEXIST, &Create{Dir: w.root(), Name: "plain", How: Exclusive})
}

func TestUncheckedCreateOfWhatExistsOnlyTruncates(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(alice, w.root(), "f", 0o644)
	w.write(alice, f, 0, "content")
	r := must[*CreateResult](w, alice, &Create{Dir: w.root(), Name: "f", Set: SetAttrs{Size: ptr(uint64(0)), Mode: ptr(uint32(0o777))}})
	if r.Object != f || r.Attr.Size != 0 || r.Attr.Mode != 0o644 {
		t.Errorf("%+v", r.Attr)
	}
	w.refuses(bob, EACCES, &Create{Dir: w.root(), Name: "f", Set: SetAttrs{Size: ptr(uint64(0))}})
	must[*CreateResult](w, bob, &Create{Dir: w.root(), Name: "f"})
	w.mkdir(alice, w.root(), "d", 0o755)
	w.refuses(alice, EEXIST, &Create{Dir: w.root(), Name: "d"})
}

func TestDevicesAreForTheSuperuser(t *testing.T) {
	w := newWorld(t, Config{})
	w.refuses(alice, EPERM, &Mknod{Dir: w.root(), Name: "sda", Type: TypeBlock, Major: 8})
	w.refuses(alice, EBADTYPE, &Mknod{Dir: w.root(), Name: "f", Type: TypeRegular})
	must[*CreateResult](w, alice, &Mknod{Dir: w.root(), Name: "fifo", Type: TypeFIFO})
	must[*CreateResult](w, alice, &Mknod{Dir: w.root(), Name: "socket", Type: TypeSocket})
	dev := must[*CreateResult](w, superuser, &Mknod{Dir: w.root(), Name: "sda", Type: TypeBlock, Major: 8, Minor: 1 << 19})
	if a := w.attr(dev.Object); a.Major != 8 || a.Minor != 1<<19 || a.Type != TypeBlock {
		t.Errorf("%+v", a)
	}
	w.refuses(superuser, EINVAL, &Write{Object: dev.Object, Data: []byte("x")})
}

func TestRename(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	a, b := w.mkdir(alice, root, "a", 0o755), w.mkdir(alice, root, "b", 0o755)
	sub := w.mkdir(alice, a, "sub", 0o755)
	file := w.create(alice, a, "file", 0o644)
	w.create(alice, b, "other", 0o644)
	w.mkdir(alice, b, "empty", 0o755)
	w.mkdir(alice, w.mkdir(alice, b, "full", 0o755), "x", 0o755)
	mv := func(d1 Handle, n1 string, d2 Handle, n2 string) *Rename { return &Rename{d1, n1, d2, n2} }
	w.refuses(alice, EINVAL, mv(root, "a", sub, "loop"))
	w.refuses(alice, EINVAL, mv(root, "a", a, "loop"))
	w.refuses(alice, EINVAL, mv(a, ".", b, "x"))
	w.refuses(alice, EINVAL, mv(a, "file", b, ".."))
	w.refuses(alice, ENOENT, mv(a, "nothing", b, "x"))
	w.refuses(alice, ENOTDIR, mv(a, "sub", b, "other"))
	w.refuses(alice, EISDIR, mv(a, "file", b, "empty"))
	w.refuses(alice, ENOTEMPTY, mv(a, "sub", b, "full"))
	w.refuses(alice, ENOTEMPTY, mv(a, "sub", root, "a"))
	w.refuses(bob, EACCES, mv(a, "file", root, "stolen"))

	must[*RenameResult](w, alice, mv(a, "sub", b, "empty"))
	if got := must[*LookupResult](w, alice, &Lookup{Dir: sub, Name: ".."}).Object; got != b {
		t.Error(`".." did not move along`)
	}
	if n, m := w.attr(a).Nlink, w.attr(b).Nlink; n != 2 || m != 4 {
		t.Errorf("link counts %d, %d", n, m)
	}
	must[*RenameResult](w, alice, mv(a, "file", b, "other"))
	must[*LinkResult](w, alice, &Link{Object: file, Dir: a, Name: "second"})
	before := w.fs.Root()
	r := must[*RenameResult](w, alice, mv(a, "second", b, "other"))
	if *r.From.After != w.attr(a) || w.attr(file).Nlink != 2 || w.fs.Root() == before {
		t.Error("renaming one name of a file to another must do nothing but let time pass")
	}
	if bad := Check(w.fs.Snapshot()); bad != nil {
		t.Error(bad)
	}
}

func TestMovingADirectoryTakesWritingIt(t *testing.T) {
	w := newWorld(t, Config{})
	d := w.mkdir(alice, w.root(), "d", 0o777)
	w.mkdir(superuser, d, "roots", 0o755)
	w.refuses(alice, EACCES, &Rename{FromDir: d, FromName: "roots", ToDir: w.root(), ToName: "x"})
	must[*RenameResult](w, alice, &Rename{FromDir: d, FromName: "roots", ToDir: d, ToName: "x"})
}

func TestDotNames(t *testing.T) {
	w := newWorld(t, Config{})
	d := w.mkdir(alice, w.root(), "d", 0o755)
	f := w.create(alice, d, "f", 0o644)
	w.refuses(alice, EEXIST, &Create{Dir: d, Name: "."})
	w.refuses(alice, EEXIST, &Mkdir{Dir: d, Name: ".."})
	w.refuses(alice, EACCES, &Remove{Dir: d, Name: "."})
	w.refuses(alice, EINVAL, &Rmdir{Dir: d, Name: "."})
	w.refuses(alice, EEXIST, &Rmdir{Dir: d, Name: ".."})
	w.refuses(alice, EEXIST, &Link{Object: f, Dir: d, Name: ".."})
	if got := must[*LookupResult](w, alice, &Lookup{Dir: w.root(), Name: ".."}).Object; got != w.root() {
		t.Error("the root's parent is not the root")
	}
}

func TestLinkLimits(t *testing.T) {
	w := newWorld(t, Config{MaxInodes: LinkMax + 10})
	root := w.root()
	f := w.create(superuser, root, "f", 0o644)
	links, dirs := w.mkdir(superuser, root, "links", 0o755), w.mkdir(superuser, root, "dirs", 0o755)
	for i := range LinkMax - 1 {
		w.fs.Apply(&Op{Args: &Link{Object: f, Dir: links, Name: fmt.Sprint(i)}}, w.now)
	}
	w.refuses(superuser, EMLINK, &Link{Object: f, Dir: links, Name: "one more"})
	for i := range LinkMax - 2 {
		w.fs.Apply(&Op{Args: &Mkdir{Dir: dirs, Name: fmt.Sprint(i)}}, w.now)
	}
	w.refuses(superuser, EMLINK, &Mkdir{Dir: dirs, Name: "one more"})
	w.refuses(superuser, EMLINK, &Rename{FromDir: root, FromName: "links", ToDir: dirs, ToName: "one more"})
	if n, m := w.attr(f).Nlink, w.attr(dirs).Nlink; n != LinkMax || m != LinkMax {
		t.Errorf("link counts %d, %d", n, m)
	}
	w.refuses(superuser, EISDIR, &Link{Object: dirs, Dir: root, Name: "hard"})
}

func TestQuota(t *testing.T) {
	w := newWorld(t, Config{MaxBytes: 3*pageSize + 200, MaxInodes: 4})
	root := w.root()
	f := w.create(superuser, root, "f", 0o644)
	w.refuses(superuser, ENOSPC, &Write{Object: f, Data: make([]byte, 4*pageSize)})
	w.write(superuser, f, 1<<40, strings.Repeat("x", 3*pageSize))
	w.refuses(superuser, ENOSPC, &Write{Object: f, Data: []byte("x")})
	w.write(superuser, f, 1<<40+100, strings.Repeat("y", pageSize)) // takes nothing new
	w.refuses(superuser, ENOSPC, &Symlink{Dir: root, Name: "s", Target: strings.Repeat("t", 200)})
	must[*SetAttrResult](w, superuser, &SetAttr{Object: f, Set: SetAttrs{Size: ptr(uint64(0))}})
	w.create(superuser, root, "g", 0)
	w.create(superuser, root, "h", 0)
	w.refuses(superuser, ENOSPC, &Mkdir{Dir: root, Name: "i"})
	st := must[*StatFSResult](w, superuser, &StatFS{Object: root})
	if st.TotalFiles != 4 || st.FreeFiles != 0 || st.TotalBytes != 3*pageSize+200 || st.FreeBytes != st.TotalBytes-3*33 {
		t.Errorf("%+v", st)
	}
}

func TestForgedHandlesAreStale(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(alice, w.root(), "f", 0o644)
	for _, h := range []Handle{
		{},
		{Ino: f.Ino, Gen: f.Gen + 1},
		{Ino: f.Ino + 1, Gen: f.Gen},
		{Ino: 0, Gen: f.Gen},
		{Ino: sessionTag, Gen: f.Gen},
		{Ino: ^uint64(0), Gen: ^uint64(0)},
	} {
		w.refuses(superuser, ESTALE, &GetAttr{Object: h})
		w.refuses(superuser, ESTALE, &Write{Object: h, Data: []byte("x")})
		w.refuses(superuser, ESTALE, &Create{Dir: h, Name: "x"})
		w.refuses(superuser, ESTALE, &Link{Object: h, Dir: w.root(), Name: "x"})
	}
	if other := New(Config{Seed: Seed{9}}); other.Apply(&Op{Args: &GetAttr{Object: w.root()}}, 1).Code() != ESTALE {
		t.Error("a handle is good for a file system with another seed")
	}
}

// TestNamesWithOneHash places foreign entries where a name's hash leads.
func TestNamesWithOneHash(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	first := entrySlot(&w.fs.super.seed, "victim")
	place := func(i uint64) {
		w.fs.tree.Put(entryKey(root.Ino, first+i), append(binary.BigEndian.AppendUint64(nil, 1), fmt.Sprint("other", i)...))
	}
	for i := range uint64(3) {
		place(i)
	}
	w.create(superuser, root, "victim", 0)
	w.fs.tree.Delete(entryKey(root.Ino, first)) // a gap before it
	must[*LookupResult](w, superuser, &Lookup{Dir: root, Name: "victim"})
	w.refuses(superuser, EEXIST, &Mkdir{Dir: root, Name: "victim"})
	r := must[*ReadDirResult](w, superuser, &ReadDir{Dir: root, Cookie: first + 1})
	if len(r.Entries) != 2 || r.Entries[1].Name != "victim" || r.Entries[1].Cookie != first+3 {
		t.Errorf("listed %+v", r.Entries)
	}
	must[*RemoveResult](w, superuser, &Remove{Dir: root, Name: "victim"})
	w.create(superuser, root, "victim", 0) // takes the gap, nobody's place
	if r := must[*ReadDirResult](w, superuser, &ReadDir{Dir: root, Cookie: first - 1}); len(r.Entries) != 3 || r.Entries[0].Name != "victim" {
		t.Errorf("listed %+v", r.Entries)
	}
	must[*RemoveResult](w, superuser, &Remove{Dir: root, Name: "victim"})
	for i := range uint64(collisionsMax) {
		place(i)
	}
	w.refuses(superuser, ENOSPC, &Create{Dir: root, Name: "victim"})
	w.refuses(superuser, ENOENT, &Lookup{Dir: root, Name: "victim"})
}

func TestReadDirCookiesAndLimits(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	for i := range 20 {
		w.create(superuser, root, fmt.Sprintf("%02d", i), 0)
	}
	for _, c := range []uint64{3, slotEntry - 1, slotEntryMax + 1, ^uint64(0)} {
		w.refuses(superuser, EBADCOOKIE, &ReadDir{Dir: root, Cookie: c})
	}
	w.refuses(superuser, EBADCOOKIE, &ReadDir{Dir: root, Cookie: 1, Verf: 1})
	w.refuses(superuser, EINVAL, &ReadDir{Dir: root, Limits: [2]DirLimit{{Bytes: 23, PerEntry: 20}}})
	w.refuses(superuser, EINVAL, &ReadDir{Dir: root, Limits: [2]DirLimit{{Bytes: 1000, PerEntry: 20}, {Bytes: 1}}})
	r := must[*ReadDirResult](w, superuser, &ReadDir{Dir: root, Limits: [2]DirLimit{{Bytes: 5 * 24, PerEntry: 20}, {Bytes: 1000}}})
	if len(r.Entries) != 5 || r.EOF {
		t.Errorf("%d entries fill the limit exactly, eof %v", len(r.Entries), r.EOF)
	}
	r = must[*ReadDirResult](w, superuser, &ReadDir{Dir: root})
	if len(r.Entries) != 22 || !r.EOF {
		t.Errorf("%d entries without a limit, eof %v", len(r.Entries), r.EOF)
	}
	last := r.Entries[21].Cookie
	if r = must[*ReadDirResult](w, superuser, &ReadDir{Dir: root, Cookie: last}); len(r.Entries) != 0 || !r.EOF {
		t.Errorf("after the last: %d entries, eof %v", len(r.Entries), r.EOF)
	}
}

func TestMillionEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newWorld(t, Config{})
	root := w.root()
	n := 1_000_000
	if raceDetector {
		n = 100_000
	}
	for i := range n {
		w.apply(&Create{Dir: root, Name: fmt.Sprint(i)})
	}
	seen, cookie := 0, uint64(0)
	for i := 0; ; i++ {
		r := must[*ReadDirResult](w, superuser, &ReadDir{Dir: root, Cookie: cookie})
		seen += len(r.Entries)
		if r.EOF {
			break
		}
		cookie = r.Entries[len(r.Entries)-1].Cookie
		w.apply(&Create{Dir: root, Name: fmt.Sprint("new", i)})
		must[*RemoveResult](w, superuser, &Remove{Dir: root, Name: fmt.Sprint("new", i)})
	}
	if seen != n+2 {
		t.Errorf("listed %d of %d entries", seen, n+2)
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t, Config{})
	d := w.mkdir(alice, w.root(), "export", 0o700)
	sub := w.mkdir(alice, d, "sub", 0o755)
	must[*CreateResult](w, alice, &Symlink{Dir: w.root(), Name: "link", Target: "export"})
	for path, want := range map[string]Handle{
		"": w.root(), "/": w.root(), "///": w.root(), "/export": d, "export/": d, "//export//sub/": sub, "/export/sub/..": d, "/./export/.": d,
	} {
		if got := must[*LookupResult](w, alice, &Resolve{Path: path}).Object; got != want {
			t.Errorf("%q leads to %v, want %v", path, got, want)
		}
	}
	w.refuses(alice, ENOENT, &Resolve{Path: "/export/none"})
	w.refuses(alice, ENOTDIR, &Resolve{Path: "/link/sub"}) // links are not followed
	w.refuses(bob, EACCES, &Resolve{Path: "/export/sub"})
}

// TestCheckFinds breaks a sound state in every way that Check knows.
func TestCheckFinds(t *testing.T) {
	inodeEdit := func(edit func(n *inode)) func(fs *FS, h Handle) {
		return func(fs *FS, h Handle) {
			var n inode
			fs.view().inode(h.Ino, &n)
			edit(&n)
			fs.put(&n)
		}
	}
	for name, c := range map[string]struct {
		of    string
		spoil func(fs *FS, h Handle)
		want  string
	}{
		"link count":        {"/d/f", inodeEdit(func(n *inode) { n.nlink++ }), "nlink 2, but 1 names"},
		"directory's count": {"/d", inodeEdit(func(n *inode) { n.nlink++ }), "nlink 4 with 1 directories"},
		"parent":            {"/d/sub", inodeEdit(func(n *inode) { n.parent = 1 }), "but its parent is 1"},
		"used":              {"/d/f", inodeEdit(func(n *inode) { n.used += pageSize }), "with 3 pages"},
		"size below a page": {"/d/f", inodeEdit(func(n *inode) { n.size = 100 }), "but its size is 100"},
		"directory's size":  {"/d", inodeEdit(func(n *inode) { n.size++ }), "its entries are charged"},
		"generation":        {"/d/f", inodeEdit(func(n *inode) { n.gen++ }), "is not its own"},
		"type":              {"/d/f", inodeEdit(func(n *inode) { n.typ = 9 }), "type 9"},
		"time":              {"/d/f", inodeEdit(func(n *inode) { n.ctime = 1 << 50 }), "after the last change"},
		"link target":       {"/d/s", inodeEdit(func(n *inode) { n.size++ }), "target of 6 bytes"},
		"record":            {"/d/f", func(fs *FS, h Handle) { fs.tree.Put(inodeKey(h.Ino), []byte("short")) }, "no valid record"},
		"orphan inode": {"/d", func(fs *FS, h Handle) {
			slot, _, _ := fs.view().find(h.Ino, "f")
			fs.tree.Delete(entryKey(h.Ino, slot))
		}, "nlink 1, but 0 names"},
		"dangling entry": {"/d/f", func(fs *FS, h Handle) { fs.erase(&inode{ino: h.Ino}) }, "which is none"},
		"orphan page":    {"/d/f", func(fs *FS, h Handle) { fs.tree.Put(pageKey(h.Ino+100, 5), []byte("x")) }, "none, but a pair"},
		"entry's place":  {"/d", func(fs *FS, h Handle) { fs.tree.Put(entryKey(h.Ino, slotEntry+5), append(make([]byte, 7), 1, 'x')) }, "instead of"},
		"entry twice": {"/d", func(fs *FS, h Handle) {
			slot, ino, _ := fs.view().find(h.Ino, "f")
			fs.enter(&inode{ino: h.Ino}, slot+1, "f", ino)
		}, "is there twice"},
		"malformed entry":    {"/d", func(fs *FS, h Handle) { fs.tree.Put(entryKey(h.Ino, slotEntry+5), append(make([]byte, 8), "a/b"...)) }, "is malformed"},
		"device with a page": {"/fifo", func(fs *FS, h Handle) { fs.tree.Put(pageKey(h.Ino, 0), []byte("x")) }, "but a pair at"},
		"inode counter":      {"/", func(fs *FS, _ Handle) { fs.super.inodes++ }, "counts 7 inodes, there are 6"},
		"byte counter":       {"/", func(fs *FS, _ Handle) { fs.super.bytes-- }, "the inodes use"},
		"quota":              {"/", func(fs *FS, _ Handle) { fs.super.bytesMax = 10 }, "exceed the quota"},
		"next inode":         {"/", func(fs *FS, _ Handle) { fs.super.nextIno = 3 }, "not below the next"},
		"superblock":         {"/", func(fs *FS, _ Handle) { fs.flush(); fs.tree.Delete(tree.Key{}) }, "no valid superblock"},
		"root":               {"/", func(fs *FS, _ Handle) { fs.tree.Delete(inodeKey(rootIno)) }, "no root directory"},
		"reply":              {"/", func(fs *FS, _ Handle) { fs.tree.Delete(sessionKey(1, 1, 1)) }, "reply to client 1 slot 1"},
		"cycle": {"/d", func(fs *FS, h Handle) {
			var sub, root inode
			_, ino, _ := fs.view().find(h.Ino, "sub")
			fs.view().inode(ino, &sub)
			fs.view().inode(rootIno, &root)
			slot, _, _ := fs.view().find(rootIno, "d")
			fs.strike(&root, slot, "d")
			fs.put(&root)
			slot, _, _ = fs.view().find(ino, "d")
			fs.enter(&sub, slot, "d", h.Ino)
			fs.put(&sub)
			inodeEdit(func(n *inode) { n.parent = ino })(fs, h)
		}, "cannot be reached from the root"},
	} {
		w := newWorld(t, Config{})
		d := w.mkdir(alice, w.root(), "d", 0o755)
		w.write(alice, w.create(alice, d, "f", 0o644), 0, strings.Repeat("x", 3*pageSize))
		w.mkdir(alice, d, "sub", 0o755)
		must[*CreateResult](w, alice, &Symlink{Dir: d, Name: "s", Target: "target"})
		must[*CreateResult](w, alice, &Mknod{Dir: w.root(), Name: "fifo", Type: TypeFIFO})
		w.fs.SetSession(1, 1, 1, make([]byte, 10_000))
		h := must[*LookupResult](w, superuser, &Resolve{Path: c.of}).Object
		if bad := Check(w.fs.Snapshot()); bad != nil {
			t.Fatalf("%s: not sound to begin with: %v", name, bad)
		}
		c.spoil(w.fs, h)
		if err := errors.Join(Check(w.fs.Snapshot())...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, want %q", name, err, c.want)
		}
	}
}
