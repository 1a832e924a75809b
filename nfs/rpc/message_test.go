package rpc

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// callRecord encodes a call header and arguments, without record mark.
func callRecord(call Call, args ...uint32) []byte {
	var e xdr.Encoder
	encodeCall(&e, &call)
	for _, a := range args {
		e.Uint32(a)
	}
	return e.Bytes()
}

func TestParseCall_readsWhatAClientWrites(t *testing.T) {
	for _, cred := range []Credential{
		{Flavor: AuthNone},
		{Flavor: AuthSys},
		{Flavor: AuthSys, Stamp: 1, Machine: "client.example", UID: 1000, GID: 100, GIDs: []uint32{4, 24, 27}},
		{Flavor: AuthSys, Machine: strings.Repeat("m", 255), GIDs: make([]uint32, 16)},
	} {
		want := Call{XID: 9, Prog: 100003, Vers: 3, Proc: 7, Cred: cred}
		record := callRecord(want, 42)
		want.Args = []byte{0, 0, 0, 42}
		got, deny, err := parseCall(record)
		if err != nil || deny != nil {
			t.Fatalf("parseCall: denial %+v, error %v", deny, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("call differs (-want +got):\n%s", diff)
		}
	}
}

// words makes a record out of 32-bit words.
func words(v ...uint32) []byte {
	var e xdr.Encoder
	for _, w := range v {
		e.Uint32(w)
	}
	return e.Bytes()
}

func TestParseCall_denies(t *testing.T) {
	const xid = 5
	for _, tc := range []struct {
		name   string
		record []byte
		want   denial
	}{
		{"rpc version 3", words(xid, 0, 3, 1, 1, 1, 0, 0, 0, 0), denial{xid, rejectRPCMismatch, 0}},
		{"rpc version 3 and nothing after it", words(xid, 0, 3), denial{xid, rejectRPCMismatch, 0}},
		{"a credential of 401 bytes", words(xid, 0, 2, 1, 1, 1, 0, 401), denial{xid, rejectAuthError, AuthBadCred}},
		{"a verifier of 4 GiB", words(xid, 0, 2, 1, 1, 1, 0, 0, 0, 0xffffffff), denial{xid, rejectAuthError, AuthBadVerf}},
		{"RPCSEC_GSS", words(xid, 0, 2, 1, 1, 1, 6, 0, 0, 0), denial{xid, rejectAuthError, AuthRejectedCred}},
		{"AUTH_TLS, as a client probes for it", words(xid, 0, 2, 1, 1, 0, 7, 0, 0, 0), denial{xid, rejectAuthError, AuthRejectedCred}},
		{"an empty AUTH_SYS body", words(xid, 0, 2, 1, 1, 1, 1, 0, 0, 0), denial{xid, rejectAuthError, AuthBadCred}},
		{"17 groups", words(append([]uint32{xid, 0, 2, 1, 1, 1, 1, 4 * 22, 0, 0, 0, 0, 17}, make([]uint32, 19)...)...), denial{xid, rejectAuthError, AuthBadCred}},
		{"more groups announced than sent", words(xid, 0, 2, 1, 1, 1, 1, 20, 0, 0, 0, 0, 2, 0, 0), denial{xid, rejectAuthError, AuthBadCred}},
		{"a machine name of 256 bytes", words(append([]uint32{xid, 0, 2, 1, 1, 1, 1, 4 * 69, 0, 256}, make([]uint32, 69)...)...), denial{xid, rejectAuthError, AuthBadCred}},
		{"bytes after the groups", words(xid, 0, 2, 1, 1, 1, 1, 24, 0, 0, 0, 0, 0, 9, 0, 0), denial{xid, rejectAuthError, AuthBadCred}},
		{"a verifier that is not AUTH_NONE", words(xid, 0, 2, 1, 1, 1, 0, 0, 1, 0), denial{xid, rejectAuthError, AuthBadVerf}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, deny, err := parseCall(tc.record)
			if err != nil {
				t.Fatalf("no answer is possible: %v", err)
			}
			if deny == nil {
				t.Fatal("the call was accepted")
			}
			if *deny != tc.want {
				t.Errorf("denial %+v, want %+v", *deny, tc.want)
			}
		})
	}
}

func TestParseCall_cannotAnswer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		record []byte
		want   error
	}{
		{"nothing", nil, xdr.ErrShort},
		{"a transaction id alone", words(1), xdr.ErrShort},
		{"a reply", words(1, 1, 0, 0, 0, 0), errNotCall},
		{"a header cut in the procedure", words(1, 0, 2, 1, 1), xdr.ErrShort},
		{"a header cut in the credential", words(1, 0, 2, 1, 1, 1, 1, 8, 0), xdr.ErrShort},
		{"a header without verifier", words(1, 0, 2, 1, 1, 1, 0, 0), xdr.ErrShort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := parseCall(tc.record); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

func TestDecodeReply_readsWhatAServerWrites(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(*xdr.Encoder)
		want  error
	}{
		{"success", func(e *xdr.Encoder) { encodeAccepted(e, 7, Success, 0, 0) }, nil},
		{"PROG_UNAVAIL", func(e *xdr.Encoder) { encodeAccepted(e, 7, ProgUnavail, 0, 0) }, &AcceptError{Outcome: ProgUnavail}},
		{"PROG_MISMATCH", func(e *xdr.Encoder) { encodeAccepted(e, 7, ProgMismatch, 2, 4) }, &AcceptError{ProgMismatch, 2, 4}},
		{"PROC_UNAVAIL", func(e *xdr.Encoder) { encodeAccepted(e, 7, ProcUnavail, 0, 0) }, &AcceptError{Outcome: ProcUnavail}},
		{"GARBAGE_ARGS", func(e *xdr.Encoder) { encodeAccepted(e, 7, GarbageArgs, 0, 0) }, &AcceptError{Outcome: GarbageArgs}},
		{"SYSTEM_ERR", func(e *xdr.Encoder) { encodeAccepted(e, 7, SystemErr, 0, 0) }, &AcceptError{Outcome: SystemErr}},
		{"RPC_MISMATCH", func(e *xdr.Encoder) { encodeDenied(e, &denial{xid: 7, stat: rejectRPCMismatch}) }, &DeniedError{Mismatch: true}},
		{"AUTH_ERROR", func(e *xdr.Encoder) {
			encodeDenied(e, &denial{xid: 7, stat: rejectAuthError, auth: AuthBadVerf})
		}, &DeniedError{Auth: AuthBadVerf}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var e xdr.Encoder
			tc.write(&e)
			xid, err, bad := decodeReply(xdr.NewDecoder(e.Bytes()))
			if bad != nil {
				t.Fatal(bad)
			}
			if xid != 7 {
				t.Errorf("xid %d, want 7", xid)
			}
			if diff := cmp.Diff(tc.want, err); diff != "" {
				t.Errorf("outcome differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeReply_refusesWhatIsNone(t *testing.T) {
	for _, record := range [][]byte{
		nil, words(1), words(1, 0, 0, 0, 0, 0), words(1, 2, 0), words(1, 1, 2), words(1, 1, 0, 0, 401), words(1, 1, 0, 0, 0, 6),
		words(1, 1, 1, 2), words(1, 1, 1, 0, 2), words(1, 1, 0, 0, 0, 3, 0),
	} {
		if _, _, bad := decodeReply(xdr.NewDecoder(record)); bad == nil {
			t.Errorf("%v was taken for a reply", record)
		}
	}
}

func FuzzParseCall(f *testing.F) {
	f.Add(callRecord(Call{XID: 1, Prog: 100003, Vers: 3, Proc: 1, Cred: Credential{Flavor: AuthSys, Machine: "m", GIDs: []uint32{1}}}, 1, 2))
	f.Add(words(5, 0, 3, 1, 1, 1, 0, 0, 0, 0))
	f.Add(words(5, 0, 2, 1, 1, 1, 1, 24, 0, 0, 0, 0, 0, 9, 0, 0))
	f.Fuzz(func(t *testing.T, record []byte) {
		call, deny, err := parseCall(record)
		if err != nil || deny != nil {
			return
		}
		if len(call.Cred.GIDs) > groupsMax || len(call.Cred.Machine) > machineNameMax {
			t.Fatalf("credential past its limits: %+v", call.Cred)
		}
		var e xdr.Encoder
		encodeCall(&e, &call)
		e.Fixed(call.Args)
		again, deny, err := parseCall(e.Bytes())
		if err != nil || deny != nil {
			t.Fatalf("re-encoded call: denial %+v, error %v", deny, err)
		}
		again.Args = again.Args[:len(call.Args)] // Fixed pads
		if diff := cmp.Diff(call, again, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatalf("re-encoded call differs:\n%s", diff)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	f.Add(words(1, 1, 0, 0, 0, 0, 9))
	f.Add(words(1, 1, 1, 0, 2, 2))
	f.Add(words(1, 1, 0, 0, 0, 2, 3, 3))
	f.Fuzz(func(t *testing.T, record []byte) {
		d := xdr.NewDecoder(record)
		_, failure, bad := decodeReply(d)
		if bad == nil && failure != nil && d.Remaining() != 0 {
			t.Fatalf("a failed reply with %d bytes of results", d.Remaining())
		}
	})
}
