package fsstate

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"
	"testing"
)

var (
	superuser = Cred{}
	alice     = Cred{UID: 1000, GID: 100, GIDs: []uint32{200}}
	bob       = Cred{UID: 1001, GID: 101}
)

// world is a file system under test, with a clock of its own.
type world struct {
	testing.TB
	fs  *FS
	now Time
}

func newWorld(t testing.TB, cfg Config) *world {
	if cfg.Mode == 0 {
		cfg.Mode = 0o777
	}
	cfg.Seed = testSeed
	return &world{TB: t, fs: New(cfg), now: 1_000_000}
}

// do runs an operation through its encoding, as a replica does, and verifies the invariants after it.
func (w *world) do(c Cred, a Args) Result {
	w.Helper()
	w.now += 1000
	r, err := DecodeResult(a.Kind(), w.fs.Execute(EncodeOp(&Op{Cred: c, Args: a}), w.now))
	if err != nil {
		w.Fatalf("%T: %v", a, err)
	}
	return r
}

// must is do for what has to succeed.
func must[R Result](w *world, c Cred, a Args) R {
	w.Helper()
	r := w.do(c, a)
	if r.Code() != OK {
		w.Fatalf("%T %+v: status %d", a, a, r.Code())
	}
	return r.(R)
}

// refuses verifies that an operation fails with a status, and changes nothing but the time.
func (w *world) refuses(c Cred, want Status, a Args) {
	w.Helper()
	before := w.fs.Snapshot()
	r := w.do(c, a)
	if r.Code() != want {
		w.Errorf("%T %+v: status %d, want %d", a, a, r.Code(), want)
	}
	w.fs.super.last = before.super.last
	if w.fs.Root() != before.Root() {
		w.Errorf("%T %+v: refused, but the state changed", a, a)
	}
}

func (w *world) root() Handle {
	return must[*LookupResult](w, superuser, &Resolve{Path: "/"}).Object
}

func (w *world) mkdir(c Cred, dir Handle, name string, mode uint32) Handle {
	w.Helper()
	return must[*CreateResult](w, c, &Mkdir{Dir: dir, Name: name, Set: SetAttrs{Mode: &mode}}).Object
}

func (w *world) create(c Cred, dir Handle, name string, mode uint32) Handle {
	w.Helper()
	return must[*CreateResult](w, c, &Create{Dir: dir, Name: name, Set: SetAttrs{Mode: &mode}}).Object
}

func (w *world) attr(h Handle) Attr {
	w.Helper()
	return must[*GetAttrResult](w, superuser, &GetAttr{Object: h}).Attr
}

func (w *world) write(c Cred, h Handle, offset uint64, data string) {
	w.Helper()
	must[*WriteResult](w, c, &Write{Object: h, Offset: offset, Data: []byte(data)})
}

func (w *world) read(h Handle, offset uint64, count uint32) string {
	w.Helper()
	return string(must[*ReadResult](w, superuser, &Read{Object: h, Offset: offset, Count: count}).Data)
}

func TestCreateWriteReadRemove(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	d := w.mkdir(alice, root, "d", 0o755)
	f := w.create(alice, d, "f", 0o644)
	w.write(alice, f, 3, "hello")
	if got := w.read(f, 0, 100); got != "\x00\x00\x00hello" {
		t.Errorf("read %q", got)
	}
	if a := w.attr(f); a.Size != 8 || a.Used != pageSize || a.UID != 1000 || a.GID != 100 || a.Nlink != 1 {
		t.Errorf("attributes %+v", a)
	}
	got := must[*LookupResult](w, bob, &Resolve{Path: "/d/f"})
	if got.Object != f {
		t.Errorf("resolved to %v, want %v", got.Object, f)
	}
	w.refuses(bob, EACCES, &Write{Object: f, Data: []byte("x")})
	w.refuses(bob, EACCES, &Remove{Dir: d, Name: "f"})
	w.refuses(alice, ENOTEMPTY, &Rmdir{Dir: root, Name: "d"})
	must[*RemoveResult](w, alice, &Remove{Dir: d, Name: "f"})
	w.refuses(alice, ESTALE, &Read{Object: f, Count: 1})
	must[*RemoveResult](w, alice, &Rmdir{Dir: root, Name: "d"})
	w.refuses(alice, ESTALE, &GetAttr{Object: d})
	if st := must[*StatFSResult](w, bob, &StatFS{Object: root}); st.FreeBytes != st.TotalBytes || st.TotalFiles-st.FreeFiles != 1 {
		t.Errorf("after everything was removed: %+v", st)
	}
}

func TestHolesReadAsZerosAndCostNothing(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(superuser, w.root(), "f", 0o644)
	end := uint64(math.MaxInt64) - 5
	w.write(superuser, f, end, "tail!")
	if a := w.attr(f); a.Size != math.MaxInt64 || a.Used != pageSize {
		t.Errorf("size %d used %d", a.Size, a.Used)
	}
	if got := w.read(f, 1<<40, 5000); got != strings.Repeat("\x00", 5000) {
		t.Error("a hole does not read as zeros")
	}
	if got := w.read(f, end-2, 100); got != "\x00\x00tail!" {
		t.Errorf("tail reads %q", got)
	}
	w.refuses(superuser, EFBIG, &Write{Object: f, Offset: end + 1, Data: []byte("tail!")})
	w.refuses(superuser, EFBIG, &SetAttr{Object: f, Set: SetAttrs{Size: ptr(uint64(1) << 63)}})
}

func TestTruncateThenExtendReadsZeros(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(superuser, w.root(), "f", 0o644)
	w.write(superuser, f, 0, strings.Repeat("x", 3*pageSize))
	for _, size := range []uint64{pageSize + 10, 2 * pageSize} {
		must[*SetAttrResult](w, superuser, &SetAttr{Object: f, Set: SetAttrs{Size: &size}})
	}
	want := strings.Repeat("x", pageSize+10) + strings.Repeat("\x00", pageSize-10)
	if got := w.read(f, 0, IOMax); got != want {
		t.Error("cut bytes came back")
	}
	if a := w.attr(f); a.Used != 2*pageSize {
		t.Errorf("used %d", a.Used)
	}
}

func TestTruncateByOneByte(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(superuser, w.root(), "f", 0o644)
	w.write(superuser, f, 0, "0123456789")
	for _, size := range []uint64{9, 10} {
		must[*SetAttrResult](w, superuser, &SetAttr{Object: f, Set: SetAttrs{Size: &size}})
	}
	if got := w.read(f, 0, 100); got != "012345678\x00" {
		t.Errorf("read %q", got)
	}
}

func TestTimeIsAgreedAndNeverGoesBack(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	op := EncodeOp(&Op{Args: &Create{Dir: root, Name: "f"}})
	w.fs.Execute(op, 500)
	first := w.fs.LastTime()
	for range 3 {
		before := w.fs.LastTime()
		w.fs.Execute(EncodeOp(&Op{Args: &SetAttr{Object: root, Set: SetAttrs{Mode: ptr(uint32(0o777))}}}), 100)
		if after := w.fs.LastTime(); after != before+1 {
			t.Errorf("time went from %d to %d", before, after)
		}
	}
	if first != 500 {
		t.Errorf("the agreed time 500 became %d", first)
	}
	w.fs.Execute(op, math.MaxInt64)
	w.fs.Execute(op, math.MaxInt64)
	if w.fs.LastTime() != math.MaxInt64 {
		t.Errorf("time overflowed to %d", w.fs.LastTime())
	}
}

func TestExecuteGarbage(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.fs.Root()
	for _, b := range [][]byte{nil, {0}, []byte("garbage"), make([]byte, OpMax+1)} {
		r, err := DecodeResult(KindLookup, w.fs.Execute(b, 5))
		if err != nil || r.Code() != EBADOP {
			t.Errorf("Execute(%d bytes) = %v, %v", len(b), r, err)
		}
		q, ok := w.fs.Query(b)
		if r, err := DecodeResult(KindLookup, q); err != nil || !ok || r.Code() != EBADOP {
			t.Errorf("Query(%d bytes) = %v, %v", len(b), r, err)
		}
	}
	if w.fs.Root() != root {
		t.Error("garbage changed the state")
	}
}

func TestQueryAnswersOnlyWhatChangesNothing(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	if _, ok := w.fs.Query(EncodeOp(&Op{Args: &Mkdir{Dir: root, Name: "d"}})); ok {
		t.Error("Query took a Mkdir")
	}
	op := EncodeOp(&Op{Args: &GetAttr{Object: root}})
	got, ok := w.fs.Query(op)
	if !ok || !bytes.Equal(got, w.fs.Execute(op, 9)) {
		t.Error("Query and Execute answer differently")
	}
}

// TestSnapshotsAnswerWhileTheStateChanges reads snapshots on other goroutines. The race detector watches.
func TestSnapshotsAnswerWhileTheStateChanges(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	f := w.create(superuser, root, "f", 0o644)
	read := EncodeOp(&Op{Args: &Read{Object: f, Count: IOMax}})
	list := EncodeOp(&Op{Args: &ReadDir{Dir: root, Plus: true}})
	var wg sync.WaitGroup
	for i := range 50 {
		w.write(superuser, f, uint64(i)*3000, strings.Repeat(fmt.Sprint(i%10), 3000))
		w.create(superuser, root, fmt.Sprint(i), 0)
		snap := w.fs.Snapshot()
		wantRead, _ := w.fs.Query(read)
		wantList, _ := w.fs.Query(list)
		wg.Go(func() {
			gotRead, _ := snap.Query(read)
			gotList, _ := snap.Query(list)
			if !bytes.Equal(gotRead, wantRead) || !bytes.Equal(gotList, wantList) {
				t.Errorf("snapshot %d does not answer as the state did", i)
			}
			if bad := Check(snap); bad != nil {
				t.Error(bad)
			}
			snap.Root()
			snap.Release()
		})
	}
	wg.Wait()
}

func TestListingIsWholeWhileEntriesComeAndGo(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	const n = 500
	for i := range n {
		w.create(superuser, root, fmt.Sprintf("stays%d", i), 0)
		w.create(superuser, root, fmt.Sprintf("goes%d", i), 0)
	}
	seen := map[string]int{}
	cookie, turn := uint64(0), 0
	for eof := false; !eof; turn++ {
		r := must[*ReadDirResult](w, superuser, &ReadDir{Dir: root, Cookie: cookie, Plus: turn%2 == 0, Limits: [2]DirLimit{{400, 20}, {}}})
		for _, e := range r.Entries {
			seen[e.Name]++
			cookie = e.Cookie
		}
		eof = r.EOF
		if turn < n {
			must[*RemoveResult](w, superuser, &Remove{Dir: root, Name: fmt.Sprintf("goes%d", turn)})
			w.create(superuser, root, fmt.Sprintf("comes%d", turn), 0)
		}
	}
	for i := range n {
		if c := seen[fmt.Sprintf("stays%d", i)]; c != 1 {
			t.Fatalf("stays%d was listed %d times", i, c)
		}
	}
	for name, c := range seen {
		if c != 1 {
			t.Errorf("%s was listed %d times", name, c)
		}
	}
	if seen["."] != 1 || seen[".."] != 1 {
		t.Error("no . or ..")
	}
}

func TestSessionsAreUnderTheRoot(t *testing.T) {
	fs := New(Config{})
	empty := fs.Root()
	replies := map[int][]byte{}
	for _, n := range []int{0, 1, 4083, 4084, 4085, 8180, 8181, IOMax + 4000, 100, 5000, 0} {
		reply := bytes.Repeat([]byte{byte(n)}, n)
		fs.SetSession(7, 3, uint64(n), reply)
		fs.SetSession(7, 4, 1, []byte("other"))
		fs.SetSession(8, 0, 2, nil)
		var got []string
		fs.Sessions(func(client, slot uint32, number uint64, r []byte) bool {
			if client == 7 && slot == 3 && (number != uint64(n) || !bytes.Equal(r, reply)) {
				t.Errorf("reply of %d bytes came back as number %d with %d bytes", n, number, len(r))
			}
			got = append(got, fmt.Sprint(client, slot, number))
			return true
		})
		if want := fmt.Sprintf("[7 3 %d 7 4 1 8 0 2]", n); fmt.Sprint(got) != want {
			t.Errorf("sessions %v, want %v", got, want)
		}
		if old, ok := replies[n]; ok && !bytes.Equal(old, rootOf(fs)) {
			t.Error("pages of an older reply are left behind")
		}
		replies[n] = rootOf(fs)
	}
	if fs.Root() == empty {
		t.Error("the reply table is not under the root")
	}
}

func rootOf(fs *FS) []byte {
	r := fs.Root()
	return r[:]
}

// pairsOf lists what Diff emits.
func pairsOf(t testing.TB, s, since *Snapshot) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		stop := errors.New("stop")
		if err := s.Diff(since, func(k, v []byte) error {
			if !yield(k, v) {
				return stop
			}
			return nil
		}); err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
}

func TestLoadRebuildsTheState(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(alice, w.mkdir(alice, w.root(), "d", 0o755), "f", 0o600)
	w.write(alice, f, 10000, strings.Repeat("data", 5000))
	w.fs.SetSession(1, 2, 3, []byte("reply"))
	snap := w.fs.Snapshot()
	other := New(Config{})
	if err := other.Load(pairsOf(t, snap, nil)); err != nil {
		t.Fatal(err)
	}
	if other.Root() != snap.Root() {
		t.Error("the loaded state has another root")
	}
	if other.LastTime() != w.fs.LastTime() {
		t.Error("the loaded state has another time")
	}
	before := other.Root()
	if err := w.fs.Load(pairsOf(t, snap, nil)); err != nil || w.fs.Root() != before {
		t.Errorf("loading its own pairs: %v", err)
	}
	w.write(alice, f, 0, "after")
	w.fs.Rollback(snap)
	w.write(alice, f, 0, "other")
	if snap.Root() != before || w.fs.Root() == before {
		t.Error("going back to before Load mixes two states")
	}
	if err := other.Load(func(yield func(k, v []byte) bool) { yield([]byte("short"), nil) }); err == nil {
		t.Error("loaded a short key")
	}
	if err := other.Load(func(func(k, v []byte) bool) {}); err == nil {
		t.Error("loaded nothing")
	}
	if other.Root() != before {
		t.Error("a failed Load changed the state")
	}
}

// takenOver is the state of a snapshot as others come to it: by loading its pages, by restoring it from its nodes, and by going
// back to it. That they are sound, and have its root, is checked here.
func (w *world) takenOver(first *Snapshot) map[string]*FS {
	w.Helper()
	loaded, restored := New(Config{}), New(Config{})
	if err := loaded.Load(pairsOf(w, first, nil)); err != nil {
		w.Fatal(err)
	}
	if err := restoreFrom(restored, first.Root(), func(d [32]byte) ([]byte, error) {
		b, _ := first.Node(d)
		return b, nil
	}); err != nil {
		w.Fatal(err)
	}
	w.fs.Rollback(first)
	all := map[string]*FS{"loaded": loaded, "restored": restored, "rolled back": w.fs}
	for name, fs := range all {
		if fs.Root() != first.Root() {
			w.Errorf("%s: another root", name)
		}
		if bad := Check(fs.Snapshot()); bad != nil {
			w.Errorf("%s: %v", name, bad)
		}
	}
	return all
}

// restoreFrom restores a state from who has a node for each digest, hashing what it gives.
func restoreFrom(fs *FS, root [32]byte, source func([32]byte) ([]byte, error)) error {
	return fs.Restore(root, func(more [][32]byte) ([]Node, error) {
		var nodes []Node
		for _, d := range more {
			b, err := source(d)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, Node{Digest: sha256.Sum256(b), Encoding: b})
		}
		return nodes, nil
	}, func(uint64) {}, nil)
}

func TestRestoreRefusesLies(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 300 {
		w.create(alice, w.root(), fmt.Sprint(i), 0o600)
	}
	snap := w.fs.Snapshot()
	other := New(Config{})
	before := other.Root()
	nodes := 0
	if err := restoreFrom(New(Config{}), snap.Root(), func(d [32]byte) ([]byte, error) {
		nodes++
		b, _ := snap.Node(d)
		return b, nil
	}); err != nil {
		t.Fatal(err)
	}
	for lie := range nodes {
		n := 0
		err := restoreFrom(other, snap.Root(), func(d [32]byte) ([]byte, error) {
			b, _ := snap.Node(d)
			if n == lie {
				b[len(b)/2] ^= 1
			}
			n++
			return b, nil
		})
		if err == nil || other.Root() != before {
			t.Fatalf("a forged node %d of %d was taken (%v)", lie, nodes, err)
		}
	}
	down := errors.New("peer is down")
	if err := restoreFrom(other, snap.Root(), func([32]byte) ([]byte, error) { return nil, down }); !errors.Is(err, down) {
		t.Errorf("error %v does not tell why", err)
	}
}
