// Package nsm is the network status monitor protocol, program 100024 version 1 (X/Open, "Protocols for Interworking: XNFS",
// chapter 11), by which a machine that has restarted tells those whose locks it held. A file server needs one procedure of
// it, SM_NOTIFY. The others serve a lock manager on the same machine; [NewProgram] says to all of them that it monitors
// nobody, and the machine's own statd, if one is needed, does.
//
// It does not know about locks. Start with NewProgram.
package nsm

import (
	"context"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// The RPC program and its version.
const (
	Program = 100024
	Version = 1
)

// Proc is a procedure number (XNFS §11.2).
type Proc uint32

// The procedures.
const (
	ProcNull Proc = iota
	ProcStat
	ProcMon
	ProcUnmon
	ProcUnmonAll
	ProcSimuCrash
	ProcNotify
)

// Bounds, in bytes: SM_MAXSTRLEN, and the private data of a monitor call.
const (
	NameMax = 1024
	privLen = 16
)

// statFail is the answer to who asks for monitoring (sm_res).
const statFail = 1

// StatChange is stat_chge, the argument of SM_NOTIFY: a machine has restarted, and State numbers its new life. The numbers
// grow and wrap around; the odd ones are of machines that are up.
type StatChange struct {
	Name  string
	State uint32
}

// Encode appends the argument.
func (c *StatChange) Encode(e *xdr.Encoder) {
	e.String(c.Name)
	e.Uint32(c.State)
}

// Decode reads the argument.
func (c *StatChange) Decode(d *xdr.Decoder) { *c = StatChange{d.String(NameMax), d.Uint32()} }

// MyID is my_id: the lock manager that wants to be told, and by which procedure.
type MyID struct {
	Name             string
	Prog, Vers, Proc uint32
}

// Encode appends the structure.
func (m *MyID) Encode(e *xdr.Encoder) {
	e.String(m.Name)
	e.Uint32(m.Prog)
	e.Uint32(m.Vers)
	e.Uint32(m.Proc)
}

// Decode reads the structure.
func (m *MyID) Decode(d *xdr.Decoder) {
	*m = MyID{d.String(NameMax), d.Uint32(), d.Uint32(), d.Uint32()}
}

// NewProgram returns the service. notify is called when a machine says that it has restarted; an error leaves the call
// without an answer, so that the machine says it again. state is what this server says of itself.
func NewProgram(state uint32, notify func(ctx context.Context, call *rpc.Call, change StatChange) error) rpc.Program {
	s := server{state: state, notify: notify}
	return rpc.Program{Number: Program, Low: Version, High: Version, Serve: s.serve, Datagrams: true}
}

type server struct {
	state  uint32
	notify func(ctx context.Context, call *rpc.Call, change StatChange) error
}

func (s server) serve(ctx context.Context, call *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	d := xdr.NewDecoder(call.Args)
	var id MyID
	switch Proc(call.Proc) {
	case ProcNull, ProcSimuCrash: // nobody but this server may say that it crashed
	case ProcStat:
		d.String(NameMax)
		reply.Uint32(statFail)
		reply.Uint32(s.state)
	case ProcMon:
		d.String(NameMax)
		id.Decode(d)
		d.Fixed(privLen)
		reply.Uint32(statFail)
		reply.Uint32(s.state)
	case ProcUnmon:
		d.String(NameMax)
		id.Decode(d)
		reply.Uint32(s.state)
	case ProcUnmonAll:
		id.Decode(d)
		reply.Uint32(s.state)
	case ProcNotify:
		var c StatChange
		c.Decode(d)
		if d.Finish() != nil {
			return rpc.GarbageArgs
		}
		if s.notify(ctx, call, c) != nil {
			return rpc.Drop
		}
	default:
		return rpc.ProcUnavail
	}
	if d.Finish() != nil {
		return rpc.GarbageArgs
	}
	return rpc.Success
}
