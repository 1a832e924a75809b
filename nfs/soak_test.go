package nfs_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/nlm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// soakTime is how long TestSoak runs: BFSD_SOAK, such as "1h", or just long enough to see that it works.
func soakTime(t *testing.T) time.Duration {
	text := os.Getenv("BFSD_SOAK")
	if text == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("BFSD_SOAK: %v", err)
	}
	return d
}

// soakSeed is BFSD_SOAK_SEED, by which the streams of an earlier run come again, or another one each time.
func soakSeed(t *testing.T) uint64 {
	text := os.Getenv("BFSD_SOAK_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("BFSD_SOAK_SEED: %v", err)
	}
	return seed
}

const (
	soakWorkers = 8
	soakCalls   = 40        // on one connection, at most
	soakHeap    = 512 << 20 // what the process may use, server and test together
	soakFiles   = 400       // descriptors
)

// TestSoak sends calls of every procedure to a server, most of them damaged in one way or another, on connections that are
// cut, left unread or closed in the middle, for BFSD_SOAK. Whatever comes: what is answered is answered as the RFCs say,
// others are served meanwhile, the file system stays sound, and the server holds no more than it may.
func TestSoak(t *testing.T) {
	seed, budget := soakSeed(t), soakTime(t)
	g := &group{fs: fsstate.New(fsstate.Config{
		Seed: fsstate.Seed{1}, Mode: 0o777, MaxBytes: 32 << 20, MaxInodes: 2000, Duplicates: 1000,
		Exports: []fsstate.Export{{Path: "/"}, {Path: "/squashed", Squash: fsstate.SquashAll, AnonUID: 70}, {Path: "/readonly", ReadOnly: true}},
	})}
	server := nfs.NewServer(frontEnd{g, 1}, nfs.Config{
		ClusterID: clusterID, Verifier: verifier, Log: slog.New(slog.DiscardHandler), Locks: &nfs.LockConfig{Front: "soak"},
		Limits: rpc.Limits{
			Conns: 64, Total: 8 << 20, Bytes: 6 << 20, Read: 2 * time.Second, Write: 2 * time.Second, Stall: time.Second, Linger: 100 * time.Millisecond,
		},
	})
	addr := listenAndServe(t, server)
	s := &soak{t: t, addr: addr}
	s.corpus, s.large = recordCalls(t, addr)
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	for w := range soakWorkers {
		wg.Go(func() {
			for i := uint64(0); ctx.Err() == nil && !t.Failed(); i++ {
				s.connection(seed, uint64(w)<<48|i)
			}
		})
	}
	for range 4 {
		wg.Go(func() { s.hog(ctx) })
	}
	wg.Go(func() { s.watch(ctx, g, server) })
	wg.Wait()
	took := time.Since(began)
	t.Logf("seed %d: %d calls on %d connections in %v: %.0f calls per second; %d replies", seed, s.calls.Load(), s.conns.Load(),
		took.Round(time.Millisecond), float64(s.calls.Load())/took.Seconds(), s.replies.Load())
	for _, e := range rpc.Events() {
		t.Logf("%8d %v", server.Count(e), e)
	}
	if s.replies.Load() == 0 || s.answered.Load() == 0 {
		t.Error("nothing was answered: the test shows nothing")
	}
}

// soak is a TestSoak under way.
type soak struct {
	t      *testing.T
	addr   string
	corpus [][]byte // records of valid calls
	large  []byte   // one that asks for a megabyte

	calls, conns, replies, answered atomic.Uint64
}

// recorder keeps the records that are written to a connection.
type recorder struct {
	net.Conn
	mu      sync.Mutex
	written []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.written = append(r.written, b...)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// records splits what was written.
func (r *recorder) records() (records [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for b := r.written; len(b) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(b)&^(1<<31))
		records = append(records, b[4:n])
		b = b[n:]
	}
	return records
}

// recordCalls makes calls of every procedure, which succeed, and returns their records, and that of one with a large reply.
func recordCalls(t *testing.T, addr string) (all [][]byte, large []byte) {
	record := func() *recorder {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return &recorder{Conn: nc}
	}
	files, locks := record(), record()
	client, raw := nfsclient.New(files), rpc.NewClient(locks)
	defer client.Close()
	defer raw.Close()
	c := client.As(1000, 100, 4, 24)
	ctx := t.Context()
	root := ok[nfs3.FH](t)(c.Mount(ctx, "/"))
	file := ok[nfs3.FH](t)(c.WriteFile(ctx, root, "file", random(20_000), 0o644))
	dir := ok[*nfs3.CreateRes](t)(c.Mkdir(ctx, root, "dir", mode(0o755))).Object
	for _, path := range []string{"/squashed", "/readonly"} {
		fh := ok[nfs3.FH](t)(c.Mount(ctx, path))
		ok[*nfs3.AccessRes](t)(c.Access(ctx, fh, 0x3f))
		_, _ = c.Mkdir(ctx, fh, "d", mode(0o755)) // refused in one of them
	}
	ok[*nfs3.GetAttrRes](t)(c.GetAttr(ctx, file))
	ok[*nfs3.WccRes](t)(c.SetAttr(ctx, file, nfs3.Sattr{Mode: ptr(uint32(0o600)), Size: ptr(uint64(30_000)), Mtime: nfs3.SetTime{How: nfs3.SetToServerTime}}, nil))
	ok[*nfs3.LookupRes](t)(c.Lookup(ctx, root, "file"))
	ok[*nfs3.AccessRes](t)(c.Access(ctx, file, 0x3f))
	ok[*nfs3.CreateRes](t)(c.Symlink(ctx, root, "symlink", "dir/target", nfs3.Sattr{}))
	link := ok[*nfs3.LookupRes](t)(c.Lookup(ctx, root, "symlink")).Object
	ok[*nfs3.ReadLinkRes](t)(c.ReadLink(ctx, link))
	ok[*nfs3.ReadRes](t)(c.Read(ctx, file, 100, 10_000))
	ok[*nfs3.ReadRes](t)(c.Read(ctx, file, 0, 1<<20))
	ok[*nfs3.WriteRes](t)(c.Write(ctx, file, 5000, random(9000), nfs3.Unstable))
	ok[*nfs3.CreateRes](t)(c.Create(ctx, dir, "made", nfs3.Unchecked, mode(0o644)))
	ok[*nfs3.CreateRes](t)(c.CreateExclusive(ctx, dir, "exclusive", [8]byte{1, 2, 3}))
	ok[*nfs3.CreateRes](t)(c.Mknod(ctx, dir, "fifo", nfs3.TypeFIFO, nfs3.SpecData{}, nfs3.Sattr{}))
	ok[*nfs3.LinkRes](t)(c.Link(ctx, file, dir, "linked"))
	ok[*nfs3.RenameRes](t)(c.Rename(ctx, dir, "made", root, "moved"))
	ok[*nfs3.WccRes](t)(c.Remove(ctx, root, "moved"))
	ok[*nfs3.CreateRes](t)(c.Mkdir(ctx, dir, "sub", mode(0o755)))
	ok[*nfs3.WccRes](t)(c.Rmdir(ctx, dir, "sub"))
	ok[*nfs3.ReadDirRes](t)(c.ReadDir(ctx, root, 0, [8]byte{}, 4096))
	ok[*nfs3.ReadDirPlusRes](t)(c.ReadDirPlus(ctx, root, 0, [8]byte{}, 4096, 32768))
	ok[*nfs3.FSStatRes](t)(c.FSStat(ctx, root))
	ok[*nfs3.FSInfoRes](t)(c.FSInfo(ctx, root))
	ok[*nfs3.PathConfRes](t)(c.PathConf(ctx, root))
	ok[*nfs3.CommitRes](t)(c.Commit(ctx, file, 0, 0))
	if err := errors.Join(c.Null(ctx), c.MountNull(ctx), c.Unmount(ctx, "/dir"), c.UnmountAll(ctx)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Mounts(ctx)
	_, _ = c.Exports(ctx)
	lock := nlm.Lock{Caller: "client", FH: file, OH: []byte("1@client"), SVID: 1, Offset: 10, Length: 100}
	for p, args := range map[nlm.Proc]nlm.Message{
		nlm.ProcTest: &nlm.TestArgs{Exclusive: true, Lock: lock}, nlm.ProcLock: &nlm.LockArgs{Cookie: []byte{1}, Exclusive: true, Lock: lock},
		nlm.ProcCancel: &nlm.CancelArgs{Lock: lock}, nlm.ProcUnlock: &nlm.UnlockArgs{Lock: lock}, nlm.ProcNull: &nlm.Void{},
	} {
		call := rpc.Call{Prog: nlm.Program, Vers: nlm.Version, Proc: uint32(p), Cred: rpc.Credential{Flavor: rpc.AuthSys, UID: 1000}}
		if _, err := raw.Call(ctx, call, args.Encode); err != nil {
			t.Fatalf("%v: %v", p, err)
		}
	}
	all = append(files.records(), locks.records()...)
	big := ok[nfs3.FH](t)(c.WriteFile(ctx, root, "big", random(1<<20), 0o644))
	ok[*nfs3.ReadRes](t)(c.Read(ctx, big, 0, 1<<20))
	recorded := files.records()
	return all, recorded[len(recorded)-1]
}

// stream is what goes over one connection.
type stream struct {
	rnd     *rand.Rand
	bytes   []byte
	sent    map[uint32]soakCall // by transaction id
	corrupt bool                // it is no sequence of calls any more
}

// soakCall is a call that was sent.
type soakCall struct {
	prog, proc uint32
}

// compose makes a connection's stream out of the corpus.
func (s *soak) compose(rnd *rand.Rand) *stream {
	m := &stream{rnd: rnd, sent: map[uint32]soakCall{}}
	for range 1 + rnd.IntN(soakCalls) {
		record := append([]byte{}, s.corpus[rnd.IntN(len(s.corpus))]...)
		binary.BigEndian.PutUint32(record, rnd.Uint32())
		for range rnd.IntN(3) { // a third stay as they are
			record = s.damage(rnd, record)
		}
		m.add(record)
		s.calls.Add(1)
	}
	return m
}

// argsAt is where a record's arguments begin, if its header is whole.
func argsAt(b []byte) int {
	const header = 24 // up to the credential's flavor
	if len(b) < header+8 {
		return len(b)
	}
	return header + 8 + int(binary.BigEndian.Uint32(b[header+4:])+3)&^3 + 8
}

// numbers are those that matter to who decodes lengths, enumerations and sizes.
var numbers = [...]uint32{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 24, 63, 64, 65, 255, 256, 400, 401, 1024, 1 << 16, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1<<31 - 1, 1 << 31,
	1<<32 - 1,
}

// damage changes a record in one way.
func (s *soak) damage(rnd *rand.Rand, b []byte) []byte {
	if len(b) < 8 {
		return append(b, 0, 0, 0, 0)
	}
	at := 4 + rnd.IntN(len(b)-4)
	if args := argsAt(b); args < len(b) && rnd.IntN(16) > 0 { // so that most calls get past the header
		at = args + rnd.IntN(len(b)-args)
	}
	word := at &^ 3
	switch rnd.IntN(12) {
	case 0:
		b[at] ^= 1 << rnd.IntN(8)
	case 1:
		b[at] = byte(rnd.Uint32())
	case 2, 3, 4:
		binary.BigEndian.PutUint32(b[min(word, len(b)-4):], numbers[rnd.IntN(len(numbers))])
	case 5: // cut
		b = b[:at]
	case 6: // longer
		b = append(b, random(4*(1+rnd.IntN(20)))...)
	case 7: // something left out
		b = append(b[:word], b[min(len(b), word+4*(1+rnd.IntN(8))):]...)
	case 8: // something twice
		end := min(len(b), word+4*(1+rnd.IntN(16)))
		b = append(b[:end:end], b[word:]...)
	case 9: // the rest of another call
		other := s.corpus[rnd.IntN(len(s.corpus))]
		b = append(b[:word:word], other[min(word, len(other)):]...)
	case 10: // another procedure, with these arguments
		if len(b) > 24 {
			binary.BigEndian.PutUint32(b[20:], rnd.Uint32N(26))
		}
	case 11: // a handle that was guessed
		for i := 4; i+24 <= len(b); i += 4 {
			if [8]byte(b[i:]) == clusterID {
				binary.BigEndian.PutUint64(b[i+8:], rnd.Uint64N(50))
				if rnd.IntN(2) == 0 {
					binary.BigEndian.PutUint64(b[i+16:], rnd.Uint64())
				}
				break
			}
		}
	}
	return b
}

// add appends a record to the stream, in one fragment or several, now and then with a length that is not its own.
func (m *stream) add(record []byte) {
	if len(record) >= 4 {
		var c soakCall
		if len(record) >= 24 {
			c = soakCall{binary.BigEndian.Uint32(record[12:]), binary.BigEndian.Uint32(record[20:])}
		}
		m.sent[binary.BigEndian.Uint32(record)] = c
	}
	for m.rnd.IntN(4) == 0 && len(record) > 0 {
		n := m.rnd.IntN(len(record))
		m.fragment(record[:n], uint32(n))
		record = record[n:]
	}
	length := 1<<31 | uint32(len(record))
	if m.rnd.IntN(400) == 0 {
		length, m.corrupt = m.rnd.Uint32(), true
	}
	m.fragment(record, length)
}

func (m *stream) fragment(b []byte, header uint32) {
	m.bytes = append(binary.BigEndian.AppendUint32(m.bytes, header), b...)
}

// hog asks for as much as it can and reads nothing, until it is cut off or it is time for the next.
func (s *soak) hog(ctx context.Context) {
	var stream []byte
	for i := range uint32(400) {
		record := append([]byte{}, s.large...)
		binary.BigEndian.PutUint32(record, i)
		stream = append(binary.BigEndian.AppendUint32(stream, 1<<31|uint32(len(record))), record...)
	}
	for ctx.Err() == nil {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			s.t.Errorf("a client that does not read: %v", err)
			return
		}
		_ = nc.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := nc.Write(stream); err == nil {
			s.conns.Add(1)
			s.calls.Add(400)
		}
		closed := make(chan struct{})
		stop := context.AfterFunc(ctx, func() { nc.Close(); close(closed) })
		select {
		case <-closed:
		case <-time.After(3 * time.Second): // for so long it reads nothing
		}
		if stop() {
			nc.Close()
		}
	}
}

// connection sends one stream, reads what comes, or does not, and sees that others are served.
func (s *soak) connection(seed, n uint64) {
	rnd := rand.New(rand.NewPCG(seed, n))
	m := s.compose(rnd)
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Errorf("seed %d, connection %d: %v", seed, n, err)
		return
	}
	defer nc.Close()
	s.conns.Add(1)
	tcp := nc.(*net.TCPConn)
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	ended := make(chan error, 1)
	habit := rnd.IntN(10)
	go func() {
		if habit == 0 { // reads nothing
			ended <- nil
			return
		}
		ended <- s.read(nc, m)
	}()
	if _, err := nc.Write(m.bytes); err == nil && habit > 2 {
		_ = tcp.CloseWrite()
	}
	if habit == 1 { // goes away at once
		_ = tcp.SetLinger(0)
		nc.Close()
	}
	if habit == 2 { // says nothing more, until it is cut off
		_ = nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	}
	if err := <-ended; err != nil {
		s.t.Errorf("seed %d, connection %d: %v", seed, n, err)
	}
}

// read reads replies until the connection ends, and checks that they are such as the RFCs say.
func (s *soak) read(nc net.Conn, m *stream) error {
	for {
		b, err := readReply(nc)
		if b == nil {
			return err
		}
		s.replies.Add(1)
		if err := s.check(b, m); err != nil {
			return err
		}
	}
}

// readReply reads one reply; nil if the connection has ended, which is no failure, whoever ended it.
func readReply(nc net.Conn) ([]byte, error) {
	var head [4]byte
	if n, _ := io.ReadFull(nc, head[:]); n < len(head) {
		return nil, nil
	}
	length := binary.BigEndian.Uint32(head[:])
	if length>>31 == 0 || length&^(1<<31) > 2<<20 {
		return nil, fmt.Errorf("the server sent a fragment header %#x", length)
	}
	b := make([]byte, length&^(1<<31))
	if n, _ := io.ReadFull(nc, b); n < len(b) {
		return nil, nil
	}
	return b, nil
}

// check verifies one reply.
func (s *soak) check(b []byte, m *stream) error {
	d := xdr.NewDecoder(b)
	xid, kind, denied := d.Uint32(), d.Uint32(), d.Uint32()
	if d.Err() != nil || kind != 1 || denied > 1 {
		return fmt.Errorf("no reply: % x", b)
	}
	call, known := m.sent[xid]
	if !known && !m.corrupt {
		return fmt.Errorf("a reply to call %#x, which was not made: % x", xid, b)
	}
	if denied == 1 {
		stat := d.Uint32()
		if d.Uint32(); stat == 0 {
			d.Uint32()
		}
		return d.Finish()
	}
	flavor, body, outcome := d.Uint32(), d.Opaque(400), rpc.Outcome(d.Uint32())
	if d.Err() != nil || flavor != 0 || len(body) != 0 || outcome > rpc.SystemErr {
		return fmt.Errorf("no accepted reply: % x", b)
	}
	if outcome == rpc.SystemErr {
		return fmt.Errorf("call %+v came to SYSTEM_ERR", call)
	}
	if outcome != rpc.Success || !known || call.prog != nfs3.Program || call.proc >= uint32(nfs3.ProcEnd) {
		return nil
	}
	s.answered.Add(1)
	proc := nfs3.Proc(call.proc)
	res := nfs3.NewRes(proc)
	res.Decode(d)
	if err := d.Finish(); err != nil {
		return fmt.Errorf("results of %v do not decode: %w", proc, err)
	}
	if r, isResult := res.(nfs3.Result); isResult && !mayReturn(proc, r.Code()) {
		return fmt.Errorf("%v returned %v", proc, r.Code())
	}
	return nil
}

// watch sees to it, until ctx ends, that a client which behaves is served, and that all there is stays sound and
// bounded.
func (s *soak) watch(ctx context.Context, g *group, server *nfs.Server) {
	limit := time.NewTicker(200 * time.Millisecond)
	defer limit.Stop()
	heapMost, filesMost := uint64(0), 0
	for turn := 0; ; turn++ {
		if err := s.bystand(); err != nil {
			s.t.Errorf("a client that behaves: %v", err)
			return
		}
		if n := server.Count(rpc.EventPanic); n != 0 {
			s.t.Errorf("%d handlers panicked", n)
			return
		}
		if turn%25 == 0 {
			g.mu.Lock()
			snap := g.fs.Snapshot()
			g.mu.Unlock()
			if bad := fsstate.Check(snap); bad != nil {
				s.t.Errorf("the file system is not sound: %v", bad)
				return
			}
			snap.Release()
		}
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			s.t.Error(err)
			return
		}
		heapMost, filesMost = max(heapMost, mem.HeapAlloc), max(filesMost, len(files))
		if heapMost > soakHeap || filesMost > soakFiles {
			s.t.Errorf("%d bytes of memory are in use, %d descriptors; at most %d and %d may be", heapMost, filesMost, soakHeap, soakFiles)
			return
		}
		select {
		case <-ctx.Done():
			s.t.Logf("at most %d MiB of memory and %d descriptors were in use", heapMost>>20, filesMost)
			return
		case <-limit.C:
		}
	}
}

// bystand is a client that behaves: it connects, mounts, and reads attributes.
func (s *soak) bystand() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := func() error {
			c, err := nfsclient.Dial(ctx, s.addr)
			if err != nil {
				return err
			}
			defer c.Close()
			root, err := c.Mount(ctx, "/")
			if err != nil {
				return err
			}
			_, err = c.GetAttr(ctx, root)
			return err
		}()
		if err == nil || ctx.Err() != nil || !errors.Is(err, io.EOF) && !isReset(err) {
			return err
		}
		// Refused or evicted: all clients of this test have one address. Once more, as a kernel would.
	}
}

func isReset(err error) bool {
	var network *net.OpError
	return errors.As(err, &network)
}
