package fsstate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// The model of members' keys: members 100 to 103 may have other keys, 0 to 3 are there but may not. Operators sign as
// hashSigned has it, and a key is any bytes that nobody has or had.

// hashSigned is a Config.Signed by which a signature is the message's hash.
func hashSigned(_ MemberKeys, message, signature []byte) bool {
	sum := sha256.Sum256(message)
	return bytes.Equal(sum[:], signature)
}

func hashSignature(domain string, order []byte) []byte {
	sum := sha256.Sum256(append([]byte(domain), order...))
	return sum[:]
}

func modelMayHave(keys MemberKeys, member FrontEnd, key []byte) Status {
	switch {
	case member < 4:
		return ENOTSUPP
	case member < 100 || member > 103:
		return ENOENT
	case len(key) < 2:
		return EINVAL
	}
	for m := FrontEnd(100); m < 104; m++ {
		if k, ok := keys(m); ok && slices.Equal(k.Key, key) {
			return EEXIST
		}
	}
	return OK
}

func (m *model) keyVersion() (version uint64) {
	for _, k := range m.keys {
		version = max(version, k.Version)
	}
	return version
}

func (m *model) setKey(a *SetKey) *SetKeyResult {
	r := &SetKeyResult{Version: m.keyVersion()}
	var o KeyOrder
	switch {
	case !hashSigned(nil, append([]byte(KeyOrderDomain), a.Order...), a.Signature):
		r.Status = EPERM
		return r
	case decodeAll(a.Order, &o) != nil:
		r.Status = EBADOP
		return r
	}
	r.Number = m.keys[o.Member].Number
	switch {
	case o.Replaces != r.Version:
		r.Status = ENOTSYNC
	case o.Number > 3072:
		r.Status = EFBIG
	case o.Number <= r.Number || len(o.Key) == 0 || len(o.Key) > 256:
		r.Status = EINVAL
	default:
		r.Status = modelMayHave(func(id FrontEnd) (MemberKey, bool) { k, ok := m.keys[id]; return k, ok }, o.Member, o.Key)
	}
	if r.Status == OK {
		r.Version, r.Number = r.Version+1, o.Number
		m.keys[o.Member] = MemberKey{Member: o.Member, Number: o.Number, Version: r.Version, Key: o.Key}
	}
	return r
}

func (m *model) getKeys() *GetKeysResult {
	r := &GetKeysResult{Version: m.keyVersion()}
	for _, k := range m.keys {
		r.Keys = append(r.Keys, k)
	}
	slices.SortFunc(r.Keys, func(a, b MemberKey) int { return cmp.Compare(a.Member, b.Member) })
	return r
}

// keyOrder is mostly one that is taken.
func (h *history) keyOrder() *SetKey {
	member := FrontEnd(100 + h.intn("member", 4))
	o := KeyOrder{Replaces: h.model.keyVersion(), Member: member, Number: h.model.keys[member].Number + 1}
	o.Key = []byte{byte(member), byte(o.Replaces), byte(o.Replaces >> 8)}
	switch h.intn("odd order", 16) {
	case 0:
		o.Replaces += uint64(h.intn("version", 3)) - 1
	case 1:
		o.Member = pick(h, "odd member", FrontEnd(0), 3, 4, 99, 104, LocalFrontEnd)
	case 2:
		o.Number = pick(h, "number", uint32(0), o.Number-1, o.Number+1, KeyNumberMax+1)
	case 3:
		o.Key = pick(h, "key", nil, []byte{1}, make([]byte, 256), make([]byte, 257), h.model.keys[100].Key)
	}
	a := &SetKey{Order: EncodeKeyOrder(&o)}
	switch h.intn("odd bytes", 16) {
	case 0:
		a.Order = append(a.Order, 0)
	case 1:
		a.Order = a.Order[:h.intn("cut", len(a.Order))]
	}
	a.Signature = hashSignature(KeyOrderDomain, a.Order)
	if h.intn("forged", 16) == 0 {
		a.Signature = hashSignature(PolicyOrderDomain, a.Order)
	}
	return a
}

// memberKey gives a member of the world a key, by an order that is signed for it.
func (w *world) memberKey(member FrontEnd, key string) {
	w.Helper()
	w.fs.signed, w.fs.mayHave = hashSigned, func(MemberKeys, FrontEnd, []byte) Status { return OK }
	version, _ := w.fs.MemberKeys()
	now, _ := w.fs.MemberKey(member)
	order := EncodeKeyOrder(&KeyOrder{Replaces: version, Member: member, Number: now.Number + 1, Key: []byte(key)})
	r := w.do(superuser, &SetKey{Order: order, Signature: hashSignature(KeyOrderDomain, order)}).(*SetKeyResult)
	if r.Status != OK {
		w.Fatalf("setting a key: %+v", r)
	}
	w.sound()
}

func TestAMemberGetsAnotherKeyByASignedOrder(t *testing.T) {
	w := newWorld(t, Config{Signed: hashSigned, MayHave: modelMayHave})
	order := func(replaces uint64, member FrontEnd, number uint32, key string) []byte {
		return EncodeKeyOrder(&KeyOrder{Replaces: replaces, Member: member, Number: number, Key: []byte(key)})
	}
	first := order(0, 101, 1, "first")
	for _, tc := range []struct {
		name    string
		order   []byte
		domain  string
		want    Status
		version uint64
	}{
		{"not signed", first, "another domain ", EPERM, 0},
		{"signed as a policy", first, PolicyOrderDomain, EPERM, 0},
		{"no order", []byte("x"), KeyOrderDomain, EBADOP, 0},
		{"cut off", first[:len(first)-1], KeyOrderDomain, EBADOP, 0},
		{"with something behind", append(slices.Clone(first), 0), KeyOrderDomain, EBADOP, 0},
		{"an unknown member", order(0, 99, 1, "key"), KeyOrderDomain, ENOENT, 0},
		{"a replica", order(0, 3, 1, "key"), KeyOrderDomain, ENOTSUPP, 0},
		{"no key", order(0, 101, 1, ""), KeyOrderDomain, EINVAL, 0},
		{"no valid key", order(0, 101, 1, "x"), KeyOrderDomain, EINVAL, 0},
		{"a long key", order(0, 101, 1, strings.Repeat("x", 257)), KeyOrderDomain, EINVAL, 0},
		{"the number of the configured key", order(0, 101, 0, "key"), KeyOrderDomain, EINVAL, 0},
		{"a number that is none", order(0, 101, KeyNumberMax+1, "key"), KeyOrderDomain, EFBIG, 0},
		{"good", first, KeyOrderDomain, OK, 1},
		{"the same again", first, KeyOrderDomain, ENOTSYNC, 1},
		{"somebody else's key", order(1, 102, 1, "first"), KeyOrderDomain, EEXIST, 1},
		{"a number that was used", order(1, 101, 1, "second"), KeyOrderDomain, EINVAL, 1},
		{"the next", order(1, 101, 5, "second"), KeyOrderDomain, OK, 2},
		{"another member", order(2, 102, 1, "first"), KeyOrderDomain, OK, 3},
	} {
		before := must[*GetKeysResult](w, bob, &GetKeys{})
		r := w.do(bob, &SetKey{Order: tc.order, Signature: hashSignature(tc.domain, tc.order)}).(*SetKeyResult)
		if r.Status != tc.want || r.Version != tc.version {
			t.Errorf("%s: %+v, want status %d and version %d", tc.name, r, tc.want, tc.version)
		}
		if d := gocmp.Diff(before, must[*GetKeysResult](w, bob, &GetKeys{})); (d != "") != (tc.want == OK) {
			t.Errorf("%s: status %d, the keys changed:\n%s", tc.name, tc.want, d)
		}
		w.sound()
	}
	want := &GetKeysResult{Version: 3, Keys: []MemberKey{
		{Member: 101, Number: 5, Version: 2, Key: []byte("second")}, {Member: 102, Number: 1, Version: 3, Key: []byte("first")},
	}}
	if d := gocmp.Diff(want, must[*GetKeysResult](w, bob, &GetKeys{})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// An order is judged with the keys that orders before it gave: an operator whose key was replaced signs with the new one.
func TestOrdersAreJudgedWithTheKeysInForce(t *testing.T) {
	var seen []MemberKey
	w := newWorld(t, Config{MayHave: modelMayHave, Signed: func(keys MemberKeys, message, signature []byte) bool {
		if k, ok := keys(103); ok {
			seen = append(seen, k)
		}
		return hashSigned(keys, message, signature)
	}})
	for i, key := range []string{"first", "second", "third"} {
		order := EncodeKeyOrder(&KeyOrder{Replaces: uint64(i), Member: 103, Number: uint32(i + 1), Key: []byte(key)})
		must[*SetKeyResult](w, bob, &SetKey{Order: order, Signature: hashSignature(KeyOrderDomain, order)})
	}
	policy, err := EncodePolicyOrder(&PolicyOrder{Exports: []Export{{Path: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	must[*SetPolicyResult](w, bob, &SetPolicy{Order: policy, Signature: hashSignature(PolicyOrderDomain, policy)})
	if len(seen) != 3 || string(seen[0].Key) != "first" || string(seen[1].Key) != "second" || string(seen[2].Key) != "third" {
		t.Errorf("the operator's keys were %+v", seen)
	}
}

// The keys are state: they are taken over, undone and restored with it; another cluster that begins with the files of this
// one has keys of its own.
func TestMemberKeysAreState(t *testing.T) {
	w := newWorld(t, Config{})
	w.memberKey(100, "first")
	first := w.fs.Snapshot()
	want := must[*GetKeysResult](w, bob, &GetKeys{})
	w.memberKey(101, "second")
	w.memberKey(100, "third")
	for name, fs := range w.takenOver(first) {
		if d := gocmp.Diff(want, fs.view().getKeys()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if err := w.fs.Refound(Config{}, func(f FrontEnd) FrontEnd { return f }); err != nil {
		t.Fatal(err)
	}
	w.sound()
	if version, keys := w.fs.MemberKeys(); version != 0 || len(keys) != 0 {
		t.Errorf("another cluster has the keys of this one: %d, %+v", version, keys)
	}
}

func TestTheTableOfMembersKeysIsBounded(t *testing.T) {
	w := newWorld(t, Config{Signed: hashSigned, MayHave: func(MemberKeys, FrontEnd, []byte) Status { return OK }})
	set := func(version uint64, member FrontEnd, number uint32) Status {
		order := EncodeKeyOrder(&KeyOrder{Replaces: version, Member: member, Number: number, Key: bytes.Repeat([]byte{1}, memberKeyMax)})
		return w.do(bob, &SetKey{Order: order, Signature: hashSignature(KeyOrderDomain, order)}).Code()
	}
	for i := range uint64(MemberKeysMax) {
		if s := set(i, FrontEnd(100+i), 1); s != OK {
			t.Fatalf("key %d: status %d", i, s)
		}
	}
	if s := set(MemberKeysMax, 99, 1); s != ENOSPC {
		t.Errorf("one more: status %d", s)
	}
	if s := set(MemberKeysMax, 100, KeyNumberMax); s != OK {
		t.Errorf("another key for one that has one: status %d", s)
	}
	w.sound()
	loaded := New(Config{})
	if err := loaded.Load(pairsOf(t, w.fs.Snapshot(), nil)); err != nil || loaded.Root() != w.fs.Root() {
		t.Errorf("the largest table cannot be loaded: %v", err)
	}
	if got := must[*GetKeysResult](w, bob, &GetKeys{}); len(got.Keys) != MemberKeysMax {
		t.Errorf("%d keys are told", len(got.Keys))
	}
}

// Whatever an operator signs, it is taken or refused, and the state stays sound.
func FuzzSetKey(f *testing.F) {
	for _, o := range []KeyOrder{{}, {Member: 100, Number: 1, Key: []byte("key")}, {Replaces: 1, Member: ^FrontEnd(0), Number: ^uint32(0), Key: make([]byte, 300)}} {
		f.Add(EncodeKeyOrder(&o))
	}
	f.Add(bytes.Repeat([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}, 60))
	f.Fuzz(func(t *testing.T, order []byte) {
		w := newWorld(t, Config{Signed: func(MemberKeys, []byte, []byte) bool { return true }, MayHave: modelMayHave})
		if (&SetKey{Order: order}).check() != nil {
			return
		}
		r := w.do(superuser, &SetKey{Order: order}).(*SetKeyResult)
		w.sound()
		got := must[*GetKeysResult](w, bob, &GetKeys{})
		if got.Version != r.Version || (r.Status == OK) != (len(got.Keys) == 1) {
			t.Errorf("%+v, and %+v is in use", r, got)
		}
		other := New(Config{})
		if err := other.Load(pairsOf(t, w.fs.Snapshot(), nil)); err != nil || other.Root() != w.fs.Root() {
			t.Errorf("what was taken cannot be loaded: %v", err)
		}
	})
}
