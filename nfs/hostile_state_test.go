package nfs_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
)

// Whoever guesses handles gets nothing: what a handle names has to be known with its generation, 64 secret bits.
func TestHostile_guessedHandles(t *testing.T) {
	e := start(t)
	secret := e.file("secret", "data")
	d := e.dir("d")
	rnd := rand.New(rand.NewPCG(1, 2))
	guess := func(i int) nfs3.FH {
		fh := append(nfs3.FH{}, [...]nfs3.FH{secret, d, e.root}[i%3]...)
		switch i % 4 {
		case 0: // another inode with this generation
			binary.BigEndian.PutUint64(fh[8:], uint64(i))
		case 1: // near the right one
			binary.BigEndian.PutUint64(fh[16:], binary.BigEndian.Uint64(fh[16:])^1<<rnd.IntN(64))
		case 2: // at random
			binary.BigEndian.PutUint64(fh[16:], rnd.Uint64())
		case 3: // both, zeros among them
			binary.BigEndian.PutUint64(fh[8:], rnd.Uint64()>>rnd.IntN(64))
			binary.BigEndian.PutUint64(fh[16:], rnd.Uint64()>>rnd.IntN(65))
		}
		return fh
	}
	for i := range 4000 {
		fh := guess(i)
		if string(fh) == string(secret) || string(fh) == string(d) || string(fh) == string(e.root) {
			continue
		}
		var err error
		switch i / 4 % 6 {
		case 0:
			_, err = e.c.GetAttr(e.ctx, fh)
		case 1:
			_, err = e.c.Read(e.ctx, fh, 0, 100)
		case 2:
			_, err = e.c.Write(e.ctx, fh, 0, []byte("x"), nfs3.FileSync)
		case 3:
			_, err = e.c.Lookup(e.ctx, fh, "secret")
		case 4:
			_, err = e.c.Rename(e.ctx, e.root, "secret", fh, "taken")
		case 5:
			_, err = e.c.Link(e.ctx, fh, d, "taken")
		}
		want(t, err, nfs3.ErrStale)
	}
	if got := e.attr(secret); got.Size != 4 || got.Nlink != 1 {
		t.Errorf("the file is now %+v", got)
	}
}

// Whatever the cookie, the verifier and the counts, a listing shows entries of the directory, in the room there is, or says
// what is wrong.
func TestHostile_cookies(t *testing.T) {
	e := start(t)
	d := e.dir("d")
	names := map[string]bool{".": true, "..": true}
	for i := range 60 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26))
		ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, d, name, nfs3.Guarded, mode(0o644)))
		names[name] = true
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	listed := 0
	for range 3000 {
		cookie := rnd.Uint64() >> rnd.IntN(65)
		var verf [8]byte
		if rnd.IntN(3) == 0 {
			binary.BigEndian.PutUint64(verf[:], rnd.Uint64())
		}
		count := rnd.Uint32() >> rnd.IntN(32)
		var entries []nfs3.Entry
		var err error
		if rnd.IntN(2) == 0 {
			var res *nfs3.ReadDirRes
			res, err = e.user.ReadDir(e.ctx, d, cookie, verf, count)
			entries = res.Entries
		} else {
			var res *nfs3.ReadDirPlusRes
			res, err = e.user.ReadDirPlus(e.ctx, d, cookie, verf, count>>rnd.IntN(8), count)
			entries = res.Entries
		}
		if err != nil && !isStatus(err, nfs3.ErrBadCookie) && !isStatus(err, nfs3.ErrTooSmall) {
			t.Fatalf("cookie %#x, verifier %x, %d bytes: %v", cookie, verf, count, err)
		}
		seen := map[string]bool{}
		for _, entry := range entries {
			if !names[entry.Name] || seen[entry.Name] {
				t.Fatalf("cookie %#x: the listing shows %q, which is not there, or twice", cookie, entry.Name)
			}
			seen[entry.Name] = true
			listed++
		}
	}
	if listed == 0 {
		t.Error("nothing was listed: the test shows nothing")
	}
}

// isStatus reports whether the server answered with a status.
func isStatus(err error, status nfs3.Status) bool {
	got, answered := nfsclient.Status(err)
	return answered && got == status
}

// Clients that ask for everything and take nothing, stop in the middle of what they send, or only connect, cost the server
// no more than it allows, and nobody else their service.
func TestHostile_memoryAndDescriptors(t *testing.T) {
	const conns, total = 60, 16 << 20
	e := start(t, func(cfg *nfs.Config, _ *spy) {
		cfg.Limits = rpc.Limits{Conns: conns, Total: total, Stall: 50 * time.Millisecond, Evict: 50 * time.Millisecond, Linger: 10 * time.Millisecond}
	})
	big := e.file("big", string(random(1<<20)))
	read := append([]uint32{24}, make([]uint32, 6)...)
	for i := range 6 {
		read[1+i] = binary.BigEndian.Uint32(big[4*i:])
	}
	read = append(read, 0, 0, 1<<20) // offset, count
	ask := make([]byte, 0, 1<<20)
	for i := range uint32(500) {
		call := callTo(nfs3.Program, 3, uint32(nfs3.ProcRead), read...)
		binary.BigEndian.PutUint32(call[4:], i)
		ask = append(ask, call...)
	}
	before := openFiles(t)
	var held []net.Conn
	attack := func(send []byte) {
		nc, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
		if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write(send) // it may have been cut off already
	}
	half := append(binary.BigEndian.AppendUint32(nil, 1<<31|1<<20), make([]byte, 300<<10)...)
	mostBulk, mostHeap, slowest := 0, uint64(0), time.Duration(0)
	for i := range 120 {
		attack([][]byte{ask, half, nil, {0x80}}[i%4])
		began := time.Now()
		e.patiently(func(c *nfsclient.Client) error {
			_, err := c.Read(e.ctx, big, 0, 100<<10) // it is bulk, too
			return err
		})
		slowest = max(slowest, time.Since(began))
		st := e.server.Stats()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		mostBulk, mostHeap = max(mostBulk, st.Bulk), max(mostHeap, mem.HeapAlloc)
		if st.Conns > conns {
			t.Fatalf("%d connections, at most %d are allowed", st.Conns, conns)
		}
		if files := openFiles(t); files > before+len(held)+conns+10 {
			t.Fatalf("%d descriptors, of which the attackers have %d", files, len(held))
		}
	}
	if mostBulk > total || mostHeap > 256<<20 {
		t.Errorf("up to %d bytes of bulk and %d of memory were held", mostBulk, mostHeap)
	}
	t.Logf("bulk %d KiB, heap %d MiB, slowest read of a bystander %v; %d stalled, %d evicted", mostBulk>>10, mostHeap>>20,
		slowest, e.server.Count(rpc.EventStalled), e.server.Count(rpc.EventEvicted))
	for _, nc := range held {
		nc.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); e.server.Stats().Bytes > 0 || e.server.Conns() > 10; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("after the attack the server holds %+v", e.server.Stats())
		}
	}
}

// patiently makes a call as a kernel does: on a new connection, as often as it is refused or cut off.
func (e *env) patiently(call func(*nfsclient.Client) error) {
	e.t.Helper()
	for {
		c, err := nfsclient.Dial(e.ctx, e.addr)
		if err == nil {
			err = call(c.As(0, 0))
			c.Close()
		}
		if err == nil {
			return
		}
		if _, answered := nfsclient.Status(err); answered || e.ctx.Err() != nil {
			e.t.Fatal(err)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
