package nfs_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"bfsd/nfs"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/nlm"
	"bfsd/nfs/nsm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/rpcbind"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

func withLocks(cfg *nfs.Config, _ *spy) { cfg.Locks = &nfs.LockConfig{Front: "test"} }

// lockCall makes a call of NLM as user 1000 of a machine and returns its status.
func (e *env) lockCall(c *rpc.Client, p nlm.Proc, args nlm.Message) nlm.Status {
	e.t.Helper()
	cred := rpc.Credential{Flavor: rpc.AuthSys, Machine: "client", UID: 1000, GID: 100}
	results, err := c.Call(e.ctx, rpc.Call{Prog: nlm.Program, Vers: nlm.Version, Proc: uint32(p), Cred: cred}, args.Encode)
	if err != nil {
		e.t.Fatalf("%v: %v", p, err)
	}
	var res nlm.Res
	res.Decode(xdr.NewDecoder(results))
	return res.Status
}

func (e *env) dialRPC() *rpc.Client {
	e.t.Helper()
	nc, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	c := rpc.NewClient(nc)
	e.t.Cleanup(func() { c.Close() })
	return c
}

func TestLocks(t *testing.T) {
	e := start(t, withLocks)
	c := e.dialRPC()
	lock := func(fh nfs3.FH, svid uint32) nlm.Status {
		return e.lockCall(c, nlm.ProcLock, &nlm.LockArgs{Exclusive: true, Lock: nlm.Lock{Caller: "client", FH: fh, OH: []byte{1}, SVID: svid}})
	}
	f := e.file("f", "data")
	if got := lock(f, 1); got != nlm.Granted {
		t.Errorf("a file's lock: %v", got)
	}
	if got := lock(f, 2); got != nlm.Denied {
		t.Errorf("another's lock: %v", got)
	}
	for what, fh := range e.badHandles() {
		if got := lock(fh, 1); got != nlm.StaleFH {
			t.Errorf("%s handle: %v", what, got)
		}
	}
	if got := lock(e.stale(), 1); got != nlm.StaleFH {
		t.Errorf("stale handle: %v", got)
	}
	secret := ok[nfs3.FH](t)(e.other.WriteFile(e.ctx, e.root, "secret", nil, 0o600))
	if got := lock(secret, 1); got != nlm.Failed {
		t.Errorf("a file that the user may not open: %v", got)
	}
	ok[*nfs3.WccRes](t)(e.user.Remove(e.ctx, e.root, "f"))
	if got := lock(f, 1); got != nlm.StaleFH {
		t.Errorf("a file that was removed while locked: %v", got)
	}
}

func TestLocks_areNotServedUnlessAskedFor(t *testing.T) {
	e := start(t)
	_, err := e.dialRPC().Call(e.ctx, rpc.Call{Prog: nlm.Program, Vers: nlm.Version}, nil)
	var accept *rpc.AcceptError
	if !errors.As(err, &accept) || accept.Outcome != rpc.ProgUnavail {
		t.Error(err)
	}
	for _, s := range e.server.Services(2049, true) {
		if s.Prog == nlm.Program {
			t.Error("rpcbind would be told that they are")
		}
	}
}

func TestServices(t *testing.T) {
	want := func(packets bool) (list []rpcbind.Service) {
		for _, prog := range []uint32{100003, 100005, 100021, 100024} {
			vers := map[uint32]uint32{100003: 3, 100005: 3, 100021: 4, 100024: 1}[prog]
			list = append(list, rpcbind.Service{Prog: prog, Vers: vers, Netid: "tcp", Port: 2049}, rpcbind.Service{Prog: prog, Vers: vers, Netid: "tcp6", Port: 2049})
			if packets && prog != 100003 {
				list = append(list, rpcbind.Service{Prog: prog, Vers: vers, Netid: "udp", Port: 2049}, rpcbind.Service{Prog: prog, Vers: vers, Netid: "udp6", Port: 2049})
			}
		}
		return list
	}
	e := start(t, withLocks)
	for _, packets := range []bool{false, true} {
		if d := cmp.Diff(want(packets), e.server.Services(2049, packets)); d != "" {
			t.Errorf("packets %v (-want +got):\n%s", packets, d)
		}
	}
}

// TestPackets: MOUNT may be called by UDP, NFS not.
func TestPackets(t *testing.T) {
	e := start(t, withLocks)
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.server.ServePacket(pc) }()
	defer func() {
		e.server.Close()
		if err := <-served; !errors.Is(err, nfs.ErrServerClosed) {
			t.Errorf("serving ended with %v", err)
		}
	}()
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	results, err := rpc.CallPacket(e.ctx, nc, rpc.Call{Prog: mount.Program, Vers: mount.Version, Proc: uint32(mount.ProcMnt)}, (&mount.PathArgs{Path: "/"}).Encode)
	var res mount.MntRes
	if res.Decode(xdr.NewDecoder(results)); err != nil || res.Status != mount.OK || cmp.Diff(e.root, res.Object) != "" {
		t.Errorf("MNT by UDP: %+v, %v", res, err)
	}
	for _, call := range []struct {
		rpc.Call
		want rpc.Outcome
	}{
		{rpc.Call{Prog: mount.Program, Vers: mount.Version, Proc: uint32(mount.ProcDump)}, rpc.ProcUnavail},
		{rpc.Call{Prog: nfs3.Program, Vers: nfs3.Version}, rpc.ProgUnavail},
		{rpc.Call{Prog: nlm.Program, Vers: 3}, rpc.ProgMismatch},
	} {
		_, err := rpc.CallPacket(e.ctx, nc, call.Call, nil)
		var accept *rpc.AcceptError
		if !errors.As(err, &accept) || accept.Outcome != call.want {
			t.Errorf("program %d procedure %d: %v, want %v", call.Prog, call.Proc, err, call.want)
		}
	}
}

// FuzzLocks sends arguments to every procedure of NLM and NSM over one connection: none of them ends it, and each gets an
// answer that decodes. It locks real files, so that the handlers are reached.
func FuzzLocks(f *testing.F) {
	e := start(f, withLocks)
	fh := e.file("f", "data")
	lock := nlm.Lock{Caller: "client", FH: fh, OH: []byte{1}, SVID: 1}
	var args xdr.Encoder
	for _, m := range []nlm.Message{
		&nlm.LockArgs{Exclusive: true, Block: true, Lock: lock, State: 3}, &nlm.TestArgs{Exclusive: true, Lock: lock}, &nlm.UnlockArgs{Lock: lock},
		&nlm.CancelArgs{Block: true, Lock: lock}, &nlm.ShareArgs{Caller: "client", FH: fh, Mode: 3, Access: 3}, &nlm.Notify{Name: "client", State: 5},
	} {
		args.Reset(nil)
		m.Encode(&args)
		for p := range uint8(32) {
			f.Add(p, args.Bytes())
		}
	}
	c := e.dialRPC()
	f.Fuzz(func(t *testing.T, proc uint8, args []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		call := rpc.Call{Prog: nlm.Program, Vers: nlm.Version, Proc: uint32(proc), Cred: rpc.Credential{Flavor: rpc.AuthSys}}
		if proc >= 24 {
			call.Prog, call.Vers, call.Proc = nsm.Program, nsm.Version, uint32(proc-24)
		}
		results, err := c.Call(ctx, call, func(e *xdr.Encoder) { e.Fixed(args[:len(args)&^3]) })
		var accept *rpc.AcceptError
		switch {
		case errors.As(err, &accept):
			if accept.Outcome != rpc.GarbageArgs && accept.Outcome != rpc.ProcUnavail {
				t.Fatalf("procedure %d: %v", proc, accept)
			}
		case err != nil:
			t.Fatalf("procedure %d: %v", proc, err)
		case call.Prog == nlm.Program:
			res := nlm.NewRes(nlm.Proc(proc))
			d := xdr.NewDecoder(results)
			if res.Decode(d); d.Finish() != nil {
				t.Fatalf("procedure %d: results do not decode: %v", proc, d.Err())
			}
		}
	})
}
