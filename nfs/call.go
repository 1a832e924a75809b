package nfs

import (
	"context"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/internal/opcall"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// call is one NFS or MOUNT call on its way through the server.
type call struct {
	s    *Server
	ctx  context.Context // ends when the connection does
	rpc  *rpc.Call
	proc nfs3.Proc // of NFS; mountProc for MOUNT
	drop bool      // no reply may be sent
}

// procedure decodes a call's arguments, runs it, and encodes its results.
type procedure func(c *call, reply *xdr.Encoder) (rpc.Outcome, nfs3.Status)

// procedures are those of RFC 1813 §3.3, by number.
var procedures = [nfs3.ProcEnd]procedure{
	nfs3.ProcNull:        null,
	nfs3.ProcGetAttr:     typed(getAttr),
	nfs3.ProcSetAttr:     typed(setAttr),
	nfs3.ProcLookup:      typed(lookup),
	nfs3.ProcAccess:      typed(access),
	nfs3.ProcReadLink:    typed(readLink),
	nfs3.ProcRead:        typed(read),
	nfs3.ProcWrite:       typed(write),
	nfs3.ProcCreate:      typed(create),
	nfs3.ProcMkdir:       typed(mkdir),
	nfs3.ProcSymlink:     typed(symlink),
	nfs3.ProcMknod:       typed(mknod),
	nfs3.ProcRemove:      typed(remove),
	nfs3.ProcRmdir:       typed(rmdir),
	nfs3.ProcRename:      typed(rename),
	nfs3.ProcLink:        typed(link),
	nfs3.ProcReadDir:     typed(readDir),
	nfs3.ProcReadDirPlus: typed(readDirPlus),
	nfs3.ProcFSStat:      typed(fsStat),
	nfs3.ProcFSInfo:      typed(fsInfo),
	nfs3.ProcPathConf:    typed(pathConf),
	nfs3.ProcCommit:      typed(commit),
}

// message is a pointer to T that is a protocol message.
type message[T any] interface {
	*T
	nfs3.Message
}

// result is a pointer to T that is a procedure's results.
type result[T any] interface {
	*T
	nfs3.Result
}

// typed makes a procedure of a function that fills results from arguments.
func typed[A, R any, PA message[A], PR result[R]](f func(*call, PA, PR)) procedure {
	return func(c *call, reply *xdr.Encoder) (rpc.Outcome, nfs3.Status) {
		var args PA = new(A)
		var res PR = new(R)
		d := xdr.NewDecoder(c.rpc.Args)
		args.Decode(d)
		if d.Finish() != nil {
			return rpc.GarbageArgs, 0
		}
		f(c, args, res)
		if c.drop {
			return rpc.Drop, 0
		}
		res.Encode(reply)
		return rpc.Success, res.Code()
	}
}

// null does nothing (RFC 1813 §3.3.0).
func null(c *call, _ *xdr.Encoder) (rpc.Outcome, nfs3.Status) {
	if len(c.rpc.Args) != 0 {
		return rpc.GarbageArgs, 0
	}
	return rpc.Success, nfs3.OK
}

// serveNFS answers a call of the NFS program.
func (s *Server) serveNFS(ctx context.Context, rc *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	if rc.Proc >= nfs3.ProcEnd {
		return rpc.ProcUnavail
	}
	start := time.Now()
	c := &call{s: s, ctx: ctx, rpc: rc, proc: nfs3.Proc(rc.Proc)}
	outcome, status := procedures[rc.Proc](c, reply)
	if s.cfg.Observe != nil {
		info := CallInfo{Procedure: c.proc.String(), Status: outcome.String(), Duration: time.Since(start)}
		if outcome == rpc.Success {
			info.Status = status.String()
		}
		s.cfg.Observe(info)
	}
	return outcome
}

// replyBound tells about how large the reply to a call may be, beyond a few hundred bytes: READ and the listings are
// what a client can ask a megabyte of with a hundred bytes.
func replyBound(rc *rpc.Call) int {
	d := xdr.NewDecoder(rc.Args)
	var n uint32
	switch nfs3.Proc(rc.Proc) {
	case nfs3.ProcRead:
		var a nfs3.ReadArgs
		a.Decode(d)
		n = a.Count
	case nfs3.ProcReadDir:
		var a nfs3.ReadDirArgs
		a.Decode(d)
		n = a.Count
	case nfs3.ProcReadDirPlus:
		var a nfs3.ReadDirPlusArgs
		a.Decode(d)
		n = a.MaxCount
	default:
	}
	if d.Finish() != nil {
		return 0 // it will be refused
	}
	return int(min(n, fsstate.IOMax))
}

// invoke runs one operation. The result is never nil: when there is none, it is an empty one, and the status says what
// to tell the client; unless c.drop was set, in which case nothing may be told.
func invoke[R fsstate.Result](c *call, args fsstate.Args) (R, nfs3.Status) {
	res, status := c.run(args)
	typed, ok := res.(R)
	if !ok {
		panic("nfs: the result of an operation is not of its kind's type") // DecodeResult and NewResult go by kind
	}
	return typed, status
}

func (c *call) run(args fsstate.Args) (fsstate.Result, nfs3.Status) {
	op := opcall.New(c.rpc, args)
	room := opcall.Room
	if w, ok := args.(*fsstate.Write); ok {
		room += len(w.Data)
	}
	buf := c.s.ops.Get(room)
	defer c.s.ops.Put(buf)
	ctx := c.ctx
	if args.ReadOnly() {
		timeout, cancel := context.WithTimeout(ctx, c.s.cfg.ReadTimeout)
		defer cancel()
		ctx = timeout
	}
	out, err := c.s.backend.Invoke(ctx, fsstate.AppendOp(buf.B, &op), args.ReadOnly())
	if err != nil {
		return fsstate.NewResult(args.Kind(), fsstate.EIO), c.unknown(args, err)
	}
	res, err := fsstate.DecodeResult(args.Kind(), out)
	if err != nil {
		c.s.log.Error("the backend's result does not decode", "procedure", c.name(), "err", err)
		return fsstate.NewResult(args.Kind(), fsstate.EIO), nfs3.ErrServerFault
	}
	return res, statusFor(c.proc, res.Code())
}

// unknown decides what becomes of a call whose outcome is not known: see Server.
func (c *call) unknown(args fsstate.Args, err error) nfs3.Status {
	c.drop = c.ctx.Err() != nil || !args.ReadOnly()
	if c.ctx.Err() == nil {
		c.s.log.Warn("no result from the backend", "procedure", c.name(), "peer", c.rpc.Peer, "err", err, "dropped", c.drop)
	}
	return nfs3.ErrJukebox
}

// machine is the calling machine's address, without port and zone.
func (c *call) machine() string { return opcall.Machine(c.rpc.Peer) }

// name is the procedure's, for the log.
func (c *call) name() string {
	if c.proc == mountProc {
		return "MOUNT/MNT"
	}
	return c.proc.String()
}
