package nfs3

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

func encode(m Message) []byte {
	var e xdr.Encoder
	m.Encode(&e)
	return e.Bytes()
}

// reencode decodes b as m and encodes it again; ok is false if it does not decode.
func reencode(m Message, b []byte) (again []byte, ok bool) {
	d := xdr.NewDecoder(b)
	m.Decode(d)
	if d.Finish() != nil {
		return nil, false
	}
	return encode(m), true
}

// sattrOf is RFC 1813's sattr3 that sets everything.
func sattrOf() Sattr {
	mode, uid, gid, size := uint32(0o644), uint32(1), uint32(2), uint64(3)
	return Sattr{
		Mode: &mode, UID: &uid, GID: &gid, Size: &size,
		Atime: SetTime{How: SetToServerTime}, Mtime: SetTime{How: SetToClientTime, Time: Time{4, 5}},
	}
}

var (
	fattrOf = &Fattr{
		Type: TypeChar, Mode: 1, Nlink: 2, UID: 3, GID: 4, Size: 5, Used: 6, Rdev: SpecData{7, 8}, FSID: 9, FileID: 10,
		Atime: Time{11, 12}, Mtime: Time{13, 14}, Ctime: Time{15, 16},
	}
	wccOf = Wcc{Before: &WccAttr{Size: 1, Mtime: Time{2, 3}, Ctime: Time{4, 5}}, After: fattrOf}
	fhOf  = FH{1, 2, 3, 4, 5}
)

// samples are arguments and results of every procedure: with all optional parts, without them, and failures.
func samples() map[Proc]struct{ args, results []Message } {
	where := DirOpArgs{Dir: fhOf, Name: "name"}
	type pair = struct{ args, results []Message }
	handle := []Message{&HandleArgs{Object: fhOf}, &HandleArgs{Object: FH{}}}
	created := []Message{
		&CreateRes{Object: fhOf, Attr: fattrOf, Dir: wccOf}, &CreateRes{}, &CreateRes{Status: ErrExist, Dir: wccOf},
	}
	wcc := []Message{&WccRes{Wcc: wccOf}, &WccRes{}, &WccRes{Status: ErrNotSync, Wcc: wccOf}}
	entries := []Entry{{FileID: 1, Name: ".", Cookie: 1}, {FileID: 2, Name: "a name", Cookie: 1 << 40}}
	plus := []Entry{{FileID: 1, Name: ".", Cookie: 1, Attr: fattrOf, Object: fhOf}, {FileID: 2, Name: "x", Cookie: 3}}
	return map[Proc]pair{
		ProcNull:    {[]Message{&Void{}}, []Message{&Void{}}},
		ProcGetAttr: {handle, []Message{&GetAttrRes{Attr: *fattrOf}, &GetAttrRes{Status: ErrStale}}},
		ProcSetAttr: {[]Message{
			&SetAttrArgs{Object: fhOf, Attr: sattrOf(), Guard: &Time{1, 2}}, &SetAttrArgs{Object: fhOf},
		}, wcc},
		ProcLookup: {[]Message{&where, &DirOpArgs{Dir: fhOf}}, []Message{
			&LookupRes{Object: fhOf, Attr: fattrOf, Dir: fattrOf}, &LookupRes{Object: fhOf}, &LookupRes{Status: ErrNoEnt, Dir: fattrOf},
		}},
		ProcAccess: {[]Message{&AccessArgs{Object: fhOf, Access: 0x3f}}, []Message{
			&AccessRes{Attr: fattrOf, Access: 3}, &AccessRes{Status: ErrStale},
		}},
		ProcReadLink: {handle, []Message{&ReadLinkRes{Attr: fattrOf, Target: "../x"}, &ReadLinkRes{Status: ErrInval, Attr: fattrOf}}},
		ProcRead: {[]Message{&ReadArgs{File: fhOf, Offset: 1 << 50, Count: 9}}, []Message{
			&ReadRes{Attr: fattrOf, Count: 5, EOF: true, Data: []byte("12345")}, &ReadRes{Data: []byte{}}, &ReadRes{Status: ErrIO, Attr: fattrOf},
		}},
		ProcWrite: {[]Message{
			&WriteArgs{File: fhOf, Offset: 7, Count: 3, Stable: DataSync, Data: []byte("abc")}, &WriteArgs{File: fhOf, Data: []byte{}},
		}, []Message{
			&WriteRes{Wcc: wccOf, Count: 3, Committed: FileSync, Verf: [8]byte{1}}, &WriteRes{Status: ErrNoSpc, Wcc: wccOf},
		}},
		ProcCreate: {[]Message{
			&CreateArgs{Where: where, Mode: Unchecked, Attr: sattrOf()}, &CreateArgs{Where: where, Mode: Guarded},
			&CreateArgs{Where: where, Mode: Exclusive, Verf: [8]byte{1, 2}},
		}, created},
		ProcMkdir:   {[]Message{&MkdirArgs{Where: where, Attr: sattrOf()}}, created},
		ProcSymlink: {[]Message{&SymlinkArgs{Where: where, Attr: sattrOf(), Target: "t"}}, created},
		ProcMknod: {[]Message{
			&MknodArgs{Where: where, Type: TypeBlock, Attr: sattrOf(), Spec: SpecData{1, 2}}, &MknodArgs{Where: where, Type: TypeFIFO, Attr: sattrOf()},
			&MknodArgs{Where: where, Type: TypeReg}, &MknodArgs{Where: where, Type: 99},
		}, created},
		ProcRemove: {[]Message{&where}, wcc},
		ProcRmdir:  {[]Message{&where}, wcc},
		ProcRename: {[]Message{&RenameArgs{From: where, To: DirOpArgs{Dir: FH{9}, Name: "to"}}}, []Message{
			&RenameRes{From: wccOf, To: wccOf}, &RenameRes{Status: ErrNotEmpty, To: wccOf},
		}},
		ProcLink: {[]Message{&LinkArgs{File: fhOf, Link: where}}, []Message{&LinkRes{Attr: fattrOf, Dir: wccOf}, &LinkRes{Status: ErrMLink}}},
		ProcReadDir: {[]Message{&ReadDirArgs{Dir: fhOf, Cookie: 5, CookieVerf: [8]byte{1}, Count: 4096}}, []Message{
			&ReadDirRes{Dir: fattrOf, CookieVerf: [8]byte{2}, Entries: entries, EOF: true}, &ReadDirRes{Status: ErrBadCookie, Dir: fattrOf},
		}},
		ProcReadDirPlus: {[]Message{&ReadDirPlusArgs{Dir: fhOf, Cookie: 5, CookieVerf: [8]byte{1}, DirCount: 512, MaxCount: 4096}}, []Message{
			&ReadDirPlusRes{Dir: fattrOf, Entries: plus}, &ReadDirPlusRes{Status: ErrTooSmall},
		}},
		ProcFSStat: {handle, []Message{
			&FSStatRes{Attr: fattrOf, TBytes: 1, FBytes: 2, ABytes: 3, TFiles: 4, FFiles: 5, AFiles: 6, InvSec: 7}, &FSStatRes{Status: ErrIO},
		}},
		ProcFSInfo: {handle, []Message{
			&FSInfoRes{
				Attr: fattrOf, RTMax: 1, RTPref: 2, RTMult: 3, WTMax: 4, WTPref: 5, WTMult: 6, DTPref: 7, MaxFileSize: 8,
				TimeDelta: Time{9, 10}, Properties: 11,
			}, &FSInfoRes{Status: ErrStale},
		}},
		ProcPathConf: {handle, []Message{
			&PathConfRes{Attr: fattrOf, LinkMax: 1, NameMax: 2, NoTrunc: true, CasePreserving: true}, &PathConfRes{Status: ErrStale},
		}},
		ProcCommit: {[]Message{&CommitArgs{File: fhOf, Offset: 1, Count: 2}}, []Message{
			&CommitRes{Wcc: wccOf, Verf: [8]byte{3}}, &CommitRes{Status: ErrIO, Wcc: wccOf},
		}},
	}
}

func TestMessages_decodeToWhatWasEncoded(t *testing.T) {
	all := samples()
	for p := range Proc(ProcEnd) {
		check := func(kind string, messages []Message, fresh func(Proc) Message) {
			if len(messages) == 0 {
				t.Errorf("%v has no sample %s", p, kind)
			}
			for _, want := range messages {
				got := fresh(p)
				if reflect.TypeOf(got) != reflect.TypeOf(want) {
					t.Fatalf("%v: %s are %T, the sample is %T", p, kind, got, want)
				}
				b := encode(want)
				d := xdr.NewDecoder(b)
				got.Decode(d)
				if err := d.Finish(); err != nil {
					t.Errorf("%v: %s %+v: %v", p, kind, want, err)
					continue
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%v: %s differ (-want +got):\n%s", p, kind, diff)
				}
				for cut := range b {
					if _, ok := reencode(fresh(p), b[:cut]); ok {
						t.Errorf("%v: %s %+v decode without their last %d bytes", p, kind, want, len(b)-cut)
					}
				}
			}
		}
		check("arguments", all[p].args, NewArgs)
		check("results", all[p].results, NewRes)
	}
	if NewArgs(ProcEnd) != nil || NewRes(ProcEnd) != nil {
		t.Error("there is a procedure past the last")
	}
}

// The layout is the RFC's, not merely one that both directions agree on: a call and a reply spelled out by hand.
func TestMessages_areLaidOutAsTheRFCDraws(t *testing.T) {
	var want xdr.Encoder
	want.Opaque([]byte{1, 2, 3, 4, 5}) // where.dir
	want.String("name")                // where.name
	want.Uint32(1)                     // GUARDED
	for _, set := range []uint32{1, 0o644, 1, 1, 1, 2} {
		want.Uint32(set) // mode, uid, gid follow
	}
	want.Uint32(1)
	want.Uint64(3) // size follows
	want.Uint32(1) // atime: SET_TO_SERVER_TIME
	for _, v := range []uint32{2, 4, 5} {
		want.Uint32(v) // mtime: SET_TO_CLIENT_TIME, seconds, nanoseconds
	}
	got := encode(&CreateArgs{Where: DirOpArgs{Dir: fhOf, Name: "name"}, Mode: Guarded, Attr: sattrOf()})
	if diff := cmp.Diff(want.Bytes(), got); diff != "" {
		t.Errorf("CREATE3args (-want +got):\n%s", diff)
	}

	want.Reset(nil)
	want.Uint32(0) // NFS3_OK
	want.Uint32(0) // no attributes follow
	want.Uint32(5) // count
	want.Bool(true)
	want.String("12345") // opaque data and strings look alike
	if diff := cmp.Diff(want.Bytes(), encode(&ReadRes{Count: 5, EOF: true, Data: []byte("12345")})); diff != "" {
		t.Errorf("READ3res (-want +got):\n%s", diff)
	}
}

func TestSizes_areThoseOfTheEncoding(t *testing.T) {
	list := len(encode(&ReadDirRes{Dir: fattrOf})) - 4 // without the status: READDIR3resok
	if list != DirListSize {
		t.Errorf("an empty listing takes %d bytes, DirListSize is %d", list, DirListSize)
	}
	name := "12345"
	plain := len(encode(&ReadDirRes{Dir: fattrOf, Entries: []Entry{{Name: name}}})) - 4 - list
	if plain != EntrySize+8 {
		t.Errorf("an entry takes %d bytes, EntrySize says %d", plain, EntrySize+8)
	}
	plus := len(encode(&ReadDirPlusRes{Dir: fattrOf, Entries: []Entry{{Name: name, Attr: fattrOf, Object: make(FH, 24)}}})) - 4 - list
	if plus != EntryPlusSize+24+8 {
		t.Errorf("an entry of READDIRPLUS takes %d bytes, EntryPlusSize says %d", plus, EntryPlusSize+24+8)
	}
	if n := len(encode(&GetAttrRes{Attr: *fattrOf})) - 4; n != FattrSize {
		t.Errorf("attributes take %d bytes, FattrSize is %d", n, FattrSize)
	}
}

func TestArgs_refuse(t *testing.T) {
	long := &HandleArgs{Object: make(FH, FHMax+1)}
	write := &WriteArgs{File: fhOf, Count: 4, Data: []byte("abc")}
	stable := encode(&WriteArgs{File: fhOf, Data: []byte{}})
	stable[len(stable)-5] = 3
	mode := encode(&CreateArgs{Where: DirOpArgs{Dir: fhOf, Name: "n"}, Mode: 3})
	name := &DirOpArgs{Dir: fhOf, Name: string(make([]byte, nameLimit+1))}
	for _, tc := range []struct {
		what string
		proc Proc
		in   []byte
	}{
		{"a handle of 65 bytes", ProcGetAttr, encode(long)},
		{"a WRITE whose count is not its length", ProcWrite, encode(write)},
		{"an unknown stable_how", ProcWrite, stable},
		{"an unknown createmode3", ProcCreate, mode},
		{"a name of 64 KiB", ProcLookup, encode(name)},
	} {
		if _, ok := reencode(NewArgs(tc.proc), tc.in); ok {
			t.Errorf("%v accepts %s", tc.proc, tc.what)
		}
	}
}

func TestStrings_areTheRFCsNames(t *testing.T) {
	for want, got := range map[string]string{
		"NULL": ProcNull.String(), "COMMIT": ProcCommit.String(), "procedure 22": Proc(22).String(),
		"NFS3_OK": OK.String(), "NFS3ERR_JUKEBOX": ErrJukebox.String(), "nfsstat3 3": Status(3).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// fuzz checks that whatever decodes encodes to bytes that decode to the same again.
func fuzz(t *testing.T, fresh func(Proc) Message, proc uint8, in []byte) {
	m := fresh(Proc(proc))
	if m == nil {
		return
	}
	first, ok := reencode(m, in)
	if !ok {
		return
	}
	if len(first) > len(in) {
		t.Fatalf("%v: %d bytes decoded to a message of %d", Proc(proc), len(in), len(first))
	}
	second, ok := reencode(fresh(Proc(proc)), first)
	if !ok || !bytes.Equal(first, second) {
		t.Fatalf("%v: % x decodes, is encoded as % x, which comes back as % x (%t)", Proc(proc), in, first, second, ok)
	}
}

func FuzzArgs(f *testing.F) {
	for p, s := range samples() {
		for _, m := range s.args {
			f.Add(uint8(p), encode(m))
		}
	}
	f.Fuzz(func(t *testing.T, proc uint8, in []byte) { fuzz(t, NewArgs, proc, in) })
}

func FuzzRes(f *testing.F) {
	for p, s := range samples() {
		for _, m := range s.results {
			f.Add(uint8(p), encode(m))
		}
	}
	f.Fuzz(func(t *testing.T, proc uint8, in []byte) { fuzz(t, NewRes, proc, in) })
}

func BenchmarkReadDirPlusRes(b *testing.B) {
	res := &ReadDirPlusRes{Dir: fattrOf}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		res.Entries = append(res.Entries, Entry{
			FileID: rnd.Uint64(), Name: "a name of usual length", Cookie: rnd.Uint64(), Attr: fattrOf, Object: make(FH, 24),
		})
	}
	buf := make([]byte, 0, 128<<10)
	b.ReportAllocs()
	for b.Loop() {
		e := xdr.NewEncoder(buf)
		res.Encode(e)
	}
}
