package fsstate

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// call is one NFS call of a client's machine.
func (w *world) call(machine string, xid uint32, c Cred, a Args) Result {
	w.Helper()
	w.now++
	r, err := DecodeResult(a.Kind(), w.fs.Execute(EncodeOp(&Op{Cred: c, Machine: machine, XID: xid, Args: a}), w.now))
	if err != nil {
		w.Fatal(err)
	}
	return r
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
		"another user":           w.call("m", 4, bob, remove),
		"no transaction id":      w.call("m", 0, alice, remove),
		"no machine":             w.call("", 4, alice, remove),
	} {
		if r.Code() != ENOENT {
			t.Errorf("%s: status %d, as if it were the same call", name, r.Code())
		}
	}
}

func TestDuplicatesAreForgotten(t *testing.T) {
	w := newWorld(t, Config{Duplicates: 10})
	root := w.root()
	mk := func(i int) *Mkdir { return &Mkdir{Dir: root, Name: fmt.Sprint(i)} }
	for i := range 25 {
		w.call("m", uint32(i+1), alice, mk(i))
		if bad := Check(w.fs.Snapshot()); bad != nil {
			t.Fatal(bad)
		}
	}
	for i := 15; i < 25; i++ {
		if s := w.call("m", uint32(i+1), alice, mk(i)).Code(); s != OK {
			t.Errorf("call %d of 25 was forgotten already: status %d", i, s)
		}
	}
	if s := w.call("m", 15, alice, mk(14)).Code(); s != EEXIST {
		t.Errorf("call 14 of 25 is still known: status %d", s)
	}
	w.now += dupWindow - Time(time.Second)
	if s := w.call("m", 25, alice, mk(24)).Code(); s != OK {
		t.Errorf("forgotten within the window: status %d", s)
	}
	w.now += Time(2 * time.Second)
	if s := w.call("m", 25, alice, mk(24)).Code(); s != EEXIST {
		t.Errorf("remembered beyond the window: status %d", s)
	}
	if bad := Check(w.fs.Snapshot()); bad != nil {
		t.Error(bad)
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
