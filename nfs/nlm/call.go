package nlm

import (
	"context"
	"errors"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/internal/opcall"
	"bfsd/nfs/nsm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// errUnknown says that the outcome of an operation is not known.
var errUnknown = errors.New("nlm: the outcome is not known")

// call is one call on its way through the server.
type call struct {
	s    *Server
	ctx  context.Context
	rpc  *rpc.Call
	proc Proc
	drop bool // no reply may be sent
}

// serve answers a call.
func (s *Server) serve(ctx context.Context, rc *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	p := Proc(rc.Proc)
	args := NewArgs(p)
	if args == nil {
		return rpc.ProcUnavail
	}
	start := time.Now()
	c := &call{s: s, ctx: ctx, rpc: rc, proc: p}
	outcome, status := c.answer(args, reply)
	if s.cfg.Observe != nil {
		text := outcome.String()
		if outcome == rpc.Success {
			text = status.String()
		}
		s.cfg.Observe(p.String(), text, time.Since(start))
	}
	return outcome
}

func (c *call) answer(args Message, reply *xdr.Encoder) (rpc.Outcome, Status) {
	d := xdr.NewDecoder(c.rpc.Args)
	args.Decode(d)
	if d.Finish() != nil {
		return rpc.GarbageArgs, 0
	}
	res, status := c.run(args)
	if c.drop {
		return rpc.Drop, 0
	}
	if form, ok := asynchronous[c.proc]; ok {
		c.s.answerLater(c.rpc, form, res)
		return rpc.Success, status
	}
	res.Encode(reply)
	return rpc.Success, status
}

// run carries out a call and returns its results.
func (c *call) run(args Message) (Message, Status) {
	switch a := args.(type) {
	case *LockArgs:
		status := c.lock(a)
		return &Res{a.Cookie, status}, status
	case *CancelArgs:
		status := c.change(&a.Lock, func(h fsstate.Handle, owner fsstate.LockOwner, r fsstate.LockRange) fsstate.Args {
			return &fsstate.LockCancel{Object: h, Owner: owner, Range: r, Exclusive: a.Exclusive}
		})
		return &Res{a.Cookie, status}, status
	case *UnlockArgs:
		status := c.change(&a.Lock, func(h fsstate.Handle, owner fsstate.LockOwner, r fsstate.LockRange) fsstate.Args {
			return &fsstate.Unlock{Object: h, Owner: owner, Range: r}
		})
		return &Res{a.Cookie, status}, status
	case *TestArgs:
		if c.proc == ProcGranted || c.proc == ProcGrantedMsg {
			return &Res{a.Cookie, Denied}, Denied // this server waits for nobody's locks
		}
		res := c.test(a)
		return res, res.Status
	case *ShareArgs:
		status := c.share(a)
		return &ShareRes{Cookie: a.Cookie, Status: status}, status
	case *Notify:
		return &Void{}, c.freeAll(a)
	}
	return &Void{}, Granted // NULL, and answers to calls that this server does not make
}

// lock is LOCK (XNFS §10.3.3), and NM_LOCK (§10.3.9), by which a client says that it will free its locks itself when it
// restarts: what the server does about that is the same.
func (c *call) lock(a *LockArgs) Status {
	local := ""
	if c.rpc.Local.IsValid() {
		local = opcall.Machine(c.rpc.Local)
	}
	return c.change(&a.Lock, func(h fsstate.Handle, owner fsstate.LockOwner, r fsstate.LockRange) fsstate.Args {
		return &fsstate.Lock{
			Object: h, Owner: owner, Range: r, Exclusive: a.Exclusive, Block: a.Block, Reclaim: a.Reclaim, State: a.State,
			Front: c.s.cfg.Front, Server: local,
		}
	})
}

// change runs the operation that opOf makes of a lock, and returns what to tell the client.
func (c *call) change(l *Lock, opOf func(fsstate.Handle, fsstate.LockOwner, fsstate.LockRange) fsstate.Args) Status {
	h, owner, status := c.decode(l)
	if status != Granted {
		return status
	}
	return c.apply(opOf(h, owner, fsstate.LockRange{Offset: l.Offset, Length: l.Length}))
}

// decode turns a lock's parts into the state's.
func (c *call) decode(l *Lock) (fsstate.Handle, fsstate.LockOwner, Status) {
	h, ok := c.s.cfg.Handle(l.FH)
	if !ok {
		return h, fsstate.LockOwner{}, StaleFH
	}
	client, ok := c.client(l.Caller)
	if !ok {
		return h, fsstate.LockOwner{}, Failed
	}
	return h, fsstate.LockOwner{Client: client, SVID: l.SVID, OH: string(l.OH)}, Granted
}

// client tells which client a name is, at the address that calls; false if the name is longer than a host's may be.
func (c *call) client(name string) (fsstate.LockClient, bool) {
	client := fsstate.LockClient{Name: name}
	if c.s.cfg.Private(c.rpc.Peer) {
		client.Via = c.s.cfg.Via
	}
	return client, len(name) <= fsstate.LockNameMax
}

// apply runs an operation that changes the lock table.
func (c *call) apply(args fsstate.Args) Status {
	res, ok := c.invoke(args)
	if !ok {
		c.drop = true // it may have been executed: the client asks again, and is answered from the duplicate-request cache
		return Failed
	}
	if r, ok := res.(*fsstate.LockResult); ok && (r.Blocked || r.Wake) {
		c.s.grants.look()
		if r.Blocked {
			return Blocked
		}
	}
	return statusOf(res.Code())
}

// test is TEST (XNFS §10.3.2).
func (c *call) test(a *TestArgs) *TestRes {
	h, owner, status := c.decode(&a.Lock)
	if status != Granted {
		return &TestRes{Cookie: a.Cookie, Status: status}
	}
	res, ok := c.invoke(&fsstate.LockTest{
		Object: h, Owner: owner, Range: fsstate.LockRange{Offset: a.Lock.Offset, Length: a.Lock.Length}, Exclusive: a.Exclusive,
	})
	if !ok {
		return &TestRes{Cookie: a.Cookie, Status: DeniedGracePeriod}
	}
	r := &TestRes{Cookie: a.Cookie, Status: statusOf(res.Code())}
	if t, ok := res.(*fsstate.LockTestResult); ok && t.Holder != nil && r.Status == Denied {
		r.Holder = Holder{t.Holder.Exclusive, t.Holder.Owner.SVID, []byte(t.Holder.Owner.OH), t.Holder.Range.Offset, t.Holder.Range.Length}
	}
	return r
}

// share is SHARE and UNSHARE (XNFS §10.3.7, §10.3.8).
func (c *call) share(a *ShareArgs) Status {
	h, owner, status := c.decode(&Lock{Caller: a.Caller, FH: a.FH, OH: a.OH})
	switch {
	case status != Granted:
		return status
	case c.proc == ProcUnshare:
		return c.apply(&fsstate.Unshare{Object: h, Owner: owner})
	}
	return c.apply(&fsstate.Share{Object: h, Owner: owner, Access: a.Access, Deny: a.Mode})
}

// freeAll is FREE_ALL (XNFS §10.3.10): a client of NM_LOCK and SHARE has restarted.
func (c *call) freeAll(a *Notify) Status {
	client, ok := c.client(a.Name)
	if !ok {
		return Failed
	}
	return c.apply(&fsstate.LockRelease{Client: client, State: a.State, All: true})
}

// notify is SM_NOTIFY: a client has restarted. It is believed about clients at the address that it comes from alone, and
// just if the state number is newer than the one that the client locked under.
func (s *Server) notify(ctx context.Context, rc *rpc.Call, change nsm.StatChange) error {
	c := &call{s: s, ctx: ctx, rpc: rc}
	client, ok := c.client(change.Name)
	if !ok {
		return nil
	}
	if c.apply(&fsstate.LockRelease{Client: client, State: change.State}); c.drop {
		return errUnknown
	}
	return nil
}

// invoke runs one operation; false if its outcome is not known.
func (c *call) invoke(args fsstate.Args) (fsstate.Result, bool) {
	op := opcall.New(c.rpc, args)
	ctx := c.ctx
	if args.ReadOnly() || c.rpc.Datagram {
		timeout, cancel := context.WithTimeout(ctx, c.s.cfg.CallTimeout)
		defer cancel()
		ctx = timeout
	}
	res, err := c.s.invoke(ctx, &op)
	if err != nil {
		if c.ctx.Err() == nil {
			c.s.cfg.Log.Warn("no result from the backend", "procedure", "NLM/"+c.proc.String(), "peer", c.rpc.Peer, "err", err)
		}
		return nil, false
	}
	return res, true
}

// statusOf maps the state's statuses to the protocol's.
func statusOf(s fsstate.Status) Status {
	switch s {
	case fsstate.OK:
		return Granted
	case fsstate.EAGAIN:
		return Denied
	case fsstate.EDEADLK:
		return Deadlock
	case fsstate.ENOLCK:
		return DeniedNoLocks
	case fsstate.EROFS:
		return ReadOnly
	case fsstate.ESTALE:
		return StaleFH
	case fsstate.EFBIG:
		return TooBig
	default:
		return Failed
	}
}
