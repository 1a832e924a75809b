package nfs_test

import (
	"context"
	"testing"

	"bfsd/nfs/nfs3"

	"github.com/google/go-cmp/cmp"
)

// Every procedure that takes a handle refuses one that is not this cluster's with BADHANDLE, and one whose object is gone
// with STALE (RFC 1813 §2.6).
func TestHandles(t *testing.T) {
	e := start(t)
	gone := e.stale()
	fine := e.file("f", "x")
	var verf [8]byte
	calls := map[string]func(fh nfs3.FH) error{
		"GETATTR":  func(fh nfs3.FH) error { _, err := e.c.GetAttr(e.ctx, fh); return err },
		"SETATTR":  func(fh nfs3.FH) error { _, err := e.c.SetAttr(e.ctx, fh, mode(0o600), nil); return err },
		"LOOKUP":   func(fh nfs3.FH) error { _, err := e.c.Lookup(e.ctx, fh, "f"); return err },
		"ACCESS":   func(fh nfs3.FH) error { _, err := e.c.Access(e.ctx, fh, 63); return err },
		"READLINK": func(fh nfs3.FH) error { _, err := e.c.ReadLink(e.ctx, fh); return err },
		"READ":     func(fh nfs3.FH) error { _, err := e.c.Read(e.ctx, fh, 0, 1); return err },
		"WRITE":    func(fh nfs3.FH) error { _, err := e.c.Write(e.ctx, fh, 0, []byte("y"), nfs3.Unstable); return err },
		"CREATE":   func(fh nfs3.FH) error { _, err := e.c.Create(e.ctx, fh, "n", nfs3.Unchecked, mode(0o600)); return err },
		"MKDIR":    func(fh nfs3.FH) error { _, err := e.c.Mkdir(e.ctx, fh, "n", mode(0o700)); return err },
		"SYMLINK":  func(fh nfs3.FH) error { _, err := e.c.Symlink(e.ctx, fh, "n", "t", nfs3.Sattr{}); return err },
		"MKNOD": func(fh nfs3.FH) error {
			_, err := e.c.Mknod(e.ctx, fh, "n", nfs3.TypeFIFO, nfs3.SpecData{}, nfs3.Sattr{})
			return err
		},
		"REMOVE":      func(fh nfs3.FH) error { _, err := e.c.Remove(e.ctx, fh, "f"); return err },
		"RMDIR":       func(fh nfs3.FH) error { _, err := e.c.Rmdir(e.ctx, fh, "f"); return err },
		"RENAME from": func(fh nfs3.FH) error { _, err := e.c.Rename(e.ctx, fh, "f", e.root, "g"); return err },
		"RENAME to":   func(fh nfs3.FH) error { _, err := e.c.Rename(e.ctx, e.root, "f", fh, "g"); return err },
		"LINK of":     func(fh nfs3.FH) error { _, err := e.c.Link(e.ctx, fh, e.root, "g"); return err },
		"LINK in":     func(fh nfs3.FH) error { _, err := e.c.Link(e.ctx, fine, fh, "g"); return err },
		"READDIR":     func(fh nfs3.FH) error { _, err := e.c.ReadDir(e.ctx, fh, 0, verf, 4096); return err },
		"READDIRPLUS": func(fh nfs3.FH) error { _, err := e.c.ReadDirPlus(e.ctx, fh, 0, verf, 4096, 4096); return err },
		"FSSTAT":      func(fh nfs3.FH) error { _, err := e.c.FSStat(e.ctx, fh); return err },
		"FSINFO":      func(fh nfs3.FH) error { _, err := e.c.FSInfo(e.ctx, fh); return err },
		"PATHCONF":    func(fh nfs3.FH) error { _, err := e.c.PathConf(e.ctx, fh); return err },
		"COMMIT":      func(fh nfs3.FH) error { _, err := e.c.Commit(e.ctx, fh, 0, 0); return err },
	}
	for name, call := range calls {
		t.Run(name+"/STALE", func(t *testing.T) { want(t, call(gone), nfs3.ErrStale) })
		t.Run(name+"/BADHANDLE", func(t *testing.T) {
			for what, fh := range e.badHandles() {
				before := e.spy.ops.Load()
				t.Run(what, func(t *testing.T) { want(t, call(fh), nfs3.ErrBadHandle) })
				if n := e.spy.ops.Load() - before; n != 0 {
					t.Errorf("%s handle: %d operations went to the backend", what, n)
				}
			}
		})
	}
	t.Run("guessed generation/STALE", func(t *testing.T) {
		fh := append(nfs3.FH{}, fine...)
		fh[len(fh)-1] ^= 1
		_, err := e.c.GetAttr(e.ctx, fh)
		want(t, err, nfs3.ErrStale)
	})
}

func TestNULL(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		if err := e.c.Null(e.ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("OK/without credentials", func(t *testing.T) {
		if err := e.c.Anonymous().Null(e.ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestGETATTR(t *testing.T) {
	e := start(t)
	t.Run("OK/directory", func(t *testing.T) {
		a := e.attr(e.root)
		if a.Type != nfs3.TypeDir || a.Mode != 0o777 || a.Nlink != 2 || a.FileID == 0 {
			t.Errorf("root: %+v", a)
		}
	})
	t.Run("OK/file", func(t *testing.T) {
		a := e.attr(e.file("f", "hello"))
		if a.Type != nfs3.TypeReg || a.Mode != 0o644 || a.Nlink != 1 || a.UID != 1000 || a.GID != 100 || a.Size != 5 || a.Used == 0 {
			t.Errorf("file: %+v", a)
		}
		if root := e.attr(e.root); a.FSID != root.FSID || a.FileID == root.FileID {
			t.Errorf("file (%d, %d) and root (%d, %d): want one file system, two files", a.FSID, a.FileID, root.FSID, root.FileID)
		}
		if a.Mtime.Nsec != 123456789 {
			t.Errorf("mtime %v lost its nanoseconds", a.Mtime)
		}
	})
}

func TestSETATTR(t *testing.T) {
	e := start(t)
	t.Run("OK/mode", func(t *testing.T) {
		fh := e.file("mode", "x")
		before := e.attr(fh)
		res := ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, fh, mode(0o100600), nil)) // with the file type's bit, as some send it
		after := e.attr(fh)
		wantWcc(t, "file", res.Wcc, before, after)
		if after.Mode != 0o600 || after.Ctime == before.Ctime || after.Mtime != before.Mtime {
			t.Errorf("after: %+v, before: %+v", after, before)
		}
	})
	t.Run("OK/size", func(t *testing.T) {
		fh := e.file("size", "hello")
		for _, size := range []uint64{2, 10} {
			ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, fh, nfs3.Sattr{Size: &size}, nil))
			if a := e.attr(fh); a.Size != size {
				t.Errorf("size %d, want %d", a.Size, size)
			}
		}
		data := ok[[]byte](t)(e.user.ReadFile(e.ctx, fh))
		if diff := cmp.Diff("he\x00\x00\x00\x00\x00\x00\x00\x00", string(data)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("OK/times", func(t *testing.T) {
		fh := e.file("times", "x")
		set := nfs3.Sattr{
			Atime: nfs3.SetTime{How: nfs3.SetToClientTime, Time: nfs3.Time{Sec: 1<<32 - 1, Nsec: 999999999}},
			Mtime: nfs3.SetTime{How: nfs3.SetToServerTime},
		}
		before := e.attr(fh)
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, fh, set, nil))
		if a := e.attr(fh); a.Atime != set.Atime.Time || a.Mtime == before.Mtime {
			t.Errorf("atime %v, want %v; mtime %v, want another than %v", a.Atime, set.Atime.Time, a.Mtime, before.Mtime)
		}
	})
	t.Run("OK/owner by the superuser", func(t *testing.T) {
		fh := e.file("owner", "x")
		ok[*nfs3.WccRes](t)(e.c.SetAttr(e.ctx, fh, nfs3.Sattr{UID: ptr(uint32(7)), GID: ptr(uint32(8))}, nil))
		if a := e.attr(fh); a.UID != 7 || a.GID != 8 {
			t.Errorf("owner %d, group %d", a.UID, a.GID)
		}
	})
	t.Run("OK/guard", func(t *testing.T) {
		fh := e.file("guard", "x")
		ctime := e.attr(fh).Ctime
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, fh, mode(0o600), &ctime))
	})
	t.Run("NOT_SYNC", func(t *testing.T) {
		fh := e.file("guard2", "x")
		before := e.attr(fh)
		guard := before.Ctime
		guard.Nsec++
		res, err := e.user.SetAttr(e.ctx, fh, mode(0o600), &guard)
		want(t, err, nfs3.ErrNotSync)
		if after := e.attr(fh); *after != *before {
			t.Errorf("attributes changed: %+v, were %+v", after, before)
		}
		wantWcc(t, "file", res.Wcc, before, before)
	})
	t.Run("PERM/mode of another's file", func(t *testing.T) {
		_, err := e.other.SetAttr(e.ctx, e.file("perm", "x"), mode(0o666), nil)
		want(t, err, nfs3.ErrPerm)
	})
	t.Run("PERM/giving a file away", func(t *testing.T) {
		_, err := e.user.SetAttr(e.ctx, e.file("perm2", "x"), nfs3.Sattr{UID: ptr(uint32(1001))}, nil)
		want(t, err, nfs3.ErrPerm)
	})
	t.Run("OK/group among the supplementary ones", func(t *testing.T) {
		fh := e.file("group", "x")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, fh, nfs3.Sattr{GID: ptr(uint32(24))}, nil))
		if a := e.attr(fh); a.GID != 24 {
			t.Errorf("group %d, want 24", a.GID)
		}
	})
	t.Run("ACCES/size of another's file", func(t *testing.T) {
		_, err := e.other.SetAttr(e.ctx, e.file("acces", "x"), nfs3.Sattr{Size: ptr(uint64(0))}, nil)
		want(t, err, nfs3.ErrAcces)
	})
	t.Run("INVAL/size of a directory", func(t *testing.T) {
		_, err := e.user.SetAttr(e.ctx, e.dir("d"), nfs3.Sattr{Size: ptr(uint64(0))}, nil)
		want(t, err, nfs3.ErrInval)
	})
	t.Run("FBIG", func(t *testing.T) {
		_, err := e.user.SetAttr(e.ctx, e.file("big", "x"), nfs3.Sattr{Size: ptr(uint64(1 << 63))}, nil)
		want(t, err, nfs3.ErrFBig)
	})
}

func TestACCESS(t *testing.T) {
	e := start(t)
	fh := e.file("f", "x") // 0644
	const all = nfs3.AccessRead | nfs3.AccessLookup | nfs3.AccessModify | nfs3.AccessExtend | nfs3.AccessDelete | nfs3.AccessExecute
	t.Run("OK/owner", func(t *testing.T) {
		res := ok[*nfs3.AccessRes](t)(e.user.Access(e.ctx, fh, all))
		if res.Access != nfs3.AccessRead|nfs3.AccessModify|nfs3.AccessExtend {
			t.Errorf("granted %#x", res.Access)
		}
		if res.Attr == nil || *res.Attr != *e.attr(fh) {
			t.Errorf("attributes %+v", res.Attr)
		}
	})
	t.Run("OK/other", func(t *testing.T) {
		if res := ok[*nfs3.AccessRes](t)(e.other.Access(e.ctx, fh, all)); res.Access != nfs3.AccessRead {
			t.Errorf("granted %#x", res.Access)
		}
	})
	t.Run("OK/only what was asked", func(t *testing.T) {
		if res := ok[*nfs3.AccessRes](t)(e.user.Access(e.ctx, fh, nfs3.AccessModify)); res.Access != nfs3.AccessModify {
			t.Errorf("granted %#x", res.Access)
		}
	})
	t.Run("OK/directory", func(t *testing.T) {
		res := ok[*nfs3.AccessRes](t)(e.other.Access(e.ctx, e.dir("d"), all))
		if res.Access != nfs3.AccessRead|nfs3.AccessLookup {
			t.Errorf("granted %#x", res.Access)
		}
	})
	t.Run("OK/nobody without credentials", func(t *testing.T) {
		private := e.file("private", "x")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, private, mode(0o660), nil))
		if res := ok[*nfs3.AccessRes](t)(e.c.Anonymous().Access(e.ctx, private, all)); res.Access != 0 {
			t.Errorf("granted %#x", res.Access)
		}
		made := ok[*nfs3.CreateRes](t)(e.c.Anonymous().Create(e.ctx, e.root, "nobody's", nfs3.Guarded, mode(0o644)))
		if made.Attr.UID != 65534 || made.Attr.GID != 65534 {
			t.Errorf("owner %d, group %d; want nobody", made.Attr.UID, made.Attr.GID)
		}
	})
}

func TestFSSTAT(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		before := ok[*nfs3.FSStatRes](t)(e.c.FSStat(e.ctx, e.root))
		e.file("f", string(make([]byte, 100_000)))
		res := ok[*nfs3.FSStatRes](t)(e.c.FSStat(e.ctx, e.root))
		if res.TBytes != 1<<30 || res.TFiles != 1<<20 || res.ABytes != res.FBytes || res.AFiles != res.FFiles {
			t.Errorf("totals: %+v", res)
		}
		if used := before.FBytes - res.FBytes; used < 100_000 || used > 110_000 || before.FFiles-res.FFiles != 1 {
			t.Errorf("a file of 100000 bytes took %d bytes and %d files", used, before.FFiles-res.FFiles)
		}
		if res.Attr == nil || *res.Attr != *e.attr(e.root) {
			t.Errorf("attributes %+v", res.Attr)
		}
	})
}

func TestFSINFO(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		res := ok[*nfs3.FSInfoRes](t)(e.c.FSInfo(e.ctx, e.root))
		want := &nfs3.FSInfoRes{
			Attr: e.attr(e.root), RTMax: 1 << 20, RTPref: 1 << 20, RTMult: 4096, WTMax: 1 << 20, WTPref: 1 << 20, WTMult: 4096,
			DTPref: 1 << 20, MaxFileSize: 1<<63 - 1, TimeDelta: nfs3.Time{Nsec: 1}, Properties: 0x1b,
		}
		if diff := cmp.Diff(want, res); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestPATHCONF(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		res := ok[*nfs3.PathConfRes](t)(e.c.PathConf(e.ctx, e.root))
		want := &nfs3.PathConfRes{
			Attr: e.attr(e.root), LinkMax: 65000, NameMax: 255, NoTrunc: true, ChownRestricted: true, CasePreserving: true,
		}
		if diff := cmp.Diff(want, res); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Each call is one operation, so that it is atomic; NULL is none.
func TestEveryProcedureIsOneOperation(t *testing.T) {
	e := start(t)
	f, d := e.file("f", "x"), e.dir("d")
	link := ok[*nfs3.CreateRes](t)(e.c.Symlink(e.ctx, e.root, "l", "t", nfs3.Sattr{})).Object
	where := func(name string) nfs3.DirOpArgs { return nfs3.DirOpArgs{Dir: d, Name: name} }
	args := [nfs3.ProcEnd]nfs3.Message{
		nfs3.ProcNull:        &nfs3.Void{},
		nfs3.ProcGetAttr:     &nfs3.HandleArgs{Object: f},
		nfs3.ProcSetAttr:     &nfs3.SetAttrArgs{Object: f, Attr: mode(0o600)},
		nfs3.ProcLookup:      &nfs3.DirOpArgs{Dir: e.root, Name: "f"},
		nfs3.ProcAccess:      &nfs3.AccessArgs{Object: f, Access: 1},
		nfs3.ProcReadLink:    &nfs3.HandleArgs{Object: link},
		nfs3.ProcRead:        &nfs3.ReadArgs{File: f, Count: 1},
		nfs3.ProcWrite:       &nfs3.WriteArgs{File: f, Count: 1, Data: []byte("y")},
		nfs3.ProcCreate:      &nfs3.CreateArgs{Where: where("created")},
		nfs3.ProcMkdir:       &nfs3.MkdirArgs{Where: where("made")},
		nfs3.ProcSymlink:     &nfs3.SymlinkArgs{Where: where("linked"), Target: "t"},
		nfs3.ProcMknod:       &nfs3.MknodArgs{Where: where("fifo"), Type: nfs3.TypeFIFO},
		nfs3.ProcRemove:      ptr(where("created")),
		nfs3.ProcRmdir:       ptr(where("made")),
		nfs3.ProcRename:      &nfs3.RenameArgs{From: where("fifo"), To: where("renamed")},
		nfs3.ProcLink:        &nfs3.LinkArgs{File: f, Link: where("hard")},
		nfs3.ProcReadDir:     &nfs3.ReadDirArgs{Dir: d, Count: 4096},
		nfs3.ProcReadDirPlus: &nfs3.ReadDirPlusArgs{Dir: d, DirCount: 4096, MaxCount: 4096},
		nfs3.ProcFSStat:      &nfs3.HandleArgs{Object: f},
		nfs3.ProcFSInfo:      &nfs3.HandleArgs{Object: f},
		nfs3.ProcPathConf:    &nfs3.HandleArgs{Object: f},
		nfs3.ProcCommit:      &nfs3.CommitArgs{File: f},
	}
	for p := range nfs3.Proc(nfs3.ProcEnd) {
		t.Run(p.String()+"/OK", func(t *testing.T) {
			ops, calls := e.spy.ops.Load(), e.c.Calls()
			if err := e.c.Call(context.Background(), p, args[p], nfs3.NewRes(p)); err != nil {
				t.Fatal(err)
			}
			wanted := int64(1)
			if p == nfs3.ProcNull {
				wanted = 0
			}
			if n := e.spy.ops.Load() - ops; n != wanted || e.c.Calls()-calls != 1 {
				t.Errorf("%d operations for %d calls, want %d for 1", n, e.c.Calls()-calls, wanted)
			}
		})
	}
}
