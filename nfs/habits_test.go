package nfs_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"bfsd/nfs/nfs3"

	"github.com/google/go-cmp/cmp"
)

// What clients other than Linux are in the habit of calling, constructed from their sources (FreeBSD's sys/fs/nfsclient, the nfs
// of Apple's xnu) and from what Solaris and Windows send. The kernel-mount tests have the Linux client.

// Mounting: NULL without credentials to see whether somebody is there, MNT of a path written in any way, then what the file
// system is like.
func TestHabits_mounting(t *testing.T) {
	e := start(t)
	c := e.dial()
	if err := c.Anonymous().Null(e.ctx); err != nil {
		t.Error("NULL without credentials:", err)
	}
	if err := c.Anonymous().MountNull(e.ctx); err != nil {
		t.Error("MOUNT's NULL without credentials:", err)
	}
	macOS := c.As(501, 20, 12, 61, 79, 80, 81, 98, 33, 100, 204, 250, 395, 398, 399, 400, 701, 702) // sixteen groups, as an account has there
	for _, path := range []string{"/", "", "//", "/.", "/./"} {
		root := ok[nfs3.FH](t)(macOS.Mount(e.ctx, path))
		if !bytes.Equal(root, e.root) {
			t.Errorf("MNT %q: handle %x, must be %x", path, root, e.root)
		}
		if err := macOS.Unmount(e.ctx, path); err != nil {
			t.Error("UMNT:", err)
		}
	}
	info := ok[*nfs3.FSInfoRes](t)(macOS.FSInfo(e.ctx, e.root))
	// xnu and FreeBSD take rtmax, wtmax and dtpref for what one call may ask, and round by the multiples.
	for what, n := range map[string]uint32{"rtmax": info.RTMax, "rtpref": info.RTPref, "wtmax": info.WTMax, "wtpref": info.WTPref, "dtpref": info.DTPref} {
		if n < 32<<10 || n%512 != 0 || n%info.RTMult != 0 {
			t.Errorf("%s is %d, multiples are of %d", what, n, info.RTMult)
		}
	}
	if info.Properties&(nfs3.FSHomogeneous|nfs3.FSCanSetTime) != nfs3.FSHomogeneous|nfs3.FSCanSetTime {
		t.Errorf("properties %#x", info.Properties) // without the first, xnu asks PATHCONF of every file
	}
	conf := ok[*nfs3.PathConfRes](t)(macOS.PathConf(e.ctx, e.root))
	if !conf.NoTrunc || conf.CaseInsensitive || !conf.CasePreserving || conf.NameMax != 255 {
		t.Errorf("PATHCONF %+v", conf)
	}
	stat := ok[*nfs3.FSStatRes](t)(macOS.FSStat(e.ctx, e.root))
	if stat.ABytes == 0 || stat.ABytes > stat.FBytes || stat.FBytes > stat.TBytes || stat.Attr == nil {
		t.Errorf("FSSTAT %+v", stat)
	}
}

// An exclusive create and the SETATTR that gives the file its mode and times: what was the verifier must not show in them
// (until then a server may keep the verifier in them, RFC 1813 §3.3.8), and the call may be repeated.
func TestHabits_exclusiveCreate(t *testing.T) {
	verf := [8]byte{0xff, 0xfe, 0xfd, 0xfc, 0xff, 0xff, 0xff, 0xff}
	client := func(sec, nsec uint32) nfs3.SetTime {
		return nfs3.SetTime{How: nfs3.SetToClientTime, Time: nfs3.Time{Sec: sec, Nsec: nsec}}
	}
	server := nfs3.SetTime{How: nfs3.SetToServerTime}
	for name, set := range map[string]nfs3.Sattr{
		"xnu":     {Mode: ptr(uint32(0o644))},
		"FreeBSD": {Mode: ptr(uint32(0o644)), Atime: client(1_600_000_000, 1000), Mtime: client(1_600_000_000, 1000)},
		"Linux":   {Mode: ptr(uint32(0o644)), Atime: server, Mtime: server},
		"Solaris": {Mode: ptr(uint32(0o644)), UID: ptr(uint32(1000)), GID: ptr(uint32(100)), Size: ptr(uint64(0)), Atime: server, Mtime: server},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			made := ok[*nfs3.CreateRes](t)(e.user.CreateExclusive(e.ctx, e.root, "f", verf))
			fh := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, e.root, "f")).Object
			if made.Object != nil && !bytes.Equal(fh, made.Object) {
				t.Errorf("CREATE gave %x, LOOKUP gives %x", made.Object, fh)
			}
			again := ok[*nfs3.CreateRes](t)(e.user.CreateExclusive(e.ctx, e.root, "f", verf))
			if !bytes.Equal(again.Object, fh) {
				t.Errorf("repeated it gave %x", again.Object)
			}
			res := ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, fh, set, nil))
			a := res.Wcc.After
			if a == nil || a.Mode != 0o644 || a.UID != 1000 || a.GID != 100 || a.Size != 0 {
				t.Fatalf("after SETATTR: %+v", a)
			}
			now := e.attr(e.root).Ctime.Sec
			for what, at := range map[string]nfs3.Time{"atime": a.Atime, "mtime": a.Mtime} {
				if at.Sec < 1_600_000_000 || at.Sec > now+60 {
					t.Errorf("%s is %+v", what, at)
				}
			}
			_, err := e.user.CreateExclusive(e.ctx, e.root, "f", [8]byte{1})
			want(t, err, nfs3.ErrExist)
		})
	}
}

// Listings with the sizes that clients ask for, and with a cookie and verifier as they come after rewinding.
func TestHabits_listing(t *testing.T) {
	e := start(t)
	d, names := e.crowd(300)
	for name, counts := range map[string][2]uint32{
		"Linux":                 {4096, 4096},
		"Linux with pages":      {65536, 1 << 20},
		"xnu":                   {8192, 32768},
		"xnu with large rsize":  {32768, 1 << 20},
		"FreeBSD":               {8192, 65536},
		"FreeBSD with rsize=8k": {8192, 8192},
		"Solaris":               {1048, 8192},
		"Solaris, maximum":      {8192, 1 << 20},
		"Windows":               {1440, 1440},
		"one at a time":         {284, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			var verf [8]byte
			for cookie, calls := uint64(0), 0; ; calls++ {
				res := ok[*nfs3.ReadDirPlusRes](t)(e.user.ReadDirPlus(e.ctx, d, cookie, verf, counts[0], counts[1]))
				for _, entry := range res.Entries {
					got, cookie = append(got, entry.Name), entry.Cookie
					if entry.Attr == nil || entry.Object == nil || entry.Attr.FileID != entry.FileID {
						t.Fatalf("%q: file id %d, %+v, handle %x", entry.Name, entry.FileID, entry.Attr, entry.Object)
					}
					if cookie > math.MaxInt64 {
						t.Fatalf("the cookie %#x does not go through off_t", cookie)
					}
				}
				verf = res.CookieVerf
				if res.EOF {
					break
				}
				if len(res.Entries) == 0 || calls > len(names) {
					t.Fatalf("after %d calls and %d names there is no end", calls, len(got))
				}
			}
			if diff := cmp.Diff(sorted(names, ".", ".."), sorted(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("rewinding keeps the verifier", func(t *testing.T) {
		res := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, 0, [8]byte{}, 1024))
		ok[*nfs3.WccRes](t)(e.user.Remove(e.ctx, d, names[7]))
		again := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, 0, res.CookieVerf, 1024))
		last := again.Entries[len(again.Entries)-1].Cookie
		ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, last, again.CookieVerf, 1024))
	})
}

// Clients ask ACCESS for all they may ever need, in bits that RFC 1813 §3.3.4 defines and in others; what is granted is known.
func TestHabits_access(t *testing.T) {
	e := start(t)
	f, d := e.file("f", "x"), e.dir("d")
	const read, lookup, modify, extend, remove, execute = nfs3.AccessRead, nfs3.AccessLookup, nfs3.AccessModify, nfs3.AccessExtend, nfs3.AccessDelete, nfs3.AccessExecute
	for _, mask := range []uint32{0, read, 0x1f, 0x2d, 0x3f, 0xff, math.MaxUint32} {
		for what, c := range map[string]struct {
			fh  nfs3.FH
			all uint32 // of what the owner is granted
		}{"file": {f, read | modify | extend}, "directory": {d, read | lookup | modify | extend | remove}} {
			res := ok[*nfs3.AccessRes](t)(e.user.Access(e.ctx, c.fh, mask))
			if res.Access != c.all&mask {
				t.Errorf("%s, asked for %#x: granted %#x, must be %#x", what, mask, res.Access, c.all&mask)
			}
		}
	}
	if res := ok[*nfs3.AccessRes](t)(e.c.Access(e.ctx, d, 0x3f)); res.Access&execute != 0 {
		t.Errorf("a directory is granted for execution: %#x", res.Access) // xnu takes LOOKUP for it
	}
}

// Unstable writes and the COMMIT of a whole file, of a part, and of what is beyond its end, with one verifier for all.
func TestHabits_commit(t *testing.T) {
	e := start(t)
	f := e.file("f", "")
	var verf [8]byte
	for i := range 4 {
		res := ok[*nfs3.WriteRes](t)(e.user.Write(e.ctx, f, uint64(i*5000), bytes.Repeat([]byte{byte(i)}, 5000), nfs3.Unstable))
		if i > 0 && res.Verf != verf {
			t.Errorf("write %d: verifier %x, before %x", i, res.Verf, verf)
		}
		verf = res.Verf
	}
	for _, r := range []struct {
		offset uint64
		count  uint32
	}{{0, 0}, {0, 20000}, {5000, 100}, {4096, 0}, {20000, 4096}, {1 << 40, 1}, {math.MaxInt64, math.MaxUint32}, {math.MaxUint64, math.MaxUint32}} {
		res := ok[*nfs3.CommitRes](t)(e.user.Commit(e.ctx, f, r.offset, r.count))
		if res.Verf != verf || res.Wcc.After == nil || res.Wcc.After.Size != 20000 {
			t.Errorf("COMMIT of %+v: verifier %x, must be %x; after it %+v", r, res.Verf, verf, res.Wcc.After)
		}
	}
}

// Finder and its like ask for names that are not there, make them UNCHECKED, and keep what NFS has no word for beside the file.
func TestHabits_appleDouble(t *testing.T) {
	e := start(t)
	for _, name := range []string{"._f", ".DS_Store", "caf\u0065\u0301", "caf\u00e9", "a:b", ".smbdeleteAAA0001.4"} {
		_, err := e.user.Lookup(e.ctx, e.root, name)
		want(t, err, nfs3.ErrNoEnt)
		fh := ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, e.root, name, nfs3.Unchecked, mode(0o644))).Object
		ok[*nfs3.WriteRes](t)(e.user.Write(e.ctx, fh, 0, []byte(name), nfs3.FileSync))
		if data := ok[[]byte](t)(e.user.ReadFile(e.ctx, fh)); string(data) != name {
			t.Errorf("%q holds %q", name, data) // composed and decomposed are two names: a server normalizes nothing
		}
	}
}

// Windows' client without mapped users sends the user and group −2, as unsigned numbers.
func TestHabits_windowsUser(t *testing.T) {
	e := start(t)
	const anonymous = math.MaxUint32 - 1
	c := e.c.As(anonymous, anonymous)
	for i, how := range []nfs3.CreateMode{nfs3.Unchecked, nfs3.Guarded} {
		made := ok[*nfs3.CreateRes](t)(c.Create(e.ctx, e.root, fmt.Sprint("w", i), how, nfs3.Sattr{Mode: ptr(uint32(0o755)), Size: ptr(uint64(0))}))
		if made.Attr == nil || made.Attr.UID != anonymous || made.Attr.GID != anonymous {
			t.Errorf("made with %+v", made.Attr)
		}
		ok[*nfs3.WccRes](t)(c.SetAttr(e.ctx, made.Object, nfs3.Sattr{UID: ptr(uint32(anonymous)), GID: ptr(uint32(anonymous)), Mode: ptr(uint32(0o600))}, nil))
		_, err := e.user.Read(e.ctx, made.Object, 0, 10)
		want(t, err, nfs3.ErrAcces)
	}
}
