package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
)

// dispatch finds a call's program and lets it answer.
func (s *Server) dispatch(ctx context.Context, call *Call, r *reply) Outcome {
	start := r.enc.Len()
	p, ok := s.programs[call.Prog]
	ok = ok && (p.Datagrams || !call.Datagram)
	outcome := ProgUnavail
	switch {
	case ok && (call.Vers < p.Low || call.Vers > p.High):
		outcome = ProgMismatch
	case ok:
		encodeAccepted(&r.enc, call.XID, Success, 0, 0)
		outcome = s.invoke(ctx, p, call, r)
	}
	switch outcome {
	case ProgUnavail, ProgMismatch, ProcUnavail:
		s.count(EventUnavailable)
	case GarbageArgs:
		s.count(EventGarbage)
	default:
	}
	if outcome != Success && outcome != Drop {
		r.enc.Truncate(start)
		encodeAccepted(&r.enc, call.XID, outcome, p.Low, p.High)
	}
	return outcome
}

// invoke runs the program's handler. A panic there is a defect, but of one call: other clients' calls go on, and the
// log tells.
func (s *Server) invoke(ctx context.Context, p Program, call *Call, r *reply) (outcome Outcome) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("handler panicked", "prog", call.Prog, "vers", call.Vers, "proc", call.Proc,
				"peer", call.Peer, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			s.count(EventPanic)
			outcome = SystemErr
		}
	}()
	return p.Serve(ctx, call, &r.enc)
}
