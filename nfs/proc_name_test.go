package nfs_test

import (
	"strings"
	"testing"

	"bfsd/nfs/nfs3"
)

func TestLOOKUP(t *testing.T) {
	e := start(t)
	d, f := e.dir("d"), e.file("f", "x")
	t.Run("OK", func(t *testing.T) {
		res := ok[*nfs3.LookupRes](t)(e.other.Lookup(e.ctx, e.root, "f"))
		if string(res.Object) != string(f) {
			t.Errorf("handle %x, want %x", res.Object, f)
		}
		if res.Attr == nil || *res.Attr != *e.attr(f) || res.Dir == nil || *res.Dir != *e.attr(e.root) {
			t.Errorf("attributes %+v, directory's %+v", res.Attr, res.Dir)
		}
	})
	for name, wanted := range map[string]nfs3.FH{".": d, "..": e.root} {
		t.Run("OK/"+name, func(t *testing.T) {
			if res := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, d, name)); string(res.Object) != string(wanted) {
				t.Errorf("handle %x, want %x", res.Object, wanted)
			}
		})
	}
	t.Run("OK/.. of the root", func(t *testing.T) {
		if res := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, e.root, "..")); string(res.Object) != string(e.root) {
			t.Errorf("handle %x, want the root's", res.Object)
		}
	})
	t.Run("OK/path by path", func(t *testing.T) {
		inner := ok[*nfs3.CreateRes](t)(e.user.Mkdir(e.ctx, d, "e", mode(0o755))).Object
		if res := ok[*nfs3.LookupRes](t)(e.user.Walk(e.ctx, e.root, "/d//e/")); string(res.Object) != string(inner) {
			t.Errorf("handle %x, want %x", res.Object, inner)
		}
	})
	t.Run("NOENT", func(t *testing.T) {
		res, err := e.user.Lookup(e.ctx, e.root, "none")
		want(t, err, nfs3.ErrNoEnt)
		if res.Dir == nil || *res.Dir != *e.attr(e.root) {
			t.Errorf("directory's attributes %+v", res.Dir)
		}
	})
	t.Run("NOTDIR", func(t *testing.T) {
		_, err := e.user.Lookup(e.ctx, f, "x")
		want(t, err, nfs3.ErrNotDir)
	})
	t.Run("ACCES", func(t *testing.T) {
		closed := e.dir("closed")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, closed, mode(0o600), nil))
		_, err := e.other.Lookup(e.ctx, closed, "x")
		want(t, err, nfs3.ErrAcces)
	})
	t.Run("NAMETOOLONG", func(t *testing.T) {
		for _, n := range []int{256, 257, 60_000} {
			_, err := e.user.Lookup(e.ctx, e.root, strings.Repeat("n", n))
			want(t, err, nfs3.ErrNameTooLong)
		}
		_, err := e.user.Lookup(e.ctx, e.root, strings.Repeat("n", 255))
		want(t, err, nfs3.ErrNoEnt)
	})
	t.Run("INVAL", func(t *testing.T) {
		for _, name := range []string{"", "a/b", "/", "a\x00b"} {
			_, err := e.user.Lookup(e.ctx, e.root, name)
			want(t, err, nfs3.ErrInval)
		}
	})
}

func TestREADLINK(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		for _, target := range []string{"t", "/absolute/../odd//\xff\xfe", strings.Repeat("p", 4095)} {
			fh := ok[*nfs3.CreateRes](t)(e.user.Symlink(e.ctx, e.root, "l", target, nfs3.Sattr{})).Object
			res := ok[*nfs3.ReadLinkRes](t)(e.other.ReadLink(e.ctx, fh))
			if res.Target != target {
				t.Errorf("target %q, want %q", res.Target, target)
			}
			if res.Attr == nil || *res.Attr != *e.attr(fh) || res.Attr.Size != uint64(len(target)) {
				t.Errorf("attributes %+v", res.Attr)
			}
			ok[*nfs3.WccRes](t)(e.user.Remove(e.ctx, e.root, "l"))
		}
	})
	t.Run("INVAL", func(t *testing.T) {
		_, err := e.user.ReadLink(e.ctx, e.root)
		want(t, err, nfs3.ErrInval)
	})
}

// wantMade fails the test unless a call that made an object says truly what it made, where.
func (e *env) wantMade(t *testing.T, res *nfs3.CreateRes, name string, typ nfs3.FileType, before *nfs3.Fattr) {
	t.Helper()
	if found := ok[*nfs3.LookupRes](t)(e.c.Lookup(e.ctx, e.root, name)); string(found.Object) != string(res.Object) {
		t.Errorf("%q is %x, the call returned %x", name, found.Object, res.Object)
	}
	if res.Attr == nil || *res.Attr != *e.attr(res.Object) || res.Attr.Type != typ {
		t.Errorf("attributes %+v, want type %d", res.Attr, typ)
	}
	wantChanged(t, "directory", res.Dir, before, e.attr(e.root))
}

func TestCREATE(t *testing.T) {
	e := start(t)
	t.Run("OK/UNCHECKED", func(t *testing.T) {
		before := e.attr(e.root)
		res := ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, "u", nfs3.Unchecked, mode(0o640)))
		e.wantMade(t, res, "u", nfs3.TypeReg, before)
		if a := res.Attr; a.Mode != 0o640 || a.UID != 1000 || a.GID != 100 || a.Size != 0 {
			t.Errorf("attributes %+v", a)
		}
	})
	t.Run("OK/UNCHECKED on a file that exists", func(t *testing.T) {
		fh := e.file("exists", "hello")
		res := ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, "exists", nfs3.Unchecked, mode(0o600)))
		if string(res.Object) != string(fh) || res.Attr.Size != 5 {
			t.Errorf("handle %x, want %x; size %d, want 5", res.Object, fh, res.Attr.Size)
		}
		res = ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, "exists", nfs3.Unchecked, nfs3.Sattr{Size: ptr(uint64(0))}))
		if res.Attr.Size != 0 {
			t.Errorf("size %d after O_TRUNC", res.Attr.Size)
		}
	})
	t.Run("OK/GUARDED", func(t *testing.T) {
		before := e.attr(e.root)
		e.wantMade(t, ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, "g", nfs3.Guarded, mode(0o600))), "g", nfs3.TypeReg, before)
	})
	t.Run("EXIST/GUARDED", func(t *testing.T) {
		e.file("there", "x")
		before := e.attr(e.root)
		res, err := e.user.Create(e.ctx, e.root, "there", nfs3.Guarded, mode(0o600))
		want(t, err, nfs3.ErrExist)
		wantWcc(t, "directory", res.Dir, before, before)
	})
	t.Run("OK/EXCLUSIVE, and again with the same verifier", func(t *testing.T) {
		before := e.attr(e.root)
		first := ok[*nfs3.CreateRes](t)(e.user.CreateExclusive(e.ctx, e.root, "x", [8]byte{1, 2, 3, 4, 5, 6, 7, 8}))
		e.wantMade(t, first, "x", nfs3.TypeReg, before)
		again := ok[*nfs3.CreateRes](t)(e.user.CreateExclusive(e.ctx, e.root, "x", [8]byte{1, 2, 3, 4, 5, 6, 7, 8}))
		if string(again.Object) != string(first.Object) {
			t.Errorf("the second call made %x, the first %x", again.Object, first.Object)
		}
	})
	t.Run("EXIST/EXCLUSIVE with another verifier", func(t *testing.T) {
		ok[*nfs3.CreateRes](t)(e.user.CreateExclusive(e.ctx, e.root, "x2", [8]byte{1}))
		_, err := e.user.CreateExclusive(e.ctx, e.root, "x2", [8]byte{2})
		want(t, err, nfs3.ErrExist)
	})
	t.Run("ACCES", func(t *testing.T) {
		_, err := e.other.Create(e.ctx, e.dir("d"), "n", nfs3.Unchecked, mode(0o600))
		want(t, err, nfs3.ErrAcces)
	})
	t.Run("NOTDIR", func(t *testing.T) {
		_, err := e.user.Create(e.ctx, e.file("f", "x"), "n", nfs3.Unchecked, mode(0o600))
		want(t, err, nfs3.ErrNotDir)
	})
	t.Run("NAMETOOLONG", func(t *testing.T) {
		_, err := e.user.Create(e.ctx, e.root, strings.Repeat("n", 256), nfs3.Unchecked, mode(0o600))
		want(t, err, nfs3.ErrNameTooLong)
		ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, strings.Repeat("n", 255), nfs3.Unchecked, mode(0o600)))
	})
	t.Run("OK/names are bytes", func(t *testing.T) {
		for _, name := range []string{"\xff\xfe", "ä", " ", "...", "a\nb"} {
			before := e.attr(e.root)
			e.wantMade(t, ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, name, nfs3.Guarded, mode(0o600))), name, nfs3.TypeReg, before)
		}
	})
	t.Run("NOSPC/inodes", func(t *testing.T) {
		e := startWith(t, fsLimit(3))
		e.file("1", "")
		e.file("2", "")
		_, err := e.user.Create(e.ctx, e.root, "3", nfs3.Guarded, mode(0o600))
		want(t, err, nfs3.ErrNoSpc)
	})
}

func TestMKDIR(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		before := e.attr(e.root)
		res := ok[*nfs3.CreateRes](t)(e.user.Mkdir(e.ctx, e.root, "d", mode(0o751)))
		e.wantMade(t, res, "d", nfs3.TypeDir, before)
		if after := e.attr(e.root); res.Attr.Mode != 0o751 || res.Attr.Nlink != 2 || after.Nlink != before.Nlink+1 {
			t.Errorf("attributes %+v, parent's %+v", res.Attr, after)
		}
	})
	t.Run("EXIST", func(t *testing.T) {
		for _, name := range []string{"d", ".", ".."} {
			_, err := e.user.Mkdir(e.ctx, e.root, name, mode(0o755))
			want(t, err, nfs3.ErrExist)
		}
	})
	t.Run("ACCES", func(t *testing.T) {
		_, err := e.other.Mkdir(e.ctx, e.dir("closed"), "n", mode(0o755))
		want(t, err, nfs3.ErrAcces)
	})
}

func TestSYMLINK(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		before := e.attr(e.root)
		e.wantMade(t, ok[*nfs3.CreateRes](t)(e.user.Symlink(e.ctx, e.root, "l", "target", nfs3.Sattr{})), "l", nfs3.TypeSymlink, before)
	})
	t.Run("EXIST", func(t *testing.T) {
		_, err := e.user.Symlink(e.ctx, e.root, "l", "other", nfs3.Sattr{})
		want(t, err, nfs3.ErrExist)
	})
	t.Run("NAMETOOLONG/target", func(t *testing.T) {
		for _, n := range []int{4096, 60_000} {
			_, err := e.user.Symlink(e.ctx, e.root, "l2", strings.Repeat("p", n), nfs3.Sattr{})
			want(t, err, nfs3.ErrNameTooLong)
		}
	})
	t.Run("NOENT/empty target", func(t *testing.T) {
		_, err := e.user.Symlink(e.ctx, e.root, "l3", "", nfs3.Sattr{})
		want(t, err, nfs3.ErrNoEnt)
	})
}

func TestMKNOD(t *testing.T) {
	e := start(t)
	for _, tc := range []struct {
		name string
		typ  nfs3.FileType
		spec nfs3.SpecData
	}{
		{"FIFO", nfs3.TypeFIFO, nfs3.SpecData{}},
		{"SOCK", nfs3.TypeSocket, nfs3.SpecData{}},
		{"CHR", nfs3.TypeChar, nfs3.SpecData{Major: 1, Minor: 3}},
		{"BLK", nfs3.TypeBlock, nfs3.SpecData{Major: 8, Minor: 1 << 20}},
	} {
		t.Run("OK/"+tc.name, func(t *testing.T) {
			before := e.attr(e.root)
			res := ok[*nfs3.CreateRes](t)(e.c.Mknod(e.ctx, e.root, tc.name, tc.typ, tc.spec, mode(0o600)))
			e.wantMade(t, res, tc.name, tc.typ, before)
			if res.Attr.Rdev != tc.spec || res.Attr.Mode != 0o600 {
				t.Errorf("device %+v, mode %o", res.Attr.Rdev, res.Attr.Mode)
			}
		})
	}
	t.Run("BADTYPE", func(t *testing.T) {
		for _, typ := range []nfs3.FileType{0, nfs3.TypeReg, nfs3.TypeDir, nfs3.TypeSymlink, 8, 1 << 31} {
			_, err := e.c.Mknod(e.ctx, e.root, "bad", typ, nfs3.SpecData{}, nfs3.Sattr{})
			want(t, err, nfs3.ErrBadType)
		}
	})
	t.Run("PERM/device by a user", func(t *testing.T) {
		_, err := e.user.Mknod(e.ctx, e.root, "dev", nfs3.TypeChar, nfs3.SpecData{}, nfs3.Sattr{})
		want(t, err, nfs3.ErrPerm)
	})
	t.Run("EXIST", func(t *testing.T) {
		_, err := e.user.Mknod(e.ctx, e.root, "FIFO", nfs3.TypeFIFO, nfs3.SpecData{}, nfs3.Sattr{})
		want(t, err, nfs3.ErrExist)
	})
}
