package fsstate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// signedBy is a Config.Signed by which a signature is the message in reverse.
func TestSetPolicy_squashedToNobodysNumber(t *testing.T) {
	for _, e := range []Export{{Path: "/", Squash: SquashAll, AnonUID: noID}, {Path: "/", Squash: SquashRoot, AnonGID: noID}} {
		if _, err := e.check(); err == nil {
			t.Errorf("%+v is taken", e)
		}
	}
}

func signedBy(_ MemberKeys, message, signature []byte) bool {
	s := slices.Clone(signature)
	slices.Reverse(s)
	return bytes.Equal(message, s)
}

func signature(order []byte) []byte {
	s := append([]byte(PolicyOrderDomain), order...)
	slices.Reverse(s)
	return s[:min(len(s), 4*signatureMax)]
}

// exports replaces the policy of the world, which is signed for it.
func (w *world) exports(exports ...Export) {
	w.Helper()
	w.fs.signed = func(MemberKeys, []byte, []byte) bool { return true }
	order, err := EncodePolicyOrder(&PolicyOrder{Replaces: w.fs.view().policy().Version, Exports: exports})
	if err != nil {
		w.Fatal(err)
	}
	r := w.do(superuser, &SetPolicy{Order: order}).(*SetPolicyResult)
	if r.Status != OK {
		w.Fatalf("setting the policy: %+v", r)
	}
	w.sound()
}

func TestPolicyIsSetByOrdersThatAnOperatorSigned(t *testing.T) {
	w := newWorld(t, Config{Signed: signedBy})
	root := w.root()
	w.mkdir(alice, root, "a", 0o755)
	w.create(alice, root, "file", 0o644)
	must[*CreateResult](w, alice, &Symlink{Dir: root, Name: "link", Target: "a"})
	encoded := func(replaces uint64, exports ...Export) []byte {
		b, err := EncodePolicyOrder(&PolicyOrder{Replaces: replaces, Exports: exports})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := encoded(0, Export{Path: "/a", ReadOnly: true, Dir: 99}, Export{Path: "/"})
	later := encoded(1, Export{Path: "/"})
	bad := func(e Export) []byte { return appendValue(nil, &PolicyOrder{Exports: []Export{e}}) }
	for _, tc := range []struct {
		name    string
		order   []byte
		sig     []byte
		want    Status
		version uint64
	}{
		{"not signed", good, nil, EPERM, 0},
		{"signed by nobody", good, signature(good)[1:], EPERM, 0},
		{"another order signed", good, signature(later), EPERM, 0},
		{"of a version to come", later, signature(later), ENOTSYNC, 0},
		{"garbage", []byte("garbage"), signature([]byte("garbage")), EBADOP, 0},
		{"bytes after it", append(bytes.Clone(good), 0), signature(append(bytes.Clone(good), 0)), EBADOP, 0},
		{"a relative path", bad(Export{Path: "a"}), signature(bad(Export{Path: "a"})), EINVAL, 0},
		{"an unclean path", bad(Export{Path: "/a/../b"}), signature(bad(Export{Path: "/a/../b"})), EINVAL, 0},
		{"a path with an end", bad(Export{Path: "/a/"}), signature(bad(Export{Path: "/a/"})), EINVAL, 0},
		{"an unknown squash", bad(Export{Path: "/", Squash: 3}), signature(bad(Export{Path: "/", Squash: 3})), EINVAL, 0},
		{"no network", bad(Export{Path: "/", Machines: []string{"x"}}), signature(bad(Export{Path: "/", Machines: []string{"x"}})), EINVAL, 0},
		{"nothing there", encoded(0, Export{Path: "/b"}), signature(encoded(0, Export{Path: "/b"})), ENOENT, 0},
		{"a file", encoded(0, Export{Path: "/file"}), signature(encoded(0, Export{Path: "/file"})), ENOTDIR, 0},
		{"a symbolic link", encoded(0, Export{Path: "/link"}), signature(encoded(0, Export{Path: "/link"})), ENOTDIR, 0},
		{"good", good, signature(good), OK, 1},
		{"the same again", good, signature(good), ENOTSYNC, 1},
		{"the next", later, signature(later), OK, 2},
		{"the first again", good, signature(good), ENOTSYNC, 2},
	} {
		before := w.fs.view().policy()
		r := w.callFrom(100, &Op{Cred: bob, Args: &SetPolicy{Order: tc.order, Signature: tc.sig}}).(*SetPolicyResult)
		if r.Status != tc.want || r.Version != tc.version {
			t.Errorf("%s: %+v, want status %d and version %d", tc.name, r, tc.want, tc.version)
		}
		if d := cmp.Diff(before, w.fs.view().policy()); (d != "") != (tc.want == OK) {
			t.Errorf("%s: status %d, the policy changed:\n%s", tc.name, tc.want, d)
		}
		w.sound()
	}
	got := must[*GetPolicyResult](w, bob, &GetPolicy{}).Policy
	if d := cmp.Diff(Policy{Version: 2, Exports: []Export{{Path: "/", Dir: rootIno}}}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestWithoutOperatorsThePolicyCannotBeChanged(t *testing.T) {
	w := newWorld(t, Config{})
	order, err := EncodePolicyOrder(&PolicyOrder{Exports: []Export{{Path: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	if s := w.do(superuser, &SetPolicy{Order: order}).Code(); s != EPERM {
		t.Errorf("status %d", s)
	}
	want := Policy{Exports: []Export{{Path: "/", Dir: rootIno}}}
	if d := cmp.Diff(want, must[*GetPolicyResult](w, bob, &GetPolicy{}).Policy); d != "" {
		t.Errorf("the policy of a file system without one (-want +got):\n%s", d)
	}
}

func TestPolicyIsBounded(t *testing.T) {
	many := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("10.0.%d.0/24", i)
		}
		return list
	}
	long := func(n int) string { return strings.Repeat("/"+strings.Repeat("x", 99), n) }
	full := make([]Export, ExportsMax)
	for i := range full {
		full[i] = Export{Path: long(5), Machines: many(ExportListMax)}
	}
	for name, tc := range map[string]struct {
		exports []Export
		good    bool
	}{
		"as many as there may be":  {make64("/"), true},
		"too many":                 {append(make64("/"), Export{Path: "/"}), false},
		"many networks":            {[]Export{{Path: "/", Machines: many(ExportListMax)}}, true},
		"too many networks":        {[]Export{{Path: "/", Machines: many(ExportListMax + 1)}}, false},
		"too many front ends":      {[]Export{{Path: "/", FrontEnds: make([]FrontEnd, ExportListMax+1)}}, false},
		"a path of 4000 bytes":     {[]Export{{Path: long(40)}}, true},
		"a path of 4100 bytes":     {[]Export{{Path: long(41)}}, false},
		"a long name":              {[]Export{{Path: "/" + strings.Repeat("x", 256)}}, false},
		"a network with host bits": {[]Export{{Path: "/", Machines: []string{"10.0.0.1/8"}}}, false},
		"too large as a whole":     {full, false},
	} {
		if err := CheckExports(tc.exports); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func make64(path string) []Export {
	e := make([]Export, ExportsMax)
	for i := range e {
		e[i].Path = path
	}
	return e
}

// The policy is state: it is taken over, undone and restored with it.
func TestPolicyIsState(t *testing.T) {
	w := newWorld(t, Config{Exports: []Export{{Path: "/home/of/users", Squash: SquashRoot, AnonUID: 5}, {Path: "/home"}}})
	w.sound()
	first := w.fs.Snapshot()
	policy := must[*GetPolicyResult](w, bob, &GetPolicy{}).Policy
	if len(policy.Exports) != 2 || policy.Exports[0].Dir == rootIno || policy.Exports[0].Dir == policy.Exports[1].Dir {
		t.Fatalf("%+v", policy)
	}
	w.exports(Export{Path: "/home"})
	for name, fs := range w.takenOver(first) {
		if d := cmp.Diff(policy, fs.view().policy()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Who makes a cluster of a backup does not open what was closed: the policy stays, and names the front ends that are called
// as those of the cluster before were.
func TestPolicyStaysInAClusterMadeOfABackup(t *testing.T) {
	w := newWorld(t, Config{Signed: signedBy, Exports: []Export{{Path: "/"}}})
	a := w.mkdir(alice, w.root(), "a", 0o755)
	w.exports(Export{Path: "/", ReadOnly: true}, Export{Path: "/a", FrontEnds: []FrontEnd{100, 101}})
	want := must[*GetPolicyResult](w, bob, &GetPolicy{}).Policy
	want.Exports[1].FrontEnds = []FrontEnd{102, NoFrontEnd}
	called := func(id FrontEnd) FrontEnd {
		if id == 100 {
			return 102
		}
		return NoFrontEnd
	}
	if err := w.fs.Refound(Config{}, called); err != nil {
		t.Fatal(err)
	}
	w.sound()
	if d := cmp.Diff(want, must[*GetPolicyResult](w, bob, &GetPolicy{}).Policy); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for via, status := range map[FrontEnd]Status{100: EACCES, 101: EACCES, 102: OK} {
		if s := w.as(via, "10.0.0.1", alice, &GetAttr{Object: a}).Code(); s != status {
			t.Errorf("front end %d: status %d, want %d", via, s, status)
		}
	}
	other := New(Config{})
	if err := other.Load(pairsOf(t, w.fs.Snapshot(), nil)); err != nil || other.Root() != w.fs.Root() {
		t.Errorf("the state cannot be loaded: %v", err)
	}
	open := newWorld(t, Config{})
	if err := open.fs.Refound(Config{}, nil); err != nil || open.fs.super.policy != nil {
		t.Errorf("a state without a policy has one: %v", err)
	}
}

// Whatever an operator signs, it is taken or refused, and the state stays sound.
func FuzzSetPolicy(f *testing.F) {
	for _, exports := range [][]Export{nil, {{Path: "/"}}, {{Path: "/a", FrontEnds: []FrontEnd{1}, Machines: []string{"::/0"}}, {Path: "/a/b", Squash: SquashAll}}} {
		b, err := EncodePolicyOrder(&PolicyOrder{Exports: exports})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(bytes.Repeat([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}, 100))
	f.Fuzz(func(t *testing.T, order []byte) {
		w := newWorld(t, Config{Signed: func(MemberKeys, []byte, []byte) bool { return true }})
		a := w.mkdir(alice, w.root(), "a", 0o755)
		w.mkdir(alice, a, "b", 0o755)
		if (&SetPolicy{Order: order}).check() != nil {
			return
		}
		r := w.do(superuser, &SetPolicy{Order: order}).(*SetPolicyResult)
		w.sound()
		got := must[*GetPolicyResult](w, bob, &GetPolicy{}).Policy
		if got.Version != r.Version || (r.Status == OK) != (r.Version == 1) {
			t.Errorf("%+v, version %d is in use", r, got.Version)
		}
		other := New(Config{})
		if err := other.Load(pairsOf(t, w.fs.Snapshot(), nil)); err != nil || other.Root() != w.fs.Root() {
			t.Errorf("what was taken cannot be loaded: %v", err)
		}
		w.callFrom(1, &Op{Machine: "10.0.0.1", Args: &GetAttr{Object: a}})
	})
}
