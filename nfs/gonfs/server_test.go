package gonfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
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
	for range 10 {
		if !errors.Is(err, syscall.EADDRINUSE) { // it takes a port at random
			break
		}
		c, err = gonfsrpc.DialTCP("tcp", addr, false)
	}
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
