package nfs_test

import (
	"fmt"
	"math"
	"testing"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// No file can come to belong to 2^32-1, which is nobody's number: the Linux client does not come to the end of a directory that
// has such a file in it, whoever lists it.
func TestHostile_ownersThatAreNone(t *testing.T) {
	e := start(t)
	none := e.c.As(math.MaxUint32, math.MaxUint32)
	if a := ok[*nfs3.CreateRes](t)(none.Create(e.ctx, e.root, "f", nfs3.Guarded, mode(0o666))).Attr; a.UID != 65534 || a.GID != 65534 {
		t.Errorf("a file that nobody made belongs to %d, group %d", a.UID, a.GID)
	}
	fh := e.file("g", "x")
	for what, set := range map[string]nfs3.Sattr{"owner": {UID: ptr(uint32(math.MaxUint32))}, "group": {GID: ptr(uint32(math.MaxUint32))}} {
		t.Run(what, func(t *testing.T) {
			_, err := e.c.SetAttr(e.ctx, fh, set, nil)
			want(t, err, nfs3.ErrInval)
			_, err = e.c.Create(e.ctx, e.root, what, nfs3.Guarded, set)
			want(t, err, nfs3.ErrInval)
			_, err = e.c.Mkdir(e.ctx, e.root, what, set)
			want(t, err, nfs3.ErrInval)
			_, err = e.c.Symlink(e.ctx, e.root, what, "t", set)
			want(t, err, nfs3.ErrInval)
			_, err = e.c.Mknod(e.ctx, e.root, what, nfs3.TypeFIFO, nfs3.SpecData{}, set)
			want(t, err, nfs3.ErrInval)
		})
	}
	if a := e.attr(fh); a.UID != 1000 || a.GID != 100 {
		t.Errorf("the file belongs to %d, group %d", a.UID, a.GID)
	}
}

// A WRITE whose count is not its data's length is not executed (RFC 1813 §3.3.7 has them equal), and what lies beyond the
// largest file is refused, also where offset and length overflow together.
func TestHostile_ranges(t *testing.T) {
	e := start(t)
	f := e.file("f", "hello")
	for _, count := range []uint32{0, 3, 9, math.MaxUint32} {
		args := &nfs3.WriteArgs{File: f, Count: count, Stable: nfs3.FileSync, Data: []byte("HELLO")}
		err := e.user.Call(e.ctx, nfs3.ProcWrite, args, &nfs3.WriteRes{})
		if _, answered := nfsclient.Status(err); err == nil || answered {
			t.Errorf("5 bytes said to be %d: %v", count, err)
		}
	}
	for _, offset := range []uint64{math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64 - 1, math.MaxUint64} {
		_, err := e.user.Write(e.ctx, f, offset, []byte("xy"), nfs3.FileSync)
		want(t, err, nfs3.ErrFBig)
		if res := ok[*nfs3.ReadRes](t)(e.user.Read(e.ctx, f, offset, math.MaxUint32)); res.Count != 0 || !res.EOF {
			t.Errorf("READ at %d: %d bytes, end of file %v", offset, res.Count, res.EOF)
		}
	}
	if data := ok[[]byte](t)(e.user.ReadFile(e.ctx, f)); string(data) != "hello" {
		t.Errorf("the file holds %q", data)
	}
}

// A name that is moved to itself, or to another of the same file, stays (RFC 1813 §3.3.14), and a verifier of zeros finds no file
// that was made without one (§3.3.8).
func TestHostile_namesOfTheSameFile(t *testing.T) {
	e := start(t)
	f := e.file("f", "x")
	ok[*nfs3.LinkRes](t)(e.user.Link(e.ctx, f, e.root, "g"))
	for _, to := range []string{"f", "g"} {
		ok[*nfs3.RenameRes](t)(e.user.Rename(e.ctx, e.root, "f", e.root, to))
		for _, name := range []string{"f", "g"} {
			if res := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, e.root, name)); string(res.Object) != string(f) || res.Attr.Nlink != 2 {
				t.Errorf("f moved to %s: %s is %x with %d names", to, name, res.Object, res.Attr.Nlink)
			}
		}
	}
	_, err := e.user.CreateExclusive(e.ctx, e.root, "f", [8]byte{})
	want(t, err, nfs3.ErrExist)
	for _, name := range []string{"", "a\x00b", "\x00", "a/b", "/"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			_, err := e.user.Rename(e.ctx, e.root, "f", e.root, name)
			want(t, err, nfs3.ErrInval)
			_, err = e.user.Link(e.ctx, f, e.root, name)
			want(t, err, nfs3.ErrInval)
			_, err = e.user.CreateExclusive(e.ctx, e.root, name, [8]byte{1})
			want(t, err, nfs3.ErrInval)
			_, err = e.user.Mkdir(e.ctx, e.root, name, mode(0o755))
			want(t, err, nfs3.ErrInval)
			_, err = e.user.Remove(e.ctx, e.root, name)
			want(t, err, nfs3.ErrInval)
		})
	}
}
