package fsstate

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// call is one NFS call of a client's machine.
func (w *world) call(machine string, xid uint32, c Cred, a Args) Result {
	w.Helper()
	return w.callFrom(LocalFrontEnd, &Op{Cred: c, Machine: machine, XID: xid, Args: a})
}

func (w *world) callFrom(via FrontEnd, op *Op) Result {
	w.Helper()
	w.now++
	r, err := DecodeResult(op.Args.Kind(), w.fs.ExecuteFrom(via, EncodeOp(op), w.now))
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// sound fails the test if an invariant of the state is broken.
func (w *world) sound() {
	w.Helper()
	if bad := Check(w.fs.Snapshot()); bad != nil {
		w.Fatal(bad)
	}
}

func TestCallSentAgainGetsItsFirstAnswer(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 100})
	root := w.root()
	f := w.call("m", 1, alice, &Create{Dir: root, Name: "f", How: Guarded}).(*CreateResult).Object
	remove := &Remove{Dir: root, Name: "f"}
	w.call("m", 2, alice, &Write{Object: f, Data: []byte("old")})
	w.call("m", 3, alice, &Write{Object: f, Data: []byte("new")})

	before := w.fs.Root()
	again := w.call("m", 1, alice, &Create{Dir: root, Name: "f", How: Guarded})
	if again.Code() != OK || again.(*CreateResult).Object != f {
		t.Errorf("guarded create sent again: %+v", again)
	}
	if w.call("m", 2, alice, &Write{Object: f, Data: []byte("old")}).Code() != OK || w.read(f, 0, 9) != "new" {
		t.Errorf("a write that came late undid a newer one")
	}
	if w.fs.Root() != before {
		t.Error("a call sent again changed the state")
	}
	for range 3 {
		if s := w.call("m", 4, alice, remove).Code(); s != OK {
			t.Errorf("remove sent again: status %d", s)
		}
	}
	for name, r := range map[string]Result{
		"another transaction id": w.call("m", 5, alice, remove),
		"another machine":        w.call("n", 4, alice, remove),
		"another caller":         w.callFrom(LocalFrontEnd, &Op{Cred: alice, Machine: "m", Caller: 9, XID: 4, Args: remove}),
		"another user":           w.call("m", 4, bob, remove),
		"no transaction id":      w.call("m", 0, alice, remove),
		"no machine":             w.call("", 4, alice, remove),
	} {
		if r.Code() != ENOENT {
			t.Errorf("%s: status %d, as if it were the same call", name, r.Code())
		}
	}
	w.sound()
}

// What changes something and is sent twice, with the file system changed in between, has its effect once and its first
// answer twice, byte for byte.
func TestEveryKindOfChangeIsRemembered(t *testing.T) {
	size := uint64(1)
	for _, args := range []func(root, d, f Handle) Args{
		func(_, _, f Handle) Args { return &SetAttr{Object: f, Set: SetAttrs{Size: &size}} },
		func(_, _, f Handle) Args { return &Write{Object: f, Data: []byte("late")} },
		func(_, d, _ Handle) Args { return &Create{Dir: d, Name: "new"} },
		func(_, d, _ Handle) Args { return &Create{Dir: d, Name: "new", How: Guarded} },
		func(_, d, _ Handle) Args { return &Create{Dir: d, Name: "new", How: Exclusive, Verf: 7} },
		func(_, d, _ Handle) Args { return &Mkdir{Dir: d, Name: "new"} },
		func(_, d, _ Handle) Args { return &Symlink{Dir: d, Name: "new", Target: "t"} },
		func(_, d, _ Handle) Args { return &Mknod{Dir: d, Name: "new", Type: TypeFIFO} },
		func(_, d, _ Handle) Args { return &Remove{Dir: d, Name: "f"} },
		func(root, _, _ Handle) Args { return &Rmdir{Dir: root, Name: "e"} },
		func(root, d, _ Handle) Args { return &Rename{FromDir: d, FromName: "f", ToDir: root, ToName: "g"} },
		func(root, _, f Handle) Args { return &Link{Object: f, Dir: root, Name: "g"} },
	} {
		w := newWorld(t, Config{})
		root := w.root()
		d := w.mkdir(alice, root, "d", 0o755)
		w.mkdir(alice, root, "e", 0o755)
		f := w.create(alice, d, "f", 0o644)
		w.write(alice, f, 0, "data")
		op := EncodeOp(&Op{Cred: alice, Machine: "10.0.0.1", XID: 77, Args: args(root, d, f)})
		first := w.fs.Execute(op, w.now)
		w.write(alice, w.create(alice, d, "between", 0o644), 0, "x")
		before := w.fs.Root()
		if again := w.fs.Execute(op, w.now+1); !bytes.Equal(first, again) {
			t.Errorf("%T: answered %x, then %x", args(root, d, f), first, again)
		}
		if w.fs.Root() != before {
			t.Errorf("%T: executed twice", args(root, d, f))
		}
		if len(first) > dupResultMax/3 {
			t.Errorf("%T: its answer has %d bytes, which is near the bound of %d", args(root, d, f), len(first), dupResultMax)
		}
		w.sound()
	}
}

// No change can have an answer that is too long to be remembered.
func TestTheLongestAnswerIsRemembered(t *testing.T) {
	h := Handle{math.MaxUint64, math.MaxUint64}
	attr := &Attr{
		Type: 255, Mode: math.MaxUint32, Nlink: math.MaxUint32, UID: math.MaxUint32, GID: math.MaxUint32, Size: math.MaxUint64,
		Used: math.MaxUint64, Major: math.MaxUint32, Minor: math.MaxUint32, Ino: math.MaxUint64, Gen: math.MaxUint64,
		Atime: math.MinInt64, Mtime: math.MinInt64, Ctime: math.MinInt64,
	}
	wcc := Wcc{Before: &PreAttr{Size: math.MaxUint64, Mtime: math.MinInt64, Ctime: math.MinInt64}, After: attr}
	head := Head{255}
	for _, r := range []Result{
		&SetAttrResult{head, wcc}, &WriteResult{head, wcc, math.MaxUint32}, &CreateResult{head, h, attr, wcc},
		&RemoveResult{head, wcc}, &RenameResult{head, wcc, wcc}, &LinkResult{head, attr, wcc},
	} {
		if n := len(EncodeResult(r)); n > dupResultMax {
			t.Errorf("%T has up to %d bytes, only %d are remembered", r, n, dupResultMax)
		}
	}
}

// An answer of failure is the first answer too: the copy of a REMOVE that comes late removes nothing that was made since.
func TestFailuresAreRemembered(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	remove := &Remove{Dir: root, Name: "f"}
	if s := w.call("m", 1, alice, remove).Code(); s != ENOENT {
		t.Fatalf("status %d", s)
	}
	w.create(alice, root, "f", 0o644)
	if s := w.call("m", 1, alice, remove).Code(); s != ENOENT {
		t.Errorf("the copy that came late: status %d", s)
	}
	if s := w.call("m", 2, alice, remove).Code(); s != OK {
		t.Errorf("the file is gone: status %d", s)
	}
}

// 127.0.0.1 is a machine of its own at each gateway, and any other address is the same machine wherever it is seen.
func TestAMachineIsTheSameAtEveryFrontEnd(t *testing.T) {
	for _, tc := range []struct {
		machine       string
		first, second FrontEnd
		same          bool
	}{
		{"10.0.0.1", 0, 3, true},
		{"10.0.0.1", 0, 100, true},
		{"2001:db8::1", 100, 101, true},
		{"127.0.0.1", 0, 3, true},
		{"127.0.0.1", LocalFrontEnd, LocalFrontEnd, true},
		{"127.0.0.1", 100, 100, true},
		{"127.0.0.1", 100, 101, false},
		{"::1", 100, 101, false},
		{"127.8.8.8", 0, 100, false},
		{"::ffff:127.0.0.1", 100, 101, false},
	} {
		w := newWorld(t, Config{})
		op := &Op{Cred: alice, Machine: tc.machine, XID: 5, Args: &Mkdir{Dir: w.root(), Name: "lock"}}
		if s := w.callFrom(tc.first, op).Code(); s != OK {
			t.Fatalf("status %d", s)
		}
		want := EEXIST
		if tc.same {
			want = OK
		}
		if s := w.callFrom(tc.second, op).Code(); s != want {
			t.Errorf("%s through front end %d, then %d: status %d, want %d", tc.machine, tc.first, tc.second, s, want)
		}
	}
}

func TestDuplicatesAreForgotten(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 10 * dupShare})
	root := w.root()
	mk := func(i int) *Mkdir { return &Mkdir{Dir: root, Name: fmt.Sprint(i)} }
	for i := range 25 {
		w.call("m", uint32(i+1), alice, mk(i))
		w.sound()
	}
	for i := 10; i < 25; i++ { // the latest 5, and the generation of 10 before
		if s := w.call("m", uint32(i+1), alice, mk(i)).Code(); s != OK {
			t.Errorf("call %d of 25 was forgotten already: status %d", i, s)
		}
	}
	if s := w.call("m", 10, alice, mk(9)).Code(); s != EEXIST {
		t.Errorf("call 9 of 25 is still known: status %d", s)
	}
	w.now += dupWindow - Time(time.Second)
	if s := w.call("m", 25, alice, mk(24)).Code(); s != OK {
		t.Errorf("forgotten within the window: status %d", s)
	}
	w.now += Time(2 * time.Second)
	if s := w.call("m", 25, alice, mk(24)).Code(); s != EEXIST {
		t.Errorf("remembered beyond the window: status %d", s)
	}
	if s := w.call("m", 25, alice, mk(24)).Code(); s != EEXIST {
		t.Errorf("the second answer under the same transaction id: status %d", s)
	}
	w.sound()
}

// What nobody may ask for any more does not stay for ever: of a machine that has gone either.
func TestExpiredAnswersAreSweptAway(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 1000 * dupShare})
	root := w.root()
	mk := func(i int) *Mkdir { return &Mkdir{Dir: root, Name: fmt.Sprint(i)} }
	for i := range 100 {
		w.call(fmt.Sprint("gone", i%50), uint32(i+1), alice, mk(i))
	}
	w.now += dupWindow + 1
	for i := range 60 * dupSweep {
		w.call("here", uint32(i+1), alice, mk(1000+i))
	}
	w.sound()
	if n := w.fs.super.dupCount; n > 2000 || n < 1000 {
		t.Errorf("%d answers are kept, want those of the machine that is here", n)
	}
	if w.fs.view().dupMachine(dupCallOf(0, &Op{Machine: "gone7"}, nil).machine) != (dupMachine{}) {
		t.Error("a machine that has gone still has a record")
	}
}

// A machine that sends as fast as it can makes the server forget its own calls, not those of others.
func TestAMachineCannotMakeOthersForgotten(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 10 * dupShare})
	root := w.root()
	mk := func(i int) *Mkdir { return &Mkdir{Dir: root, Name: fmt.Sprint(i)} }
	w.call("quiet", 1, alice, mk(0))
	for i := range 1005 {
		w.callFrom(0, &Op{Cred: bob, Machine: "noisy", Caller: uint32(i), XID: uint32(i + 1), Args: mk(1 + i)})
	}
	w.sound()
	if n := w.fs.super.dupCount; n != 16 {
		t.Errorf("%d answers are kept, want 15 of the noisy machine and 1 of the other", n)
	}
	if s := w.call("quiet", 1, alice, mk(0)).Code(); s != OK {
		t.Errorf("the quiet machine's call: status %d", s)
	}
	// Many machines together do: there is a bound on all.
	for i := range 500 {
		w.call(fmt.Sprint("machine", i), 1, bob, mk(2000+i))
		if n := w.fs.super.dupCount; n > 10*dupShare {
			t.Fatalf("%d answers are kept, at most %d are allowed", n, 10*dupShare)
		}
	}
	w.sound()
	if n := w.fs.super.dupCount; n < 10*dupShare/2 {
		t.Errorf("%d answers are kept of %d that may be", n, 10*dupShare)
	}
	if s := w.call("quiet", 1, alice, mk(0)).Code(); s != EEXIST {
		t.Errorf("an old answer is still known after 500 machines sent theirs: status %d", s)
	}
}

// The bytes of a cache that is full of the longest operations' answers are bounded by their number.
func TestDuplicatesAreBoundedInBytes(t *testing.T) {
	const most = 1000
	w := newWorld(t, Config{Duplicates: most})
	root := w.root()
	before := w.fs.tree.Reader().Size()
	names := uint64(0)
	for i := range 3 * most {
		name := fmt.Sprint(strings.Repeat("n", 200), i%10)
		r := w.call(fmt.Sprint("10.0.0.", i%100), uint32(1000+i), alice, &Symlink{Dir: root, Name: name, Target: strings.Repeat("t", PathMax)})
		if r.Code() == OK {
			names += PathMax + 400
		}
	}
	w.sound()
	if got := w.fs.tree.Reader().Size() - before - names; got > most*500 {
		t.Errorf("%d answers take %d bytes", most, got)
	}
}

func TestDuplicatesAreUnderTheRoot(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 10})
	root := w.root()
	w.call("m", 1, alice, &Mkdir{Dir: root, Name: "d"})
	snap := w.fs.Snapshot()
	other := New(Config{})
	if err := other.Load(pairsOf(t, snap, nil)); err != nil {
		t.Fatal(err)
	}
	op := EncodeOp(&Op{Cred: alice, Machine: "m", XID: 1, Args: &Mkdir{Dir: root, Name: "d"}})
	if !bytes.Equal(w.fs.Execute(op, w.now), other.Execute(op, w.now+5)) {
		t.Error("a replica that took the state over does not know the call")
	}
	if other.Root() != snap.Root() {
		t.Error("answering a call sent again changed the state")
	}
}

// A tentative execution that is undone is forgotten: the call has not been executed.
func TestARollbackForgetsAnswers(t *testing.T) {
	w := newWorld(t, Config{})
	root := w.root()
	before := w.fs.Snapshot()
	w.call("m", 1, alice, &Mkdir{Dir: root, Name: "d"})
	w.fs.Rollback(before)
	w.sound()
	if s := w.do(alice, &Lookup{Dir: root, Name: "d"}).Code(); s != ENOENT {
		t.Fatalf("status %d", s)
	}
	w.call("m", 1, alice, &Mkdir{Dir: root, Name: "d"})
	if s := w.do(alice, &Lookup{Dir: root, Name: "d"}).Code(); s != OK {
		t.Errorf("the call was answered and not executed: status %d", s)
	}
}

func TestLongOperationsAreToldApart(t *testing.T) {
	a := EncodeOp(&Op{Args: &Write{Data: make([]byte, IOMax)}})
	b := bytes.Clone(a)
	b[len(b)/2]++
	if dupHash(a) == dupHash(b) {
		t.Error("data beyond the first bytes does not count")
	}
	if dupHash(a) != dupHash(bytes.Clone(a)) {
		t.Error("equal operations have different hashes")
	}
}
