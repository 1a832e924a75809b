package fsstate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var testSeed = Seed{1, 2, 3}

// chooser makes the choices of a random history: a rapid one, which can be shrunk, or a plain generator, which is fast.
type chooser interface {
	intn(what string, n int) int
	fatalf(format string, args ...any)
}

type rapidChooser struct{ *rapid.T }

func (c rapidChooser) intn(what string, n int) int       { return rapid.IntRange(0, n-1).Draw(c.T, what) }
func (c rapidChooser) fatalf(format string, args ...any) { c.Helper(); c.Fatalf(format, args...) }

type randChooser struct {
	*rand.Rand
	testing.TB
}

func (c randChooser) intn(_ string, n int) int          { return c.IntN(n) }
func (c randChooser) fatalf(format string, args ...any) { c.Helper(); c.Fatalf(format, args...) }

func pick[T any](c chooser, what string, of ...T) T { return of[c.intn(what, len(of))] }

// history drives a file system and its model through the same operations.
type history struct {
	chooser
	fs      *FS
	model   *model
	now     Time
	handles []Handle // known ones, some of them stale
	saved   []saved
	counts  map[string]int // by operation and status
}

type saved struct {
	snap  *Snapshot
	model *model
	root  [32]byte
}

func newHistory(c chooser) *history {
	cfg := Config{
		Seed: testSeed, Mode: 0o777, Signed: hashSigned, MayHave: modelMayHave,
		MaxBytes: pick(c, "bytes", uint64(300_000), 50_000, 10_000), MaxInodes: pick(c, "inodes", uint64(60), 60, 20),
	}
	h := &history{chooser: c, fs: New(cfg), model: newModel(cfg), counts: map[string]int{}}
	h.handles = []Handle{{Ino: 1, Gen: h.model.nodes[1].attr.Gen}, {Ino: 1, Gen: 1}, {Ino: 0, Gen: 0}, {Ino: 1 << 63, Gen: 0}}
	return h
}

func (h *history) cred() Cred {
	return pick(h, "user",
		Cred{}, Cred{}, Cred{UID: 1, GID: 1}, Cred{UID: 1, GID: 1}, Cred{UID: 2, GID: 2, GIDs: []uint32{1, 3}},
		Cred{UID: 2, GID: 1}, Cred{UID: 3, GID: 3, GIDs: []uint32{4, 5, 6, 2}},
	)
}

// handle mostly names what exists; else it may be stale or was never given out.
func (h *history) handle() Handle { return h.handleOf(func(*mnode) bool { return true }) }

// directory is handle for operations of which little is seen on anything but directories.
func (h *history) directory() Handle {
	return h.handleOf(func(n *mnode) bool { return n.attr.Type == TypeDirectory })
}

// file is handle for operations on what is no directory.
func (h *history) file() Handle {
	return h.handleOf(func(n *mnode) bool { return n.attr.Type == TypeRegular || len(h.model.nodes) < 3 })
}

func (h *history) handleOf(wanted func(*mnode) bool) Handle {
	if h.intn("odd handle", 12) == 0 {
		return h.handles[h.intn("handle", len(h.handles))]
	}
	var live []Handle
	for _, ino := range slices.Sorted(maps.Keys(h.model.nodes)) {
		if n := h.model.nodes[ino]; wanted(n) {
			live = append(live, handleOf(n))
		}
	}
	if len(live) == 0 {
		return h.handles[0]
	}
	return live[h.intn("handle", len(live))]
}

func (h *history) name() string {
	if h.intn("odd name", 10) == 0 {
		return pick(h, "name", ".", "..", "", "x/y", "nul\x00", strings.Repeat("n", 256), "\xff\xfe", strings.Repeat("n", 255))
	}
	return pick(h, "name", "a", "b", "c", "d", "e", "longer name")
}

// nameIn prefers names that are in the directory.
func (h *history) nameIn(dir Handle) string {
	if n := h.model.get(dir); n != nil && len(n.entries) > 0 && h.intn("existing", 4) > 0 {
		names := slices.Sorted(maps.Keys(n.entries))
		return names[h.intn("name", len(names))]
	}
	return h.name()
}

func (h *history) size() uint64 {
	return pick(h, "size", uint64(0), 1, 100, 4095, 4096, 4097, 8192, 12345, 20000, 1<<40, 1<<63-1, 1<<63, 1<<64-1)
}

func (h *history) set() SetAttrs {
	var s SetAttrs
	if h.intn("set mode", 3) > 0 {
		s.Mode = ptr(pick(h, "mode", uint32(0o777), 0o777, 0o755, 0o644, 0o600, 0o000, 0o4755, 0o2775, 0o2664, 0o1777, 0o6711, 0o100755, 0o7777))
	}
	if h.intn("set uid", 6) == 0 {
		s.UID = ptr(uint32(h.intn("uid", 4)))
	}
	if h.intn("set gid", 6) == 0 {
		s.GID = ptr(uint32(h.intn("gid", 7)))
	}
	if h.intn("set size", 6) == 0 {
		s.Size = ptr(h.size())
	}
	times := []SetTime{{}, {}, {}, {How: TimeServer}, {How: TimeClient, Time: -5}, {How: TimeClient, Time: 1 << 60}}
	s.Atime, s.Mtime = pick(h, "atime", times...), pick(h, "mtime", times...)
	return s
}

func (h *history) args() Args {
	switch Kind(h.intn("operation", int(kindEnd))) {
	case KindGetAttr:
		return &GetAttr{h.handle()}
	case KindSetAttr:
		a := &SetAttr{Object: h.handle(), Set: h.set()}
		if h.intn("guard", 4) == 0 {
			a.Guard = ptr(Time(5))
			if n := h.model.get(a.Object); n != nil && h.intn("right", 2) == 0 {
				*a.Guard = n.attr.Ctime
			}
		}
		return a
	case KindLookup:
		dir := h.directory()
		return &Lookup{dir, h.nameIn(dir)}
	case KindAccess:
		return &Access{h.handle(), uint32(h.intn("mask", 128))}
	case KindReadLink:
		return &ReadLink{h.handle()}
	case KindRead:
		return &Read{h.file(), h.size(), uint32(pick(h, "count", 0, 1, 100, 5000, 30000))}
	case KindWrite:
		data := make([]byte, pick(h, "length", 0, 1, 50, 4095, 4096, 4097, 9000, 30000))
		fill := byte(1 + h.intn("byte", 255))
		for i := range data {
			data[i] = fill + byte(i)
		}
		return &Write{h.file(), h.size(), data}
	case KindCreate, KindNone:
		return &Create{h.directory(), h.name(), CreateHow(h.intn("how", 3)), h.set(), uint64(h.intn("verf", 2))}
	case KindMkdir:
		return &Mkdir{h.directory(), h.name(), h.set()}
	case KindSymlink:
		return &Symlink{h.directory(), h.name(), h.set(), pick(h, "target", "t", "../x", strings.Repeat("t", 4095))}
	case KindMknod:
		return &Mknod{h.directory(), h.name(), FileType(h.intn("type", 9)), h.set(), 3, 4}
	case KindRemove:
		dir := h.directory()
		return &Remove{dir, h.nameIn(dir)}
	case KindRmdir:
		dir := h.directory()
		return &Rmdir{dir, h.nameIn(dir)}
	case KindRename:
		r := &Rename{FromDir: h.directory(), ToDir: h.directory()}
		if h.intn("same directory", 3) == 0 {
			r.ToDir = r.FromDir
		}
		r.FromName, r.ToName = h.nameIn(r.FromDir), h.nameIn(r.ToDir)
		return r
	case KindLink:
		return &Link{h.file(), h.directory(), h.name()}
	case KindReadDir:
		return &ReadDir{Dir: h.directory(), Plus: h.intn("plus", 2) == 0}
	case KindStatFS:
		return &StatFS{h.handle()}
	case KindResolve:
		return &Resolve{strings.Repeat("/", h.intn("slashes", 3)) + h.name() + "/" + h.name() + "//" + h.name()}
	case KindSetKey:
		return h.keyOrder()
	case KindGetKeys:
		return &GetKeys{}
	default:
		return h.lockArgs()
	}
}

// step runs one random operation on both and compares the results.
func (h *history) step() { h.run(h.cred(), h.args()) }

func (h *history) run(cred Cred, args Args) {
	switch a := args.(type) {
	case *ReadDir:
		h.list(cred, a)
		return
	case *LockGrants:
		h.grants(a)
		return
	}
	h.now += Time(h.intn("time passes", 3)) - 1
	if h.intn("much time passes", 200) == 0 {
		h.now += pick(h, "jump", grantPatience+1, lockSeenGrain+1, LockExpiry/2, LockExpiry+1)
	}
	h.model.machine = pick(h, "machine", "10.0.0.1", "10.0.0.1", "10.0.0.2")
	want := h.model.do(cred, args, h.now)
	if op := (&Op{Cred: cred, Machine: h.model.machine, Args: args}); op.check() == nil {
		got, err := DecodeResult(args.Kind(), h.fs.Execute(EncodeOp(op), h.now))
		if err != nil {
			h.fatalf("%T: %v", args, err)
		}
		h.compare(cred, args, want, got)
	} else { // never got past its decoding: only the status is given, and no time passes
		got := h.fs.Apply(op, h.now)
		if got.Code() != want.Code() {
			h.fatalf("%T %+v: status %d, want %d", args, args, got.Code(), want.Code())
		}
		h.model.last = h.fs.LastTime()
	}
	h.counts[fmt.Sprintf("%T %d", args, want.Code())]++
	switch r := want.(type) {
	case *CreateResult:
		if r.Status == OK {
			h.handles = append(h.handles, r.Object)
		}
	case *LockResult:
		h.countLock(args, r)
	}
}

func (h *history) compare(cred Cred, args Args, want, got Result) {
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		h.fatalf("%+v as %+v: result differs (-model +file system):\n%s", args, cred, d)
	}
}

// list reads a whole directory in pieces of random size and compares it with the model's.
func (h *history) list(cred Cred, a *ReadDir) {
	d, wcc, want := h.model.dir(a.Dir)
	if want == OK && !may(cred, d, 'r') {
		want = EACCES
	}
	left := map[string]uint64{}
	for {
		a.Limits[h.intn("limit", 2)] = DirLimit{Bytes: uint32(300 + h.intn("bytes", 600)), PerEntry: uint32(h.intn("per entry", 40))}
		r := h.fs.Apply(&Op{Cred: cred, Args: a}, h.now).(*ReadDirResult)
		if r.Status != want {
			h.fatalf("listing of %v: status %d, want %d", a.Dir, r.Status, want)
		}
		if dd := cmp.Diff(wcc.After, r.Dir); dd != "" {
			h.fatalf("listing of %v: directory's attributes (-model +file system):\n%s", a.Dir, dd)
		}
		for _, e := range r.Entries {
			if _, twice := left[e.Name]; twice {
				h.fatalf("listing of %v: %q twice", a.Dir, e.Name)
			}
			left[e.Name] = e.Ino
			a.Cookie = e.Cookie
			if n := h.model.nodes[e.Ino]; a.Plus && (e.Gen != n.attr.Gen || cmp.Diff(n.a(), e.Attr) != "") {
				h.fatalf("listing of %v: %q has gen %d attr %+v", a.Dir, e.Name, e.Gen, e.Attr)
			}
		}
		if want != OK {
			return
		}
		if r.EOF {
			break
		}
	}
	all := map[string]uint64{".": d.attr.Ino, "..": d.parent}
	for name, ino := range d.entries {
		all[name] = ino
	}
	if dd := cmp.Diff(all, left); dd != "" {
		h.fatalf("listing of %v (-model +file system):\n%s", a.Dir, dd)
	}
	h.counts["*fsstate.ReadDir 0"]++
}

func (h *history) save() {
	s := h.fs.Snapshot()
	h.saved = append(h.saved, saved{s, h.model.clone(), s.Root()})
}

func (h *history) rollback() {
	if len(h.saved) == 0 {
		return
	}
	s := h.saved[h.intn("snapshot", len(h.saved))]
	h.fs.Rollback(s.snap)
	h.model = s.model.clone()
	if h.fs.Root() != s.root {
		h.fatalf("rolled back to another state")
	}
}

// audit verifies the invariants, that every snapshot is as it was, and that the state can be rebuilt from its pairs and
// from its nodes with the same root.
func (h *history) audit() {
	now := h.fs.Snapshot()
	for _, s := range append(h.saved, saved{snap: now, root: now.Root()}) {
		for _, err := range Check(s.snap) {
			h.fatalf("fsck: %v", err)
		}
		if s.snap.Root() != s.root {
			h.fatalf("a snapshot changed")
		}
	}
	if h.load(now).Root() != now.Root() {
		h.fatalf("loading its pairs gives another state")
	}
	h.auditBackup(now)
	other := New(Config{})
	if len(h.saved) > 0 {
		other = h.load(h.saved[h.intn("base", len(h.saved))].snap)
	}
	if err := restoreFrom(other, now.Root(), func(d [32]byte) ([]byte, error) {
		h.stepWhileExporting()
		b, ok := now.Node(d)
		if !ok {
			return nil, errors.New("no such node")
		}
		return b, nil
	}); err != nil || other.Root() != now.Root() {
		h.fatalf("restoring gives another state (%v)", err)
	}
}

// load makes a file system from a snapshot's pairs.
func (h *history) load(s *Snapshot) *FS {
	fs := New(Config{})
	if err := fs.Load(func(yield func(k, v []byte) bool) {
		_ = s.Diff(nil, func(k, v []byte) error {
			if !yield(k, v) {
				return errors.New("stopped")
			}
			return nil
		})
	}); err != nil {
		h.fatalf("%v", err)
	}
	return fs
}

// stepWhileExporting lets the source go on changing while somebody restores from its snapshot.
func (h *history) stepWhileExporting() {
	if h.intn("goes on", 4) == 0 {
		h.step()
	}
}

// TestRandomHistories runs a long random history against the model. It fails unless the history was rich: every operation
// has to have succeeded and failed in many ways.
func TestRandomHistories(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 10_000
	}
	const histories = 20
	counts := map[string]int{}
	for seed := range uint64(histories) {
		h := newHistory(randChooser{rand.New(rand.NewPCG(seed, 0)), t})
		h.counts = counts
		for i := range steps / histories {
			h.step()
			switch {
			case i%97 == 0:
				h.save()
				if len(h.saved) > 4 {
					h.saved[0].snap.Release()
					h.saved = h.saved[1:]
				}
			case i%211 == 0:
				h.rollback()
			case i%499 == 0:
				h.audit()
			}
		}
		h.audit()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for k := KindNone + 1; k < kindEnd; k++ {
		switch k {
		case KindLockAnswer: // counted by answer
			continue
		case KindSetPolicy, KindGetPolicy, KindListExports: // the model has none: see TestExport_isThatOfThePath
			continue
		default:
		}
		if ok := fmt.Sprintf("%T 0", NewArgs(k)); counts[ok] == 0 {
			t.Errorf("%s: never succeeded", ok)
		}
	}
	if len(counts) < 110 {
		t.Errorf("only %d outcomes occurred: %v", len(counts), counts)
	}
	t.Logf("%d operations, %d different outcomes", steps, len(counts))
}

// TestRapidHistories is TestRandomHistories for histories that rapid can shrink.
func TestRapidHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(rapidChooser{t})
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch h.intn("what", 40) {
			case 0:
				h.save()
			case 1:
				h.rollback()
			case 2:
				h.audit()
			default:
				h.step()
			}
		}
		h.audit()
	})
}
