package nlm

import (
	"bytes"
	"reflect"
	"testing"

	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func encode(m Message) []byte {
	var e xdr.Encoder
	m.Encode(&e)
	return e.Bytes()
}

// samples are arguments and results, by procedure.
func samples() map[Proc][2][]Message {
	lock := Lock{Caller: "client", FH: []byte{1, 2, 3}, OH: []byte("7@client"), SVID: 7, Offset: 1 << 40, Length: 10}
	cookie := []byte{9, 9}
	test := []Message{&TestArgs{cookie, true, lock}}
	lockArgs := []Message{&LockArgs{cookie, true, true, lock, true, 5}, &LockArgs{Cookie: []byte{}, Lock: Lock{FH: []byte{}, OH: []byte{}}}}
	cancel := []Message{&CancelArgs{cookie, true, true, lock}}
	unlock := []Message{&UnlockArgs{cookie, lock}}
	res := []Message{&Res{cookie, Blocked}}
	testRes := []Message{&TestRes{Cookie: cookie}, &TestRes{cookie, Denied, Holder{true, 3, []byte("x"), 5, 6}}}
	void := []Message{&Void{}}
	share := []Message{&ShareArgs{cookie, "client", []byte{1}, []byte{2}, 3, 1, true}}
	shareRes := []Message{&ShareRes{cookie, Denied, 4}}
	return map[Proc][2][]Message{
		ProcNull: {void, void}, ProcTest: {test, testRes}, ProcLock: {lockArgs, res}, ProcCancel: {cancel, res}, ProcUnlock: {unlock, res},
		ProcGranted: {test, res}, ProcTestMsg: {test, void}, ProcLockMsg: {lockArgs, void}, ProcCancelMsg: {cancel, void},
		ProcUnlockMsg: {unlock, void}, ProcGrantedMsg: {test, void}, ProcTestRes: {testRes, void}, ProcLockRes: {res, void},
		ProcCancelRes: {res, void}, ProcUnlockRes: {res, void}, ProcGrantedRes: {res, void}, ProcShare: {share, shareRes},
		ProcUnshare: {share, shareRes}, ProcNMLock: {lockArgs, res}, ProcFreeAll: {[]Message{&Notify{"client", 5}}, void},
	}
}

func TestMessages_decodeToWhatWasEncoded(t *testing.T) {
	all := samples()
	for p := range Proc(procEnd + 2) {
		both, ok := all[p]
		if args, res := NewArgs(p), NewRes(p); (args != nil) != ok || (res != nil) != ok {
			t.Fatalf("%v: arguments %T, results %T, samples %v", p, args, res, ok)
		}
		for i, fresh := range []func(Proc) Message{NewArgs, NewRes} {
			for _, want := range both[i] {
				got := fresh(p)
				if reflect.TypeOf(got) != reflect.TypeOf(want) {
					t.Fatalf("%v: %T, the sample is %T", p, got, want)
				}
				b := encode(want)
				d := xdr.NewDecoder(b)
				if got.Decode(d); d.Finish() != nil {
					t.Errorf("%v: %v", p, d.Err())
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%v (-sent +got):\n%s", p, diff)
				}
				for n := range b {
					d := xdr.NewDecoder(b[:n])
					if got.Decode(d); d.Finish() == nil {
						t.Errorf("%v: %T decodes from %d of %d bytes", p, got, n, len(b))
					}
				}
			}
		}
	}
}

// TestEncoding holds the encoding to XNFS appendix G, word by word.
func TestEncoding(t *testing.T) {
	lock := []byte("\x00\x00\x00\x02ab\x00\x00" + "\x00\x00\x00\x01f\x00\x00\x00" + "\x00\x00\x00\x03own\x00" + "\x00\x00\x00\x07" +
		"\x00\x00\x00\x00\x00\x00\x00\x08" + "\x00\x00\x00\x00\x00\x00\x00\x09")
	cookie := []byte("\x00\x00\x00\x01c\x00\x00\x00")
	yes, no := []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0}
	l := Lock{"ab", []byte("f"), []byte("own"), 7, 8, 9}
	for name, c := range map[string]struct {
		m    Message
		want [][]byte
	}{
		"nlm4_lockargs":    {&LockArgs{[]byte("c"), true, false, l, true, 5}, [][]byte{cookie, yes, no, lock, yes, {0, 0, 0, 5}}},
		"nlm4_cancargs":    {&CancelArgs{[]byte("c"), false, true, l}, [][]byte{cookie, no, yes, lock}},
		"nlm4_testargs":    {&TestArgs{[]byte("c"), true, l}, [][]byte{cookie, yes, lock}},
		"nlm4_unlockargs":  {&UnlockArgs{[]byte("c"), l}, [][]byte{cookie, lock}},
		"nlm4_res":         {&Res{[]byte("c"), DeniedGracePeriod}, [][]byte{cookie, {0, 0, 0, 4}}},
		"nlm4_testres":     {&TestRes{Cookie: []byte("c"), Status: Granted}, [][]byte{cookie, no}},
		"nlm4_testres, no": {&TestRes{[]byte("c"), Denied, Holder{true, 7, []byte("own"), 8, 9}}, [][]byte{cookie, yes, yes, {0, 0, 0, 7}, lock[16:24], lock[28:]}},
		"nlm4_shareargs": {&ShareArgs{[]byte("c"), "ab", []byte("f"), []byte("own"), 3, 1, false}, [][]byte{
			cookie, lock[:24], {0, 0, 0, 3}, {0, 0, 0, 1}, no,
		}},
		"nlm4_shareres": {&ShareRes{[]byte("c"), Granted, 6}, [][]byte{cookie, no, {0, 0, 0, 6}}},
		"nlm4_notify":   {&Notify{"ab", 5}, [][]byte{lock[:8], {0, 0, 0, 5}}},
	} {
		if got, want := encode(c.m), bytes.Join(c.want, nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x, want\n%x", name, got, want)
		}
	}
}

func TestMessages_bounds(t *testing.T) {
	long := make([]byte, 1025)
	for name, m := range map[string]Message{
		"cookie": &Res{Cookie: long}, "caller": &UnlockArgs{Lock: Lock{Caller: string(long)}}, "handle": &UnlockArgs{Lock: Lock{FH: long}},
		"owner": &TestArgs{Lock: Lock{OH: long}}, "share mode": &ShareArgs{Mode: 4}, "share access": &ShareArgs{Access: 4}, "name": &Notify{Name: string(long)},
	} {
		d := xdr.NewDecoder(encode(m))
		if m.Decode(d); d.Finish() == nil {
			t.Errorf("%s: too much of it was decoded", name)
		}
	}
}

// FuzzMessages: what decodes encodes to the same bytes, but for padding.
func FuzzMessages(f *testing.F) {
	for p, both := range samples() {
		for _, m := range both[0] {
			f.Add(uint32(p), encode(m))
		}
	}
	f.Fuzz(func(t *testing.T, p uint32, b []byte) {
		for _, fresh := range []func(Proc) Message{NewArgs, NewRes} {
			m := fresh(Proc(p % procEnd))
			if m == nil {
				return
			}
			d := xdr.NewDecoder(b)
			if m.Decode(d); d.Finish() != nil {
				continue
			}
			again := fresh(Proc(p % procEnd))
			d = xdr.NewDecoder(encode(m))
			if again.Decode(d); d.Finish() != nil {
				t.Fatalf("%T: own encoding does not decode: %v", m, d.Err())
			}
			if diff := cmp.Diff(m, again); diff != "" {
				t.Error(diff)
			}
		}
	})
}
