package rpc

import (
	"errors"
	"fmt"
	"net/netip"

	"bfsd/nfs/xdr"
)

// Message constants (RFC 5531 §9).
const (
	rpcVersion = 2

	msgCall  = 0
	msgReply = 1

	replyAccepted = 0
	replyDenied   = 1

	rejectRPCMismatch = 0
	rejectAuthError   = 1

	// bodyMax bounds the body of a credential or verifier (§8.2).
	bodyMax = 400
)

// Outcome is what became of a call: an accept_stat (RFC 5531 §9), or Drop.
type Outcome uint32

// The outcomes a handler may return, and those the server itself answers with.
const (
	Success      Outcome = 0
	ProgUnavail  Outcome = 1
	ProgMismatch Outcome = 2
	ProcUnavail  Outcome = 3
	GarbageArgs  Outcome = 4
	SystemErr    Outcome = 5
	// Drop sends no reply and closes the connection once the other calls in flight on it are answered: over TCP a
	// client resends an unanswered call only when its connection goes away.
	Drop Outcome = 1<<32 - 1
)

// String gives the RFC's name.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "SUCCESS"
	case ProgUnavail:
		return "PROG_UNAVAIL"
	case ProgMismatch:
		return "PROG_MISMATCH"
	case ProcUnavail:
		return "PROC_UNAVAIL"
	case GarbageArgs:
		return "GARBAGE_ARGS"
	case SystemErr:
		return "SYSTEM_ERR"
	case Drop:
		return "drop"
	}
	return fmt.Sprintf("accept_stat %d", uint32(o))
}

// Call is one call, its header decoded and its arguments not.
type Call struct {
	XID  uint32 // transaction id, chosen by the caller
	Prog uint32
	Vers uint32
	Proc uint32
	Cred Credential
	Peer netip.Addr // the caller's address; the zero Addr when the connection has none
	// Local is the address that the caller called; the zero Addr when it is not known.
	Local    netip.Addr
	Datagram bool   // it came by UDP
	Args     []byte // valid until the handler returns
}

// denial is a call header that the server understands well enough to refuse: a rejected_reply (RFC 5531 §9).
type denial struct {
	xid  uint32
	stat uint32   // rejectRPCMismatch or rejectAuthError
	auth AuthStat // with rejectAuthError
}

// errNotCall ends a connection whose peer sends something other than calls.
var errNotCall = errors.New("rpc: record is not a call")

// parseCall decodes a record's call header. An error means that there is nothing to answer: the record has no
// transaction id, is a reply, or ends inside its header.
func parseCall(record []byte) (call Call, deny *denial, err error) {
	d := xdr.NewDecoder(record)
	call.XID = d.Uint32()
	kind := d.Uint32()
	version := d.Uint32()
	if err := d.Err(); err != nil {
		return call, nil, fmt.Errorf("decode call header: %w", err)
	}
	if kind != msgCall {
		return call, nil, errNotCall
	}
	if version != rpcVersion {
		return call, &denial{xid: call.XID, stat: rejectRPCMismatch}, nil
	}
	call.Prog, call.Vers, call.Proc = d.Uint32(), d.Uint32(), d.Uint32()
	credFlavor, credBody := d.Uint32(), d.Opaque(bodyMax)
	if errors.Is(d.Err(), xdr.ErrTooLong) {
		return call, &denial{xid: call.XID, stat: rejectAuthError, auth: AuthBadCred}, nil
	}
	verfFlavor, verfBody := d.Uint32(), d.Opaque(bodyMax)
	if errors.Is(d.Err(), xdr.ErrTooLong) {
		return call, &denial{xid: call.XID, stat: rejectAuthError, auth: AuthBadVerf}, nil
	}
	if err := d.Err(); err != nil {
		return call, nil, fmt.Errorf("decode call header: %w", err)
	}
	var stat AuthStat
	if call.Cred, stat = parseCredential(credFlavor, credBody); stat != AuthOK {
		return call, &denial{xid: call.XID, stat: rejectAuthError, auth: stat}, nil
	}
	if verfFlavor != uint32(AuthNone) || len(verfBody) != 0 { // §8.2: the verifier of AUTH_SYS is AUTH_NONE
		return call, &denial{xid: call.XID, stat: rejectAuthError, auth: AuthBadVerf}, nil
	}
	call.Args = d.Rest()
	return call, nil, nil
}

// encodeCall writes a call header; the arguments follow.
func encodeCall(e *xdr.Encoder, call *Call) {
	e.Uint32(call.XID)
	e.Uint32(msgCall)
	e.Uint32(rpcVersion)
	e.Uint32(call.Prog)
	e.Uint32(call.Vers)
	e.Uint32(call.Proc)
	encodeCredential(e, &call.Cred)
	e.Uint32(uint32(AuthNone))
	e.Uint32(0)
}

// encodeAccepted writes the header of an accepted reply; with Success the results follow, with ProgMismatch the
// versions low and high end it.
func encodeAccepted(e *xdr.Encoder, xid uint32, o Outcome, low, high uint32) {
	e.Uint32(xid)
	e.Uint32(msgReply)
	e.Uint32(replyAccepted)
	e.Uint32(uint32(AuthNone))
	e.Uint32(0)
	e.Uint32(uint32(o))
	if o == ProgMismatch {
		e.Uint32(low)
		e.Uint32(high)
	}
}

// encodeDenied writes a rejected reply.
func encodeDenied(e *xdr.Encoder, deny *denial) {
	e.Uint32(deny.xid)
	e.Uint32(msgReply)
	e.Uint32(replyDenied)
	e.Uint32(deny.stat)
	if deny.stat == rejectRPCMismatch {
		e.Uint32(rpcVersion)
		e.Uint32(rpcVersion)
		return
	}
	e.Uint32(uint32(deny.auth))
}

// AcceptError is a call that was accepted but not executed.
type AcceptError struct {
	Outcome   Outcome
	Low, High uint32 // with ProgMismatch
}

func (e *AcceptError) Error() string {
	if e.Outcome == ProgMismatch {
		return fmt.Sprintf("rpc: %v: versions %d to %d are served", e.Outcome, e.Low, e.High)
	}
	return fmt.Sprintf("rpc: %v", e.Outcome)
}

// DeniedError is a call that was rejected for its RPC version or its credentials.
type DeniedError struct {
	Mismatch bool     // the RPC version
	Auth     AuthStat // otherwise
}

func (e *DeniedError) Error() string {
	if e.Mismatch {
		return "rpc: RPC_MISMATCH"
	}
	return fmt.Sprintf("rpc: AUTH_ERROR %d", e.Auth)
}

// decodeReply reads a reply header, up to the results. bad is set when the bytes are no reply; err is what the reply
// says went wrong.
func decodeReply(d *xdr.Decoder) (xid uint32, err, bad error) {
	xid = d.Uint32()
	kind := d.Enum(2)
	denied := d.Enum(2)
	if d.Err() == nil && kind != msgReply {
		d.Fail(fmt.Errorf("message type %d where a reply was expected: %w", kind, xdr.ErrInvalid))
	}
	if denied == replyDenied {
		stat := d.Enum(2)
		if stat == rejectRPCMismatch {
			d.Uint32()
			d.Uint32()
			return xid, &DeniedError{Mismatch: true}, d.Finish()
		}
		return xid, &DeniedError{Auth: AuthStat(d.Uint32())}, d.Finish()
	}
	d.Uint32() // the verifier; nothing depends on it with AUTH_NONE and AUTH_SYS
	d.Opaque(bodyMax)
	outcome := Outcome(d.Enum(uint32(SystemErr) + 1))
	if outcome == Success {
		return xid, nil, d.Err()
	}
	accept := &AcceptError{Outcome: outcome}
	if outcome == ProgMismatch {
		accept.Low, accept.High = d.Uint32(), d.Uint32()
	}
	return xid, accept, d.Finish()
}
