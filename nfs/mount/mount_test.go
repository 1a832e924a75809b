package mount

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"bfsd/nfs/nfs3"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

func encode(m nfs3.Message) []byte {
	var e xdr.Encoder
	m.Encode(&e)
	return e.Bytes()
}

// reencode decodes b as m and encodes it again; ok is false if it does not decode.
func reencode(m nfs3.Message, b []byte) (again []byte, ok bool) {
	d := xdr.NewDecoder(b)
	m.Decode(d)
	if d.Finish() != nil {
		return nil, false
	}
	return encode(m), true
}

var samples = map[Proc]struct{ args, results []nfs3.Message }{
	ProcNull: {[]nfs3.Message{&nfs3.Void{}}, []nfs3.Message{&nfs3.Void{}}},
	ProcMnt: {
		[]nfs3.Message{&PathArgs{Path: "/export"}, &PathArgs{}},
		[]nfs3.Message{&MntRes{Object: nfs3.FH{1, 2, 3}, Flavors: []uint32{1, 0}}, &MntRes{Object: nfs3.FH{}}, &MntRes{Status: ErrAcces}},
	},
	ProcDump: {
		[]nfs3.Message{&nfs3.Void{}},
		[]nfs3.Message{&DumpRes{Mounts: []Mount{{"10.0.0.1", "/"}, {"host", "/a"}}}, &DumpRes{}},
	},
	ProcUmnt:    {[]nfs3.Message{&PathArgs{Path: "/export"}}, []nfs3.Message{&nfs3.Void{}}},
	ProcUmntAll: {[]nfs3.Message{&nfs3.Void{}}, []nfs3.Message{&nfs3.Void{}}},
	ProcExport: {
		[]nfs3.Message{&nfs3.Void{}},
		[]nfs3.Message{&ExportRes{Exports: []Export{{Path: "/"}, {Path: "/a", Groups: []string{"x", "y"}}}}, &ExportRes{}},
	},
}

func TestMessages_decodeToWhatWasEncoded(t *testing.T) {
	for p := range Proc(ProcEnd) {
		check := func(messages []nfs3.Message, fresh func(Proc) nfs3.Message) {
			if len(messages) == 0 {
				t.Errorf("%v has no samples", p)
			}
			for _, want := range messages {
				got := fresh(p)
				if reflect.TypeOf(got) != reflect.TypeOf(want) {
					t.Fatalf("%v: %T, the sample is %T", p, got, want)
				}
				b := encode(want)
				d := xdr.NewDecoder(b)
				got.Decode(d)
				if err := d.Finish(); err != nil {
					t.Errorf("%v: %+v: %v", p, want, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%v differs (-want +got):\n%s", p, diff)
				}
				for cut := range b {
					if _, ok := reencode(fresh(p), b[:cut]); ok {
						t.Errorf("%v: %+v decodes without its last %d bytes", p, want, len(b)-cut)
					}
				}
			}
		}
		check(samples[p].args, NewArgs)
		check(samples[p].results, NewRes)
	}
	if NewArgs(ProcEnd) != nil || NewRes(ProcEnd) != nil {
		t.Error("there is a procedure past the last")
	}
}

func TestMessages_refuse(t *testing.T) {
	groups := &ExportRes{Exports: []Export{{Path: "/", Groups: make([]string, groupsMax+1)}}}
	for _, tc := range []struct {
		what string
		into nfs3.Message
		from nfs3.Message
	}{
		{"a path over MNTPATHLEN", new(PathArgs), &PathArgs{Path: strings.Repeat("x", PathMax+1)}},
		{"a handle over FHSIZE3", new(MntRes), &MntRes{Object: make(nfs3.FH, nfs3.FHMax+1)}},
		{"too many flavors", new(MntRes), &MntRes{Flavors: make([]uint32, flavorsMax+1)}},
		{"a host over MNTNAMLEN", new(DumpRes), &DumpRes{Mounts: []Mount{{Host: strings.Repeat("x", NameMax+1)}}}},
		{"too many groups", new(ExportRes), groups},
	} {
		if _, ok := reencode(tc.into, encode(tc.from)); ok {
			t.Errorf("%T accepts %s", tc.into, tc.what)
		}
	}
}

func TestStrings_areTheRFCsNames(t *testing.T) {
	for want, got := range map[string]string{
		"MNT": ProcMnt.String(), "procedure 6": Proc(6).String(), "MNT3_OK": OK.String(), "MNT3ERR_ACCES": ErrAcces.String(), "mountstat3 3": Status(3).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// fuzz checks that whatever decodes encodes to bytes that decode to the same again.
func fuzz(t *testing.T, m, again nfs3.Message, in []byte) {
	if m == nil {
		return
	}
	first, ok := reencode(m, in)
	if !ok {
		return
	}
	if second, ok := reencode(again, first); !ok || !bytes.Equal(first, second) {
		t.Fatalf("% x decodes, is encoded as % x, which comes back as % x (%t)", in, first, second, ok)
	}
}

func FuzzArgs(f *testing.F) {
	for p, s := range samples {
		for _, m := range s.args {
			f.Add(uint8(p), encode(m))
		}
	}
	f.Fuzz(func(t *testing.T, proc uint8, in []byte) { fuzz(t, NewArgs(Proc(proc)), NewArgs(Proc(proc)), in) })
}

func FuzzRes(f *testing.F) {
	for p, s := range samples {
		for _, m := range s.results {
			f.Add(uint8(p), encode(m))
		}
	}
	f.Fuzz(func(t *testing.T, proc uint8, in []byte) { fuzz(t, NewRes(Proc(proc)), NewRes(Proc(proc)), in) })
}
