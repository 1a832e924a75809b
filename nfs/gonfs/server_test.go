package gonfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	gonfsclient "github.com/willscott/go-nfs-client/nfs"
	gonfsrpc "github.com/willscott/go-nfs-client/nfs/rpc"

	"bfsd/fsstate"
	"bfsd/nfs"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

func TestLibraryClientLifecycle(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c, err := gonfsrpc.DialTCP("tcp", addr, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mounter := gonfsclient.Mount{Client: c}
	v, err := mounter.Mount("/", gonfsrpc.NewAuthUnix("test", 1000, 1000).Auth())
	if err != nil {
		t.Fatal(err)
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err = v.FSInfo()
	must("fsinfo", err)
	_, err = v.Mkdir("/dir", 0o755)
	must("mkdir", err)
	f, err := v.OpenFile("/dir/file", 0o640)
	must("create", err)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	n, err := f.Write(want)
	must("write", err)
	must("close", f.Close())
	if n != len(want) {
		t.Fatalf("wrote %d bytes of %d", n, len(want))
	}
	must("symlink", v.Symlink("file", "/dir/link"))
	must("rename", v.Rename("/dir/file", "/dir/renamed"))
	entries, err := v.ReadDirPlus("/dir")
	must("readdirplus", err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != ". .. link renamed" && got != "link renamed" {
		t.Errorf("listing is %q", got)
	}
	f, err = v.Open("/dir/renamed")
	must("open", err)
	got, err := io.ReadAll(f)
	must("read", err)
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that differ from the %d written", len(got), len(want))
	}
	if fi, _, err := v.Lookup("/dir/renamed"); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("lookup of the file: %v, %v", fi, err)
	}
	must("remove all", v.RemoveAll("/dir"))
	if _, _, err := v.Lookup("/dir"); err == nil {
		t.Error("the directory is still there after RemoveAll")
	}
	must("unmount", mounter.Unmount())
}

func TestHandle(t *testing.T) {
	backend := newBackend()
	_, addr := serve(t, backend, Config{})
	c := dial(t, addr)
	root := c.mount("/")
	dir := c.mkdir(root, "dir")
	file := c.create(dir, "file")
	c.write(file, 0, []byte("content"))

	t.Run("outlives a rename", func(t *testing.T) {
		c.rename(dir, "file", root, "moved")
		if data, _ := c.read(file, 0, 100); string(data) != "content" {
			t.Errorf("read %q", data)
		}
		if again, _ := c.lookup(root, "moved"); !bytes.Equal(again, file) {
			t.Errorf("the renamed file has handle %x, had %x", again, file)
		}
	})
	t.Run("holds on another server", func(t *testing.T) {
		_, other := serve(t, backend, Config{})
		if data, _ := dial(t, other).read(file, 0, 100); string(data) != "content" {
			t.Errorf("read %q", data)
		}
	})
	t.Run("holds on the main front end", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		main := nfs.NewServer(backend, nfs.Config{})
		ended := make(chan error, 1)
		go func() { ended <- main.Serve(l) }()
		other := dial(t, l.Addr().String())
		if data, _ := other.read(file, 0, 100); string(data) != "content" || !bytes.Equal(other.mount("/"), root) {
			t.Errorf("read %q", data)
		}
		if err := main.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Run("of another cluster is stale", func(t *testing.T) {
		_, other := serve(t, backend, Config{ClusterID: [8]byte{1}})
		if status, _ := dial(t, other).nfs3(procGetattr, object(file)); status != nfsStale {
			t.Errorf("status %d", status)
		}
	})
	t.Run("of a removed file is stale", func(t *testing.T) {
		c.ok(procRemove, dirop(root, "moved"))
		for _, proc := range []uint32{procGetattr, procAccess, procFsstat} {
			status, _ := c.nfs3(proc, func(e *xdr.Encoder) { e.Opaque(file); e.Uint32(0) })
			if status != nfsStale {
				t.Errorf("procedure %d: status %d", proc, status)
			}
		}
	})
	t.Run("forged is stale", func(t *testing.T) {
		for _, h := range [][]byte{nil, {1}, make([]byte, handleLen), bytes.Repeat([]byte{255}, 64), append(root[:16:16], bytes.Repeat([]byte{9}, 8)...)} {
			if status, _ := c.nfs3(procGetattr, object(h)); status != nfsStale && status != nfsInval {
				t.Errorf("handle %x: status %d", h, status)
			}
		}
	})
}

func TestMountOfSubdirectory(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	dir := c.mkdir(root, "dir")
	c.create(root, "file")
	if got := c.mount("/dir"); !bytes.Equal(got, dir) {
		t.Errorf("mount gave %x, mkdir %x", got, dir)
	}
	for path, want := range map[string]uint32{"/none": 2, "/file": 20, strings.Repeat("x/", 500): 2} {
		b, err := c.rpc.Call(c.ctx, rpc.Call{Prog: progMount, Vers: 3, Proc: procMnt}, func(e *xdr.Encoder) { e.String(path) })
		if err != nil || xdr.NewDecoder(b).Uint32() != want {
			t.Errorf("mount %.20s: %x, %v; want status %d", path, b, err, want)
		}
	}
}

func TestExports(t *testing.T) {
	backend := newBackend()
	_, all := serve(t, backend, Config{})
	root := dial(t, all).mount("/")
	for _, name := range []string{"home", "homeless"} {
		dial(t, all).mkdir(root, name)
	}
	_, addr := serve(t, backend, Config{Exports: []string{"/home"}})
	c := dial(t, addr)
	c.mount("/home")
	c.mount("/homeless/../home/.")
	for _, path := range []string{"/", "/homeless", "/home/.."} {
		b, err := c.rpc.Call(c.ctx, rpc.Call{Prog: progMount, Vers: 3, Proc: procMnt}, func(e *xdr.Encoder) { e.String(path) })
		if err != nil || xdr.NewDecoder(b).Uint32() != nfsAcces {
			t.Errorf("mount %q: %x, %v; want status %d", path, b, err, nfsAcces)
		}
	}
}

func TestLookupOfDotAndDotDot(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	dir := c.mkdir(root, "dir")
	sub := c.mkdir(dir, "sub")
	for _, test := range []struct {
		name string
		in   []byte
		want []byte
	}{{".", sub, sub}, {"..", sub, dir}, {"..", dir, root}, {"..", root, root}} {
		h, a := c.lookup(test.in, test.name)
		if !bytes.Equal(h, test.want) || a.fileid != c.getattr(test.want).fileid {
			t.Errorf("%s in %x: handle %x, want %x", test.name, test.in, h, test.want)
		}
	}
}

// A name never leads anywhere but to an entry of its directory.
func TestNamesAreNotPaths(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	dir := c.mkdir(root, "dir")
	c.create(root, "victim")
	for _, name := range []string{"", ".", "..", "../victim", "/victim", "x/../../victim", "a\x00b"} {
		for _, proc := range []uint32{procRemove, procRmdir} {
			if status, _ := c.nfs3(proc, dirop(dir, name)); status == 0 {
				t.Errorf("procedure %d of %q succeeded", proc, name)
			}
		}
		if status, _ := c.nfs3(procCreate, func(e *xdr.Encoder) { dirop(dir, name)(e); e.Uint32(0); noAttrs(e) }); status == 0 {
			t.Errorf("creation of %q succeeded", name)
		}
		if status, _ := c.nfs3(procRename, func(e *xdr.Encoder) { dirop(root, "victim")(e); dirop(dir, name)(e) }); status == 0 {
			t.Errorf("renaming to %q succeeded", name)
		}
	}
	c.lookup(root, "victim")
}

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

// failing is a backend that has no results to give.
type failing struct{}

func (failing) Invoke(context.Context, []byte, bool) ([]byte, error) {
	return nil, errors.New("no quorum")
}

// Without a result there is no true answer, and a client whose connection ends asks again.
func TestNoAnswerWithoutResult(t *testing.T) {
	_, addr := serve(t, failing{}, Config{})
	nc := stream(t, addr)
	args := xdr.NewEncoder(header(1, progNFS, 3, procGetattr))
	args.Opaque(appendHandle(nil, [8]byte{}, fsstate.Handle{Ino: 1, Gen: 1}))
	if _, err := nc.Write(record(args.Bytes())); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(nc); len(b) > 0 && err == nil {
		t.Errorf("answered with %x", b)
	}
}

// held is a backend whose operations wait until they are let go.
type held struct {
	nfs.Backend
	entered chan struct{} // gets one value for each operation that waits
	letGo   chan struct{}
}

func (h *held) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	h.entered <- struct{}{}
	select {
	case <-h.letGo:
		return h.Backend.Invoke(ctx, op, readOnly)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// getattrRoot sends GETATTR of the root without waiting for the answer.
func getattrRoot(t *testing.T, nc net.Conn, root []byte) {
	e := xdr.NewEncoder(header(77, progNFS, 3, procGetattr))
	e.Opaque(root)
	if _, err := nc.Write(record(e.Bytes())); err != nil {
		t.Fatal(err)
	}
}

func TestShutdown(t *testing.T) {
	start := func(t *testing.T) (*Server, net.Conn, *held) {
		backend := newBackend()
		_, plain := serve(t, backend, Config{})
		root := dial(t, plain).mount("/")
		h := &held{Backend: backend, entered: make(chan struct{}, 8), letGo: make(chan struct{})}
		s, addr := serve(t, h, Config{})
		stream(t, addr) // an idle one
		nc := stream(t, addr)
		getattrRoot(t, nc, root)
		<-h.entered
		return s, nc, h
	}
	t.Run("answers the call in progress", func(t *testing.T) {
		s, nc, h := start(t)
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(testContext(t)) }()
		<-s.closing
		close(h.letGo)
		if b := readReply(t, nc); len(b) < 100 {
			t.Errorf("reply %x", b)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
			t.Errorf("after the reply came %x, %v", b, err)
		}
	})
	t.Run("gives up at its context's end", func(t *testing.T) {
		s, nc, _ := start(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if b, _ := io.ReadAll(nc); len(b) > 0 {
			t.Errorf("answered with %x", b)
		}
	})
	t.Run("Close ends the call in progress", func(t *testing.T) {
		s, nc, _ := start(t)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if b, _ := io.ReadAll(nc); len(b) > 0 {
			t.Errorf("answered with %x", b)
		}
	})
	t.Run("Serve after Close", func(t *testing.T) {
		s := New(newBackend(), Config{})
		s.Close()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(l); !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
}

func TestTooManyConnections(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{ConnsMax: 2})
	first, second := dial(t, addr), dial(t, addr)
	first.mount("/")
	second.mount("/")
	if b, _ := io.ReadAll(stream(t, addr)); len(b) > 0 {
		t.Errorf("the third connection got %x", b)
	}
	root := first.mount("/")
	second.rpc.Close()
	// The place becomes free when the server has seen the end.
	ctx := testContext(t)
	for {
		nc := stream(t, addr)
		getattrRoot(t, nc, root)
		var one [1]byte
		if n, err := nc.Read(one[:]); n == 1 && err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the closed connection's place stays taken")
		}
	}
}
