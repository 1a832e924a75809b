package fsstate

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

func ptr[T any](v T) *T { return &v }

// sampleOps holds one operation of every kind, every field set.
func sampleOps() []*Op {
	h := Handle{Ino: 7, Gen: 0xdeadbeef01020304}
	set := SetAttrs{
		Mode: ptr(uint32(0o4755)), UID: ptr(uint32(1000)), GID: ptr(uint32(100)), Size: ptr(uint64(1) << 40),
		Atime: SetTime{How: TimeServer}, Mtime: SetTime{How: TimeClient, Time: 1234567890123456789},
	}
	all := []Args{
		&GetAttr{Object: h},
		&SetAttr{Object: h, Set: set, Guard: ptr(Time(99))},
		&Lookup{Dir: h, Name: "file"},
		&Access{Object: h, Mask: 0x3f},
		&ReadLink{Object: h},
		&Read{Object: h, Offset: 1 << 33, Count: IOMax},
		&Write{Object: h, Offset: 4096, Data: []byte("hello, world")},
		&Create{Dir: h, Name: "new\xff", How: Exclusive, Set: set, Verf: 1<<63 + 1},
		&Mkdir{Dir: h, Name: "dir", Set: set},
		&Symlink{Dir: h, Name: "sym", Set: set, Target: "../else/where"},
		&Mknod{Dir: h, Name: "dev", Type: TypeBlock, Set: set, Major: 8, Minor: 1},
		&Remove{Dir: h, Name: "x"},
		&Rmdir{Dir: h, Name: "y"},
		&Rename{FromDir: h, FromName: "a", ToDir: Handle{Ino: 1, Gen: 2}, ToName: "b"},
		&Link{Object: h, Dir: Handle{Ino: 1, Gen: 2}, Name: "l"},
		&ReadDir{Dir: h, Cookie: 3, Verf: 4, Plus: true, Limits: [2]DirLimit{{Bytes: 4096, PerEntry: 24}, {Bytes: 8192, PerEntry: 120}}},
		&StatFS{Object: h},
		&Resolve{Path: "/a/b"},
	}
	all = append(all, sampleLockArgs(h)...)
	all = append(all, &SetPolicy{Order: []byte("order"), Signature: []byte("signature")}, &GetPolicy{}, &ListExports{},
		&SetKey{Order: []byte("order"), Signature: []byte("signature")}, &GetKeys{})
	ops := make([]*Op, len(all))
	for i, a := range all {
		ops[i] = &Op{Cred: Cred{UID: 1000, GID: 100, GIDs: []uint32{4, 24, 100000}}, Machine: "192.0.2.1", Caller: 0xbee, XID: 0xcafe, Args: a}
	}
	return ops
}

// sampleResults holds one result of every kind, every field set.
func sampleResults() map[Kind]Result {
	attr := &Attr{
		Type: TypeRegular, Mode: 0o644, Nlink: 1, UID: 2, GID: 3, Size: 4, Used: 5, Major: 6, Minor: 7, Ino: 8, Gen: 9,
		Atime: 10, Mtime: -11, Ctime: 12,
	}
	wcc := Wcc{Before: &PreAttr{Size: 1, Mtime: 2, Ctime: 3}, After: attr}
	h := Handle{Ino: 8, Gen: 9}
	samples := map[Kind]Result{
		KindGetAttr:  &GetAttrResult{Attr: *attr},
		KindSetAttr:  &SetAttrResult{Head: Head{ENOTSYNC}, Wcc: wcc},
		KindLookup:   &LookupResult{Object: h, Attr: attr, Dir: attr},
		KindAccess:   &AccessResult{Attr: attr, Granted: 5},
		KindReadLink: &ReadLinkResult{Attr: attr, Target: "t"},
		KindRead:     &ReadResult{Attr: attr, EOF: true, Data: []byte("data")},
		KindWrite:    &WriteResult{Wcc: wcc, Count: 4},
		KindCreate:   &CreateResult{Object: h, Attr: attr, Dir: wcc},
		KindMkdir:    &CreateResult{Object: h, Attr: attr, Dir: wcc},
		KindSymlink:  &CreateResult{Object: h, Attr: attr, Dir: wcc},
		KindMknod:    &CreateResult{Object: h, Attr: attr, Dir: wcc},
		KindRemove:   &RemoveResult{Dir: wcc},
		KindRmdir:    &RemoveResult{Head: Head{ENOTEMPTY}, Dir: wcc},
		KindRename:   &RenameResult{From: wcc, To: wcc},
		KindLink:     &LinkResult{Attr: attr, Dir: wcc},
		KindReadDir: &ReadDirResult{Dir: attr, Verf: 1, Entries: []DirEntry{
			{Name: ".", Cookie: 1, Ino: 8, Gen: 9, Attr: attr}, {Name: "..", Cookie: 2, Ino: 1, Gen: 1},
		}},
		KindStatFS:  &StatFSResult{Attr: attr, TotalBytes: 1, FreeBytes: 2, TotalFiles: 3, FreeFiles: 4},
		KindResolve: &LookupResult{Object: h, Attr: attr},
	}
	maps.Copy(samples, sampleLockResults(h))
	export := Export{
		Path: "/a", Dir: 7, ReadOnly: true, Squash: SquashAll, AnonUID: 65534, AnonGID: 65533, FrontEnds: []FrontEnd{0, 100}, Machines: []string{"10.0.0.0/8"},
	}
	maps.Copy(samples, map[Kind]Result{
		KindSetPolicy:   &SetPolicyResult{Head: Head{ENOENT}, Version: 3, Failed: "/a"},
		KindGetPolicy:   &GetPolicyResult{Policy: Policy{Version: 3, Exports: []Export{export}}},
		KindSetKey:      &SetKeyResult{Head: Head{ENOTSYNC}, Version: 3, Number: 2},
		KindGetKeys:     &GetKeysResult{Version: 3, Keys: []MemberKey{{Member: 100, Number: 2, Version: 3, Key: []byte("key")}}},
		KindListExports: &ListExportsResult{Exports: []ExportEntry{{Path: "/a", Machines: []string{"10.0.0.0/8"}}}},
	})
	return samples
}

func TestOpRoundTrip(t *testing.T) {
	seen := map[Kind]bool{}
	for _, op := range sampleOps() {
		seen[op.Args.Kind()] = true
		b := EncodeOp(op)
		got, err := DecodeOp(b)
		if err != nil {
			t.Fatalf("%T: %v", op.Args, err)
		}
		if d := cmp.Diff(op, got); d != "" {
			t.Errorf("%T changed on its way (-sent +got):\n%s", op.Args, d)
		}
		if again := EncodeOp(got); !bytes.Equal(again, b) {
			t.Errorf("%T: the same value gave other bytes", op.Args)
		}
		if pre := AppendOp([]byte("pre"), op); !bytes.Equal(pre, append([]byte("pre"), b...)) {
			t.Errorf("%T: AppendOp gave other bytes than EncodeOp", op.Args)
		}
	}
	for k := KindNone + 1; k < kindEnd; k++ {
		if !seen[k] {
			t.Errorf("no sample of kind %d", k)
		}
	}
}

func TestResultRoundTrip(t *testing.T) {
	samples := sampleResults()
	for k := KindNone + 1; k < kindEnd; k++ {
		r, ok := samples[k]
		if !ok {
			t.Fatalf("no sample of kind %d", k)
		}
		b := EncodeResult(r)
		got, err := DecodeResult(k, b)
		if err != nil {
			t.Fatalf("%T: %v", r, err)
		}
		if d := cmp.Diff(r, got); d != "" {
			t.Errorf("%T changed on its way (-sent +got):\n%s", r, d)
		}
	}
}

func TestStatusAloneDecodesAsEveryKind(t *testing.T) {
	b := EncodeResult(Head{Status: EBADOP})
	for k := KindNone + 1; k < kindEnd; k++ {
		got, err := DecodeResult(k, b)
		if err != nil {
			t.Fatalf("kind %d: %v", k, err)
		}
		if d := cmp.Diff(NewResult(k, EBADOP), got); d != "" {
			t.Errorf("kind %d (-want +got):\n%s", k, d)
		}
	}
}

// TestGoldenEncodings pins the bytes that replicas of different builds must agree on. UPDATE_GOLDEN=1 rewrites the file.
func TestGoldenEncodings(t *testing.T) {
	var buf strings.Builder
	for _, op := range sampleOps() {
		fmt.Fprintf(&buf, "op %d %x\n", op.Args.Kind(), EncodeOp(op))
	}
	samples := sampleResults()
	for k := KindNone + 1; k < kindEnd; k++ {
		fmt.Fprintf(&buf, "result %d %x\n", k, EncodeResult(samples[k]))
	}
	path := filepath.Join("testdata", "encodings.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(buf.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), buf.String()); d != "" {
		t.Errorf("the encoding changed, which splits replicas of different builds (-golden +now):\n%s", d)
	}
}

// plainMsgpack is the encoding as go-msgpack alone gives it: the definition that codec_hot.go is held to.
func plainMsgpack(t testing.TB, v any) []byte {
	var b []byte
	if err := codec.NewEncoderBytes(&b, newMsgpack()).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b
}

// plainOp is an operation as go-msgpack sees it.
type plainOp struct {
	Env  envelope
	Args any
}

func checkOpEncoding(t testing.TB, op *Op) {
	t.Helper()
	plain := plainMsgpack(t, &plainOp{envelope{op.Args.Kind(), op.Cred, op.Machine, op.Caller, op.XID}, op.Args})
	if got := EncodeOp(op); !bytes.Equal(got, plain) {
		t.Errorf("%T is encoded as\n%x, go-msgpack gives\n%x", op.Args, got, plain)
	}
	want := NewArgs(op.Args.Kind())
	if err := codec.NewDecoderBytes(plain, newMsgpack()).Decode(&plainOp{Args: want}); err != nil {
		t.Fatal(err)
	}
	if op.check() != nil {
		return
	}
	got, err := DecodeOp(plain)
	if err != nil {
		t.Fatalf("%T: %v", op.Args, err)
	}
	if !reflect.DeepEqual(want, got.Args) { // which compares a megabyte at once, not byte by byte
		t.Errorf("%T (-go-msgpack +ours):\n%s", op.Args, cmp.Diff(want, got.Args))
	}
}

func checkResultEncoding(t testing.TB, kind Kind, r Result) {
	t.Helper()
	plain := plainMsgpack(t, r)
	if got := EncodeResult(r); !bytes.Equal(got, plain) {
		t.Errorf("%T is encoded as\n%x, go-msgpack gives\n%x", r, got, plain)
	}
	want := NewResult(kind, OK)
	if err := codec.NewDecoderBytes(plain, newMsgpack()).Decode(want); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeResult(kind, plain)
	if err != nil {
		t.Fatalf("%T: %v", r, err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%T (-go-msgpack +ours):\n%s", r, cmp.Diff(want, got))
	}
}

// TestEncodingIsGoMsgpacks holds the encoders and decoders made by hand equal to go-msgpack: on the samples, on every
// length at which the encoding of data changes, and on random values, which favor the bounds of number formats.
func TestEncodingIsGoMsgpacks(t *testing.T) {
	for _, op := range sampleOps() {
		checkOpEncoding(t, op)
	}
	for kind, r := range sampleResults() {
		checkResultEncoding(t, kind, r)
	}
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65535, 65536, IOMax} {
		data := bytes.Repeat([]byte{7}, n)
		checkOpEncoding(t, &Op{Args: &Write{Object: Handle{1, 2}, Offset: 3, Data: data}})
		checkResultEncoding(t, KindRead, &ReadResult{EOF: true, Data: data})
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		op := &Op{Args: NewArgs(KindNone + 1 + Kind(rnd.IntN(int(kindEnd)-1)))}
		randomize(rnd, reflect.ValueOf(&op.Cred).Elem())
		randomize(rnd, reflect.ValueOf(op.Args).Elem())
		checkOpEncoding(t, op)
		kind := KindNone + 1 + Kind(rnd.IntN(int(kindEnd)-1))
		r := NewResult(kind, OK)
		randomize(rnd, reflect.ValueOf(r).Elem())
		checkResultEncoding(t, kind, r)
		if t.Failed() {
			return
		}
	}
}

// randomize sets everything below v.
func randomize(rnd *rand.Rand, v reflect.Value) {
	near := func() int64 { // a bound of some number format, or close to it
		return (int64(1)<<rnd.IntN(64) + int64(rnd.IntN(3)) - 1) * int64(1-2*rnd.IntN(2))
	}
	switch v.Kind() {
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(near()) << (64 - v.Type().Bits()) >> (64 - v.Type().Bits()))
	case reflect.Int64:
		v.SetInt(near())
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.String:
		v.SetString(strings.Repeat("s", rnd.IntN(40)))
	case reflect.Pointer:
		if rnd.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			randomize(rnd, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			randomize(rnd, v.Field(i))
		}
	case reflect.Slice:
		if rnd.IntN(4) > 0 {
			v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(20), 20))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			randomize(rnd, v.Index(i))
		}
	default:
		panic(v.Kind())
	}
}

// TestReadIsEncodedAsItsResult holds the short cut of Execute equal to encoding the typed result.
func TestReadIsEncodedAsItsResult(t *testing.T) {
	w := newWorld(t, Config{})
	f := w.create(superuser, w.root(), "f", 0o644)
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65535, 65536, IOMax} {
		w.write(superuser, f, 0, strings.Repeat("x", n))
		for _, a := range []*Read{{f, 0, uint32(n)}, {f, 1, IOMax}, {f, uint64(n), 1}, {Handle{}, 0, 1}} {
			op := &Op{Cred: superuser, Args: a}
			if got, want := w.fs.Execute(EncodeOp(op), w.now), EncodeResult(w.fs.Apply(op, w.now)); !bytes.Equal(got, want) {
				t.Errorf("read of %d bytes at %d: %d bytes %x…, want %d bytes %x…", a.Count, a.Offset, len(got), got[:8], len(want), want[:8])
			}
		}
	}
}

func TestWriteDataAliasesItsEncoding(t *testing.T) {
	b := EncodeOp(&Op{Args: &Write{Data: bytes.Repeat([]byte{1}, 1000)}})
	op, err := DecodeOp(b)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] = 9
	if data := op.Args.(*Write).Data; data[999] != 9 {
		t.Error("the data was copied")
	}
}

func TestDecodeOpRefuses(t *testing.T) {
	long := strings.Repeat("n", NameMax+1)
	many := make([]uint32, GroupsMax+1)
	for name, c := range map[string]struct {
		op   *Op
		want Status
	}{
		"long name":           {&Op{Args: &Lookup{Name: long}}, ENAMETOOLONG},
		"empty name":          {&Op{Args: &Remove{}}, EINVAL},
		"slash":               {&Op{Args: &Mkdir{Name: "a/b"}}, EINVAL},
		"NUL":                 {&Op{Args: &Create{Name: "a\x00"}}, EINVAL},
		"second rename name":  {&Op{Args: &Rename{FromName: "a", ToName: long}}, ENAMETOOLONG},
		"long target":         {&Op{Args: &Symlink{Name: "a", Target: strings.Repeat("t", PathMax+1)}}, ENAMETOOLONG},
		"empty target":        {&Op{Args: &Symlink{Name: "a"}}, ENOENT},
		"long path":           {&Op{Args: &Resolve{Path: strings.Repeat("t", PathMax+1)}}, ENAMETOOLONG},
		"large read":          {&Op{Args: &Read{Count: IOMax + 1}}, EINVAL},
		"large write":         {&Op{Args: &Write{Data: make([]byte, IOMax+1)}}, EINVAL},
		"larger write":        {&Op{Args: &Write{Data: make([]byte, OpMax)}}, EBADOP},
		"many groups":         {&Op{Cred: Cred{GIDs: many}, Args: &GetAttr{}}, EBADOP},
		"long machine":        {&Op{Machine: long, Args: &GetAttr{}}, EBADOP},
		"unknown create mode": {&Op{Args: &Create{Name: "a", How: 3}}, EBADOP},
		"long lock owner":     {&Op{Args: &Unlock{Owner: LockOwner{OH: strings.Repeat("o", LockOwnerMax+1)}}}, EBADOP},
		"long lock client":    {&Op{Args: &LockRelease{Client: LockClient{Name: long}}}, EBADOP},
		"long via":            {&Op{Args: &LockTest{Owner: LockOwner{Client: LockClient{Via: long}}}}, EBADOP},
		"long front end":      {&Op{Args: &Lock{Front: long}}, EBADOP},
		"long server":         {&Op{Args: &Lock{Server: long}}, EBADOP},
		"long front end asks": {&Op{Args: &LockGrants{Front: long}}, EBADOP},
		"unknown answer":      {&Op{Args: &LockAnswer{Answer: GrantUndelivered + 1}}, EBADOP},
		"many to renew":       {&Op{Args: &LockRenew{Clients: make([]uint64, LockListMax+1)}}, EBADOP},
		"unknown share bit":   {&Op{Args: &Share{Access: 4}}, EBADOP},
		"unknown deny bit":    {&Op{Args: &Share{Deny: 4}}, EBADOP},
		"unknown time source": {&Op{Args: &SetAttr{Set: SetAttrs{Atime: SetTime{How: 3}}}}, EBADOP},
	} {
		_, err := DecodeOp(EncodeOp(c.op))
		var oe *OpError
		if !errors.As(err, &oe) {
			t.Errorf("%s: error %v, want an *OpError", name, err)
		} else if oe.Status != c.want {
			t.Errorf("%s: status %d (%v), want %d", name, oe.Status, oe, c.want)
		}
	}
	good := EncodeOp(&Op{Args: &Lookup{Name: "n"}})
	for name, b := range map[string][]byte{
		"nothing":      {},
		"not an array": {0x01, 0x02},
		"trailing":     append(bytes.Clone(good), 0),
		"cut":          good[:len(good)-1],
		"kind 0":       {arrayOf2, 0x95, 0, 0x93, 0, 0, 0xc0, 0xa0, 0, 0, 0x90},
		"kind 255":     {arrayOf2, 0x95, 0xcc, 255, 0x93, 0, 0, 0xc0, 0xa0, 0, 0, 0x90},
	} {
		if _, err := DecodeOp(b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

// TestNumbersThatDoNotFitAreRefused puts 2^32 where 32 bits belong.
func TestNumbersThatDoNotFitAreRefused(t *testing.T) {
	big := []byte{0xcf, 0, 0, 0, 1, 0, 0, 0, 0}
	b := EncodeOp(&Op{Cred: Cred{UID: 77}, Args: &Access{Object: Handle{1, 2}, Mask: 88}})
	for _, small := range []byte{77, 88} {
		i := bytes.IndexByte(b, small)
		if op, err := DecodeOp(slices.Replace(bytes.Clone(b), i, i+1, big...)); err == nil {
			t.Errorf("decoded as %+v", op)
		}
	}
	r := EncodeResult(&WriteResult{Count: 99})
	i := bytes.IndexByte(r, 99)
	if got, err := DecodeResult(KindWrite, slices.Replace(r, i, i+1, big...)); err == nil {
		t.Errorf("decoded as %+v", got)
	}
}

func TestCodecIsSafeForConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, op := range sampleOps() {
					got, err := DecodeOp(EncodeOp(op))
					if err != nil || !reflect.DeepEqual(op, got) {
						t.Errorf("%T: %v, %v", op.Args, got, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func FuzzDecodeOp(f *testing.F) {
	for _, op := range sampleOps() {
		f.Add(EncodeOp(op))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := DecodeOp(b)
		if err != nil {
			return
		}
		checkOpEncoding(t, op)
		canonical := EncodeOp(op)
		again, err := DecodeOp(canonical)
		if err != nil {
			t.Fatalf("own encoding refused: %v\n%s", err, hex.Dump(canonical))
		}
		if !bytes.Equal(EncodeOp(again), canonical) {
			t.Fatalf("encoding is not a fixed point:\n%s", hex.Dump(canonical))
		}
		// What the decoders made by hand accept, go-msgpack decodes alike.
		want := &plainOp{Args: NewArgs(op.Args.Kind())}
		if err := codec.NewDecoderBytes(b, newMsgpack()).Decode(want); err != nil {
			t.Fatalf("go-msgpack refuses it: %v", err)
		}
		if want.Args == nil { // it was encoded as nil, which stands for the zero value
			want.Args = NewArgs(op.Args.Kind())
		}
		if d := cmp.Diff(want, &plainOp{envelope{op.Args.Kind(), op.Cred, op.Machine, op.Caller, op.XID}, op.Args}); d != "" {
			t.Fatalf("-go-msgpack +ours:\n%s", d)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	samples := sampleResults()
	for k := KindNone + 1; k < kindEnd; k++ {
		f.Add(uint8(k), EncodeResult(samples[k]))
	}
	f.Fuzz(func(t *testing.T, k uint8, b []byte) {
		kind := Kind(k)
		r, err := DecodeResult(kind, b)
		if err != nil {
			return
		}
		checkResultEncoding(t, kind, r)
		canonical := EncodeResult(r)
		again, err := DecodeResult(kind, canonical)
		if err != nil {
			t.Fatalf("own encoding refused: %v\n%s", err, hex.Dump(canonical))
		}
		if !bytes.Equal(EncodeResult(again), canonical) {
			t.Fatalf("encoding is not a fixed point:\n%s", hex.Dump(canonical))
		}
		want := NewResult(kind, OK)
		if err := codec.NewDecoderBytes(b, newMsgpack()).Decode(want); err != nil {
			t.Fatalf("go-msgpack refuses it: %v", err)
		}
		if d := cmp.Diff(want, r); d != "" {
			t.Fatalf("-go-msgpack +ours:\n%s", d)
		}
	})
}
