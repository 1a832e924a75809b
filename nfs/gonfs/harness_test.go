package gonfs

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bfsd/fsstate"
	"bfsd/internal/kernelclient"
	"bfsd/nfs"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

func TestMain(m *testing.M) {
	kernelclient.Agent(nil) // does not return in a guest of TestLinuxKernelClient
	// The library client's cache of look-ups has a goroutine that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/willscott/go-nfs-client/nfs.(*Target).cleanupCache"))
}

// deadline is how long a test waits for what must happen.
const deadline = 20 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// counting is a backend that counts the operations it passes on.
type counting struct {
	nfs.Backend
	mu    sync.Mutex
	kinds []fsstate.Kind
}

func (c *counting) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	decoded, err := fsstate.DecodeOp(op)
	if err == nil {
		c.mu.Lock()
		c.kinds = append(c.kinds, decoded.Args.Kind())
		c.mu.Unlock()
	}
	return c.Backend.Invoke(ctx, op, readOnly)
}

// take returns the kinds since the last take.
func (c *counting) take() []fsstate.Kind {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kinds
	c.kinds = nil
	return k
}

// serve starts a server on loopback; the test's end closes it.
func serve(t testing.TB, backend nfs.Backend, cfg Config) (*Server, string) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(backend, cfg)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != ErrServerClosed { //nolint:errorlint // exactly this one is promised
			t.Errorf("Serve returned %v", err)
		}
	})
	return s, l.Addr().String()
}

// client is one NFS client's connection.
type client struct {
	t   testing.TB
	ctx context.Context
	rpc *rpc.Client
}

func dial(t testing.TB, addr string) *client {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, ctx: testContext(t), rpc: rpc.NewClient(nc)}
	t.Cleanup(func() { c.rpc.Close() })
	return c
}

// nfs3 makes an NFS call and returns its status and a decoder of what follows.
func (c *client) nfs3(proc uint32, args func(*xdr.Encoder)) (status uint32, rest *xdr.Decoder) {
	c.t.Helper()
	b, err := c.rpc.Call(c.ctx, rpc.Call{Prog: progNFS, Vers: version3, Proc: proc}, args)
	if err != nil {
		c.t.Fatalf("NFS procedure %d: %v", proc, err)
	}
	d := xdr.NewDecoder(b)
	return d.Uint32(), d
}

// ok is nfs3 for a call that must succeed.
func (c *client) ok(proc uint32, args func(*xdr.Encoder)) *xdr.Decoder {
	c.t.Helper()
	status, d := c.nfs3(proc, args)
	if status != 0 {
		c.t.Fatalf("NFS procedure %d: status %d", proc, status)
	}
	return d
}

// mount returns the handle of the exported directory at path.
func (c *client) mount(path string) []byte {
	c.t.Helper()
	b, err := c.rpc.Call(c.ctx, rpc.Call{Prog: progMount, Vers: version3, Proc: procMnt}, func(e *xdr.Encoder) { e.String(path) })
	if err != nil {
		c.t.Fatalf("mount %s: %v", path, err)
	}
	d := xdr.NewDecoder(b)
	if status := d.Uint32(); status != 0 {
		c.t.Fatalf("mount %s: status %d", path, status)
	}
	return d.Opaque(fileHandle)
}

// The procedures of NFSv3 that the screen need not tell apart.
const (
	procGetattr     = 1
	procAccess      = 4
	procReadlink    = 5
	procRead        = 6
	procReaddir     = 16
	procReaddirplus = 17
	procFsstat      = 18
	procFsinfo      = 19
	procPathconf    = 20
	procCommit      = 21
)

// The NFS statuses that the tests look for.
const (
	nfsNoEnt     = 2
	nfsIO        = 5
	nfsAcces     = 13
	nfsExist     = 17
	nfsNotDir    = 20
	nfsInval     = 22
	nfsStale     = 70
	nfsBadCookie = 10003
)

// attr is the part of a fattr3 that the tests look at.
type attr struct {
	kind, mode, nlink uint32
	size, fileid      uint64
	mtime             uint64
}

func readAttr(d *xdr.Decoder) attr {
	a := attr{kind: d.Uint32(), mode: d.Uint32(), nlink: d.Uint32()}
	d.Uint64() // uid, gid
	a.size = d.Uint64()
	d.Uint64() // used
	d.Uint64() // rdev
	d.Uint64() // fsid
	a.fileid = d.Uint64()
	d.Uint64() // atime
	a.mtime = d.Uint64()
	d.Uint64() // ctime
	return a
}

func readPostOp(d *xdr.Decoder) (a attr, ok bool) {
	if !d.Bool() {
		return attr{}, false
	}
	return readAttr(d), true
}

func dirop(dir []byte, name string) func(*xdr.Encoder) {
	return func(e *xdr.Encoder) { e.Opaque(dir); e.String(name) }
}

func object(h []byte) func(*xdr.Encoder) { return func(e *xdr.Encoder) { e.Opaque(h) } }

// noAttrs is a sattr3 that sets nothing.
func noAttrs(e *xdr.Encoder) {
	for range 6 {
		e.Uint32(0)
	}
}

func modeAttr(mode uint32) func(*xdr.Encoder) {
	return func(e *xdr.Encoder) {
		e.Uint32(1)
		e.Uint32(mode)
		for range 5 {
			e.Uint32(0)
		}
	}
}

func (c *client) getattr(h []byte) attr {
	c.t.Helper()
	return readAttr(c.ok(procGetattr, object(h)))
}

// lookup returns the handle and attributes of a name.
func (c *client) lookup(dir []byte, name string) ([]byte, attr) {
	c.t.Helper()
	d := c.ok(procLookup, dirop(dir, name))
	h := d.Opaque(fileHandle)
	a, _ := readPostOp(d)
	return h, a
}

// made decodes a reply of CREATE, MKDIR, SYMLINK or MKNOD.
func made(d *xdr.Decoder) ([]byte, attr) {
	if !d.Bool() {
		return nil, attr{}
	}
	h := d.Opaque(fileHandle)
	a, _ := readPostOp(d)
	return h, a
}

func (c *client) create(dir []byte, name string) []byte {
	c.t.Helper()
	h, _ := made(c.ok(procCreate, func(e *xdr.Encoder) { dirop(dir, name)(e); e.Uint32(0); noAttrs(e) }))
	return h
}

func (c *client) mkdir(dir []byte, name string) []byte {
	c.t.Helper()
	h, _ := made(c.ok(procMkdir, func(e *xdr.Encoder) { dirop(dir, name)(e); modeAttr(0o755)(e) }))
	return h
}

func (c *client) write(h []byte, off uint64, data []byte) {
	c.t.Helper()
	d := c.ok(procWrite, func(e *xdr.Encoder) {
		e.Opaque(h)
		e.Uint64(off)
		e.Uint32(uint32(len(data)))
		e.Uint32(2)
		e.Opaque(data)
	})
	if d.Bool() {
		d.Fixed(24)
	}
	readPostOp(d)
	if n := d.Uint32(); n != uint32(len(data)) {
		c.t.Fatalf("wrote %d bytes of %d", n, len(data))
	}
}

func (c *client) read(h []byte, off uint64, count uint32) (data []byte, eof bool) {
	c.t.Helper()
	d := c.ok(procRead, func(e *xdr.Encoder) { e.Opaque(h); e.Uint64(off); e.Uint32(count) })
	readPostOp(d)
	d.Uint32() // count
	eof = d.Bool()
	return d.Opaque(d.Remaining()), eof
}

func (c *client) rename(fromDir []byte, from string, toDir []byte, to string) {
	c.t.Helper()
	c.ok(procRename, func(e *xdr.Encoder) { dirop(fromDir, from)(e); dirop(toDir, to)(e) })
}

// stream is a connection without a client: for bytes that no client would send.
func stream(t testing.TB, addr string) net.Conn {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// header is a call header with AUTH_NONE.
func header(xid, prog, vers, proc uint32) []byte {
	e := xdr.NewEncoder(nil)
	for _, w := range []uint32{xid, msgCall, rpcVersion, prog, vers, proc, authNone, 0, authNone, 0} {
		e.Uint32(w)
	}
	return e.Bytes()
}

// record frames b as one fragment.
func record(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, lastFragment|uint32(len(b))), b...)
}

// readReply reads one record from a server.
func readReply(t testing.TB, r io.Reader) []byte {
	t.Helper()
	var mark [4]byte
	if _, err := io.ReadFull(r, mark[:]); err != nil {
		t.Fatalf("read reply: %v", err)
	}
	b := make([]byte, binary.BigEndian.Uint32(mark[:])&^lastFragment)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("read reply of %d bytes: %v", len(b), err)
	}
	return b
}
