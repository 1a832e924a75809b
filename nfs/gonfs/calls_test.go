package gonfs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/xdr"
)

// go-nfs uses Create for UNCHECKED and GUARDED alike (RFC 1813 §3.3.8).
func TestCreate(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	c.write(c.create(root, "file"), 0, []byte("content"))
	create := func(how uint32, rest func(*xdr.Encoder)) uint32 {
		status, _ := c.nfs3(procCreate, func(e *xdr.Encoder) { dirop(root, "file")(e); e.Uint32(how); rest(e) })
		return status
	}
	size := func() uint64 { _, a := c.lookup(root, "file"); return a.size }
	if status := create(0, noAttrs); status != 0 || size() != 7 {
		t.Errorf("UNCHECKED of an existing file: status %d, size %d", status, size())
	}
	if status := create(1, noAttrs); status != nfsExist || size() != 7 {
		t.Errorf("GUARDED of an existing file: status %d, size %d", status, size())
	}
	if status := create(2, func(e *xdr.Encoder) { e.Uint64(1) }); status != errNotSupp {
		t.Errorf("EXCLUSIVE: status %d", status)
	}
	emptied := func(e *xdr.Encoder) {
		for range 3 {
			e.Uint32(0)
		}
		e.Uint32(1)
		e.Uint64(0) // size
		e.Uint32(0)
		e.Uint32(0)
	}
	if status := create(0, emptied); status != 0 || size() != 0 {
		t.Errorf("UNCHECKED with size 0: status %d, size %d", status, size())
	}
}

func TestMknod(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	mknod := func(name string, kind uint32, device bool) (uint32, []byte) {
		status, d := c.nfs3(procMknod, func(e *xdr.Encoder) {
			dirop(root, name)(e)
			e.Uint32(kind)
			modeAttr(0o600)(e)
			if device {
				e.Uint64(7<<32 | 9)
			}
		})
		h, _ := made(d)
		return status, h
	}
	for name, kind := range map[string]uint32{"block": typeBlockDev, "fifo": typeFIFO, "socket": typeSocket} {
		status, h := mknod(name, kind, kind == typeBlockDev)
		if status != 0 {
			t.Errorf("%s: status %d", name, status)
			continue
		}
		if a := c.getattr(h); a.kind != kind || a.mode&modeBits != 0o600 {
			t.Errorf("%s: type %d mode %o", name, a.kind, a.mode)
		}
	}
	// A name that was listed, removed and made anew has the new object's handle.
	old, _ := c.lookup(root, "fifo")
	c.ok(procReaddirplus, readdirplus(root, 0, 0, 8192))
	c.ok(procRemove, dirop(root, "fifo"))
	if status, h := mknod("fifo", typeFIFO, false); status != 0 || bytes.Equal(h, old) || c.getattr(h).kind != typeFIFO {
		t.Errorf("made anew: status %d, handle %x, was %x", status, h, old)
	}
}

// What go-nfs would confirm and not do is refused.
func TestUnsupportedIsSaid(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	file := c.create(root, "file")
	for name, call := range map[string]struct {
		proc uint32
		args func(*xdr.Encoder)
	}{
		"hard link":        {procLink, func(e *xdr.Encoder) { e.Opaque(file); dirop(root, "link")(e) }},
		"character device": {procMknod, func(e *xdr.Encoder) { dirop(root, "tty")(e); e.Uint32(typeCharDev); noAttrs(e); e.Uint64(0) }},
		"set-user-id":      {procSetattr, func(e *xdr.Encoder) { e.Opaque(file); modeAttr(0o4755)(e); e.Uint32(0) }},
		"sticky directory": {procMkdir, func(e *xdr.Encoder) { dirop(root, "tmp")(e); modeAttr(0o1777)(e) }},
	} {
		if status, _ := c.nfs3(call.proc, call.args); status != errNotSupp {
			t.Errorf("%s: status %d", name, status)
		}
	}
	for _, name := range []string{"link", "tty", "tmp"} {
		if status, _ := c.nfs3(procLookup, dirop(root, name)); status != nfsNoEnt {
			t.Errorf("lookup of %s: status %d", name, status)
		}
	}
}

func readdirplus(dir []byte, cookie, verf uint64, count uint32) func(*xdr.Encoder) {
	return func(e *xdr.Encoder) {
		e.Opaque(dir)
		e.Uint64(cookie)
		e.Uint64(verf)
		e.Uint32(count)
		e.Uint32(count)
	}
}

// list reads a directory with READDIRPLUS, calling between after every page.
func (c *client) list(dir []byte, between func(page int)) map[string][]byte {
	c.t.Helper()
	entries := make(map[string][]byte)
	var cookie, verf uint64
	for page := 1; ; page++ {
		d := c.ok(procReaddirplus, readdirplus(dir, cookie, verf, 8192))
		readPostOp(d)
		verf = d.Uint64()
		for d.Bool() {
			d.Uint64()
			name := d.String(fsstate.NameMax)
			cookie = d.Uint64()
			readPostOp(d)
			if _, again := entries[name]; again {
				c.t.Errorf("%s is listed twice", name)
			}
			entries[name] = nil
			if d.Bool() {
				entries[name] = d.Opaque(fileHandle)
			}
		}
		if d.Bool() { // eof
			return entries
		}
		between(page)
	}
}

func TestListingInPages(t *testing.T) {
	backend := &counting{Backend: newBackend()}
	_, addr := serve(t, backend, Config{})
	c := dial(t, addr)
	root := c.mount("/")
	dir := c.mkdir(root, "dir")
	const files = 300
	for i := range files {
		c.create(dir, fmt.Sprintf("file%03d", i))
	}
	backend.take()
	pages := 1
	entries := c.list(dir, func(int) { pages++ })
	if len(entries) != files+2 || pages < 10 {
		t.Errorf("%d entries in %d pages", len(entries), pages)
	}
	if n := len(backend.take()); n > 2*pages+4 {
		t.Errorf("%d pages took %d operations: the directory was read again and again", pages, n)
	}
	h := entries["file123"]
	if want, _ := c.lookup(dir, "file123"); !bytes.Equal(h, want) {
		t.Errorf("READDIRPLUS says %x, LOOKUP %x", h, want)
	}

	// A change while listing: the listing goes on as it was.
	entries = c.list(dir, func(page int) {
		if page == 2 {
			c.ok(procRemove, dirop(dir, "file000"))
			c.create(dir, "new")
		}
	})
	if len(entries) != files+2 {
		t.Errorf("%d entries while the directory changed", len(entries))
	}
	if status, _ := c.nfs3(procReaddirplus, readdirplus(dir, 17, 12345, 8192)); status != nfsBadCookie {
		t.Errorf("unknown verifier: status %d", status)
	}
	if status, _ := c.nfs3(procReaddirplus, readdirplus(c.create(root, "file"), 0, 0, 8192)); status != nfsNotDir {
		t.Errorf("listing of a file: status %d", status)
	}
}

func TestLargeIO(t *testing.T) {
	backend := &counting{Backend: newBackend()}
	_, addr := serve(t, backend, Config{})
	c := dial(t, addr)
	file := c.create(c.mount("/"), "file")
	want := make([]byte, 2*fsstate.IOMax+12345)
	for i := range want {
		want[i] = byte(i ^ i>>8 ^ i>>16)
	}
	backend.take()
	c.write(file, 0, want)
	if n := count(backend.take(), fsstate.KindWrite); n != 3 {
		t.Errorf("%d write operations for %d bytes", n, len(want))
	}
	got, eof := c.read(file, 0, uint32(len(want)+1))
	if !bytes.Equal(got, want) || !eof {
		t.Errorf("read %d bytes, eof %v", len(got), eof)
	}
	if got, eof := c.read(file, 5, 7); !bytes.Equal(got, want[5:12]) || eof {
		t.Errorf("read %x, eof %v", got, eof)
	}
	for _, off := range []uint64{1 << 63, 1<<64 - 1} {
		if status, _ := c.nfs3(procRead, func(e *xdr.Encoder) { e.Opaque(file); e.Uint64(off); e.Uint32(10) }); status == 0 {
			t.Errorf("read at %d succeeded", off)
		}
		status, _ := c.nfs3(procWrite, func(e *xdr.Encoder) { e.Opaque(file); e.Uint64(off); e.Uint32(1); e.Uint32(2); e.Opaque([]byte{1}) })
		if status == 0 {
			t.Errorf("write at %d succeeded", off)
		}
	}
}

func count(kinds []fsstate.Kind, of fsstate.Kind) int {
	n := 0
	for _, k := range kinds {
		if k == of {
			n++
		}
	}
	return n
}

// What go-nfs asks several times within a call is asked of the backend once: with replicas behind it every operation is
// a round of messages.
func TestOperationsPerCall(t *testing.T) {
	backend := &counting{Backend: newBackend()}
	_, addr := serve(t, backend, Config{})
	c := dial(t, addr)
	root := c.mount("/")
	file := c.create(root, "file")
	c.write(file, 0, []byte("content"))
	for _, test := range []struct {
		name string
		proc uint32
		args func(*xdr.Encoder)
		want int
	}{
		{"GETATTR", procGetattr, object(file), 1},
		{"ACCESS", procAccess, func(e *xdr.Encoder) { e.Opaque(file); e.Uint32(63) }, 1},
		{"LOOKUP", procLookup, dirop(root, "file"), 2},
		{"READ", procRead, func(e *xdr.Encoder) { e.Opaque(file); e.Uint64(0); e.Uint32(7) }, 2},
		{"WRITE", procWrite, func(e *xdr.Encoder) { e.Opaque(file); e.Uint64(0); e.Uint32(1); e.Uint32(2); e.Opaque([]byte{1}) }, 2},
		{"CREATE", procCreate, func(e *xdr.Encoder) { dirop(root, "new")(e); e.Uint32(0); modeAttr(0o600)(e) }, 4},
		{"MKDIR", procMkdir, func(e *xdr.Encoder) { dirop(root, "dir")(e); modeAttr(0o755)(e) }, 3},
		{"SETATTR", procSetattr, func(e *xdr.Encoder) { e.Opaque(file); modeAttr(0o600)(e); e.Uint32(0) }, 2},
		{"RENAME", procRename, func(e *xdr.Encoder) { dirop(root, "new")(e); dirop(root, "newer")(e) }, 2},
		{"REMOVE", procRemove, dirop(root, "newer"), 2},
		{"RMDIR", procRmdir, dirop(root, "dir"), 3},
		{"COMMIT", procCommit, func(e *xdr.Encoder) { e.Opaque(file); e.Uint64(0); e.Uint32(0) }, 1},
		{"FSINFO", procFsinfo, object(root), 1},
		{"PATHCONF", procPathconf, object(root), 1},
	} {
		backend.take()
		c.ok(test.proc, test.args)
		if ops := backend.take(); len(ops) > test.want {
			t.Errorf("%s took operations %v, want %d at most", test.name, ops, test.want)
		}
	}
}

func TestSymbolicLinkIsNotFollowed(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	c.write(c.create(root, "file"), 0, []byte("content"))
	target := strings.Repeat("x", 1000)
	for name, to := range map[string]string{"link": "file", "long": target} {
		h, a := made(c.ok(procSymlink, func(e *xdr.Encoder) { dirop(root, name)(e); noAttrs(e); e.String(to) }))
		if a.kind != uint32(fsstate.TypeSymlink) {
			t.Errorf("%s: type %d", name, a.kind)
		}
		d := c.ok(procReadlink, object(h))
		readPostOp(d)
		if got := d.String(fsstate.PathMax); got != to {
			t.Errorf("%s leads to %.20q", name, got)
		}
	}
	link, _ := c.lookup(root, "link")
	if status, _ := c.nfs3(procWrite, func(e *xdr.Encoder) { e.Opaque(link); e.Uint64(0); e.Uint32(1); e.Uint32(2); e.Opaque([]byte{1}) }); status == 0 {
		t.Error("wrote to a symbolic link")
	}
}
