package nfs_test

import (
	"strings"
	"testing"

	"bfsd/nfs/nfs3"
)

func TestREMOVE(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		fh := e.file("f", "x")
		before := e.attr(e.root)
		res := ok[*nfs3.WccRes](t)(e.user.Remove(e.ctx, e.root, "f"))
		wantChanged(t, "directory", res.Wcc, before, e.attr(e.root))
		_, err := e.c.GetAttr(e.ctx, fh)
		want(t, err, nfs3.ErrStale)
	})
	t.Run("OK/one of two names", func(t *testing.T) {
		fh := e.file("one", "x")
		ok[*nfs3.LinkRes](t)(e.user.Link(e.ctx, fh, e.root, "two"))
		ok[*nfs3.WccRes](t)(e.user.Remove(e.ctx, e.root, "one"))
		if a := e.attr(fh); a.Nlink != 1 {
			t.Errorf("%d links", a.Nlink)
		}
	})
	t.Run("NOENT", func(t *testing.T) {
		before := e.attr(e.root)
		res, err := e.user.Remove(e.ctx, e.root, "none")
		want(t, err, nfs3.ErrNoEnt)
		wantWcc(t, "directory", res.Wcc, before, before)
	})
	t.Run("ISDIR", func(t *testing.T) {
		e.dir("d")
		_, err := e.user.Remove(e.ctx, e.root, "d")
		want(t, err, nfs3.ErrIsDir)
	})
	t.Run("PERM/sticky directory", func(t *testing.T) {
		sticky := e.dir("sticky")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, sticky, mode(0o1777), nil))
		ok[nfs3.FH](t)(e.user.WriteFile(e.ctx, sticky, "mine", nil, 0o666))
		_, err := e.other.Remove(e.ctx, sticky, "mine")
		want(t, err, nfs3.ErrPerm)
	})
	t.Run("ACCES", func(t *testing.T) {
		d := e.dir("closed")
		ok[nfs3.FH](t)(e.user.WriteFile(e.ctx, d, "f", nil, 0o666))
		_, err := e.other.Remove(e.ctx, d, "f")
		want(t, err, nfs3.ErrAcces)
	})
}

func TestRMDIR(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		d := e.dir("d")
		before := e.attr(e.root)
		res := ok[*nfs3.WccRes](t)(e.user.Rmdir(e.ctx, e.root, "d"))
		after := e.attr(e.root)
		wantChanged(t, "directory", res.Wcc, before, after)
		if after.Nlink != before.Nlink-1 {
			t.Errorf("parent has %d links, had %d", after.Nlink, before.Nlink)
		}
		_, err := e.c.GetAttr(e.ctx, d)
		want(t, err, nfs3.ErrStale)
	})
	t.Run("NOTEMPTY", func(t *testing.T) {
		d := e.dir("full")
		ok[nfs3.FH](t)(e.user.WriteFile(e.ctx, d, "f", nil, 0o600))
		_, err := e.user.Rmdir(e.ctx, e.root, "full")
		want(t, err, nfs3.ErrNotEmpty)
	})
	t.Run("NOTDIR", func(t *testing.T) {
		e.file("f", "")
		_, err := e.user.Rmdir(e.ctx, e.root, "f")
		want(t, err, nfs3.ErrNotDir)
	})
	t.Run("NOENT", func(t *testing.T) {
		_, err := e.user.Rmdir(e.ctx, e.root, "none")
		want(t, err, nfs3.ErrNoEnt)
	})
	t.Run("INVAL/.", func(t *testing.T) { // §3.3.13
		_, err := e.user.Rmdir(e.ctx, e.root, ".")
		want(t, err, nfs3.ErrInval)
	})
	t.Run("EXIST/..", func(t *testing.T) { // §3.3.13
		_, err := e.user.Rmdir(e.ctx, e.dir("d2"), "..")
		want(t, err, nfs3.ErrExist)
	})
}

func TestRENAME(t *testing.T) {
	e := start(t)
	t.Run("OK/within a directory", func(t *testing.T) {
		fh := e.file("a", "x")
		before := e.attr(e.root)
		res := ok[*nfs3.RenameRes](t)(e.user.Rename(e.ctx, e.root, "a", e.root, "b"))
		after := e.attr(e.root)
		wantChanged(t, "from", res.From, before, after)
		wantChanged(t, "to", res.To, before, after)
		if found := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, e.root, "b")); string(found.Object) != string(fh) {
			t.Error("the handle changed with the name")
		}
		_, err := e.user.Lookup(e.ctx, e.root, "a")
		want(t, err, nfs3.ErrNoEnt)
	})
	t.Run("OK/to another directory, over a file", func(t *testing.T) {
		d := e.dir("d")
		fh := e.file("c", "new")
		old := ok[nfs3.FH](t)(e.user.WriteFile(e.ctx, d, "c", []byte("old"), 0o600))
		from, to := e.attr(e.root), e.attr(d)
		res := ok[*nfs3.RenameRes](t)(e.user.Rename(e.ctx, e.root, "c", d, "c"))
		wantChanged(t, "from", res.From, from, e.attr(e.root))
		wantChanged(t, "to", res.To, to, e.attr(d))
		if found := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, d, "c")); string(found.Object) != string(fh) {
			t.Error("not the file that was moved")
		}
		_, err := e.c.GetAttr(e.ctx, old)
		want(t, err, nfs3.ErrStale)
	})
	t.Run("NOENT", func(t *testing.T) {
		before := e.attr(e.root)
		res, err := e.user.Rename(e.ctx, e.root, "none", e.root, "x")
		want(t, err, nfs3.ErrNoEnt)
		wantWcc(t, "from", res.From, before, before)
		wantWcc(t, "to", res.To, before, before)
	})
	t.Run("NOTEMPTY", func(t *testing.T) {
		e.dir("src")
		dst := e.dir("dst")
		ok[nfs3.FH](t)(e.user.WriteFile(e.ctx, dst, "f", nil, 0o600))
		_, err := e.user.Rename(e.ctx, e.root, "src", e.root, "dst")
		want(t, err, nfs3.ErrNotEmpty)
	})
	t.Run("INVAL/into itself", func(t *testing.T) {
		d := e.dir("self")
		_, err := e.user.Rename(e.ctx, e.root, "self", d, "x")
		want(t, err, nfs3.ErrInval)
	})
	t.Run("ISDIR/file over directory", func(t *testing.T) {
		e.file("file", "")
		e.dir("directory")
		_, err := e.user.Rename(e.ctx, e.root, "file", e.root, "directory")
		want(t, err, nfs3.ErrIsDir)
	})
	t.Run("NOTDIR/directory over file", func(t *testing.T) {
		_, err := e.user.Rename(e.ctx, e.root, "directory", e.root, "file")
		want(t, err, nfs3.ErrNotDir)
	})
	t.Run("NAMETOOLONG", func(t *testing.T) {
		_, err := e.user.Rename(e.ctx, e.root, "file", e.root, strings.Repeat("n", 256))
		want(t, err, nfs3.ErrNameTooLong)
	})
}

func TestLINK(t *testing.T) {
	e := start(t)
	fh := e.file("f", "x")
	t.Run("OK", func(t *testing.T) {
		before := e.attr(e.root)
		res := ok[*nfs3.LinkRes](t)(e.user.Link(e.ctx, fh, e.root, "g"))
		wantChanged(t, "directory", res.Dir, before, e.attr(e.root))
		if a := e.attr(fh); a.Nlink != 2 || res.Attr == nil || *res.Attr != *a {
			t.Errorf("attributes %+v, results' %+v", a, res.Attr)
		}
		if found := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, e.root, "g")); string(found.Object) != string(fh) {
			t.Error("the new name is another file's")
		}
	})
	t.Run("EXIST", func(t *testing.T) {
		_, err := e.user.Link(e.ctx, fh, e.root, "f")
		want(t, err, nfs3.ErrExist)
	})
	t.Run("ISDIR", func(t *testing.T) { // as Linux's nfsd, for which the RFC lists nothing better than INVAL
		_, err := e.user.Link(e.ctx, e.dir("d"), e.root, "h")
		want(t, err, nfs3.ErrIsDir)
	})
	t.Run("ACCES", func(t *testing.T) {
		_, err := e.other.Link(e.ctx, fh, e.dir("closed"), "h")
		want(t, err, nfs3.ErrAcces)
	})
}
