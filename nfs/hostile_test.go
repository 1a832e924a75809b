package nfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// words are 32-bit big-endian words, with a record mark in front.
func record(words ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1<<31|uint32(4*len(words)))
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// callTo begins a call with AUTH_NONE; arguments follow.
func callTo(prog, vers, proc uint32, args ...uint32) []byte {
	return record(append([]uint32{0x11223344, 0, 2, prog, vers, proc, 0, 0, 0, 0}, args...)...)
}

func rawDial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc.(*net.TCPConn)
}

// Bytes that are RPC, but ask for what is not served, get the error that RFC 5531 §9 names.
func TestHostile_answered(t *testing.T) {
	e := start(t)
	accepted := func(rest ...uint32) []byte { return record(append([]uint32{0x11223344, 1, 0, 0, 0}, rest...)...) }
	denied := func(rest ...uint32) []byte { return record(append([]uint32{0x11223344, 1, 1}, rest...)...) }
	for _, tc := range []struct {
		name string
		send []byte
		want []byte
	}{
		{"PROG_UNAVAIL", callTo(100021, 4, 0), accepted(1)},
		{"PROG_MISMATCH/NFS 2", callTo(nfs3.Program, 2, 0), accepted(2, 3, 3)},
		{"PROG_MISMATCH/NFS 4", callTo(nfs3.Program, 4, 0), accepted(2, 3, 3)},
		{"PROG_MISMATCH/MOUNT 1", callTo(mount.Program, 1, 0), accepted(2, 3, 3)},
		{"PROC_UNAVAIL/NFS", callTo(nfs3.Program, 3, 22), accepted(3)},
		{"PROC_UNAVAIL/MOUNT", callTo(mount.Program, 3, 6), accepted(3)},
		{"PROC_UNAVAIL/huge", callTo(nfs3.Program, 3, 1<<32-1), accepted(3)},
		{"GARBAGE_ARGS/no arguments", callTo(nfs3.Program, 3, 1), accepted(4)},
		{"GARBAGE_ARGS/handle of 65 bytes", callTo(nfs3.Program, 3, 1, append([]uint32{65}, make([]uint32, 17)...)...), accepted(4)},
		{"GARBAGE_ARGS/handle of 4 GiB", callTo(nfs3.Program, 3, 1, 1<<32-1), accepted(4)},
		{"GARBAGE_ARGS/NULL with arguments", callTo(nfs3.Program, 3, 0, 1), accepted(4)},
		{"GARBAGE_ARGS/arguments and more", callTo(nfs3.Program, 3, 1, 4, 0, 0), accepted(4)},
		{"GARBAGE_ARGS/MNT", callTo(mount.Program, 3, 1, 1025), accepted(4)},
		{"AUTH_ERROR/RPCSEC_GSS", record(0x11223344, 0, 2, nfs3.Program, 3, 0, 6, 0, 0, 0), denied(1, 2)},
		{"AUTH_ERROR/17 groups", record(append([]uint32{0x11223344, 0, 2, nfs3.Program, 3, 0, 1, 4 * 22, 0, 0, 0, 0, 17}, make([]uint32, 19)...)...), denied(1, 1)},
		{"RPC_MISMATCH", record(0x11223344, 0, 1, nfs3.Program, 3, 0, 0, 0, 0, 0), denied(0, 2, 2)},
		{"BADHANDLE", callTo(nfs3.Program, 3, 1, 4, 7), accepted(0, 10001)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc := rawDial(t, e.addr)
			for range 2 { // the connection lives on
				if _, err := nc.Write(tc.send); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(tc.want))
				if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, tc.want) {
					t.Fatalf("% x, %v; want % x", got, err, tc.want)
				}
			}
		})
	}
	e.attr(e.root)
}

// Bytes that are no RPC end their connection, and nothing else.
func TestHostile_closed(t *testing.T) {
	e := start(t)
	fragment := func(last bool, n uint32) []byte {
		if last {
			n |= 1 << 31
		}
		return binary.BigEndian.AppendUint32(nil, n)
	}
	for name, send := range map[string][]byte{
		"a record of 2 GiB":                 fragment(true, 1<<31-1),
		"a record just over the limit":      fragment(true, 1<<20+16<<10+1),
		"fragments over the limit":          append(append(fragment(false, 1<<20), make([]byte, 1<<20)...), fragment(true, 1<<20)...),
		"an empty record":                   fragment(true, 0),
		"a reply":                           record(1, 1, 0, 0, 0, 0),
		"a call cut in its header":          record(1, 0, 2, nfs3.Program, 3),
		"a credential longer than its call": record(1, 0, 2, nfs3.Program, 3, 0, 1, 40, 0),
		"text":                              []byte("SSH-2.0-OpenSSH_9.9\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			nc := rawDial(t, e.addr)
			if _, err := nc.Write(send); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(nc); err != nil || len(b) != 0 {
				t.Errorf("% x, %v; want a closed connection", b, err)
			}
			e.attr(e.root) // another connection
		})
	}
	t.Run("half a record, then nothing", func(t *testing.T) {
		for _, send := range [][]byte{{0x80}, callTo(nfs3.Program, 3, 0)[:20], fragment(false, 0)} {
			nc := rawDial(t, e.addr)
			if _, err := nc.Write(send); err != nil {
				t.Fatal(err)
			}
			if err := nc.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(nc); err != nil || len(b) != 0 {
				t.Errorf("% x, %v; want a closed connection", b, err)
			}
		}
	})
	t.Run("calls, then a reset", func(t *testing.T) {
		for range 20 {
			nc := rawDial(t, e.addr)
			if _, err := nc.Write(bytes.Repeat(callTo(nfs3.Program, 3, 0), 100)); err != nil {
				t.Fatal(err)
			}
			if err := nc.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			nc.Close()
		}
		e.attr(e.root)
	})
}

func TestHostile_connectionFlood(t *testing.T) {
	e := start(t, func(cfg *nfs.Config, _ *spy) { cfg.Limits = rpc.Limits{Conns: 20, Evict: time.Hour} })
	var held []net.Conn
	for range 200 {
		held = append(held, rawDial(t, e.addr))
	}
	e.attr(e.root)
	if n := e.server.Conns(); n > 20 {
		t.Errorf("%d connections, at most 20 are allowed", n)
	}
	for _, nc := range held {
		nc.Close()
	}
	// when the flood is over, new clients are served again
	for {
		c, err := nfsclient.Dial(e.ctx, e.addr)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Null(e.ctx)
		c.Close()
		if err == nil {
			return
		}
		if e.ctx.Err() != nil {
			t.Fatal("no client was served after the flood")
		}
	}
}

// Whatever the arguments of whatever procedure, the server answers, and what it does to the file system it does as a
// whole call: afterwards it still works.
func FuzzServer(f *testing.F) {
	e := start(f)
	fh := e.file("f", "data")
	var args xdr.Encoder
	for _, m := range []nfs3.Message{
		&nfs3.HandleArgs{Object: fh}, &nfs3.DirOpArgs{Dir: e.root, Name: "f"}, &nfs3.SetAttrArgs{Object: fh, Attr: mode(0o600)},
		&nfs3.ReadArgs{File: fh, Offset: 1, Count: 1 << 31}, &nfs3.WriteArgs{File: fh, Offset: 1 << 62, Count: 1, Data: []byte("x")},
		&nfs3.CreateArgs{Where: nfs3.DirOpArgs{Dir: e.root, Name: "g"}, Mode: nfs3.Exclusive},
		&nfs3.MknodArgs{Where: nfs3.DirOpArgs{Dir: e.root, Name: "h"}, Type: nfs3.TypeChar},
		&nfs3.RenameArgs{From: nfs3.DirOpArgs{Dir: e.root, Name: "f"}, To: nfs3.DirOpArgs{Dir: e.root, Name: "i"}},
		&nfs3.ReadDirPlusArgs{Dir: e.root, Cookie: 3, DirCount: 1 << 31, MaxCount: 1 << 31},
	} {
		args.Reset(nil)
		m.Encode(&args)
		for p := range uint8(nfs3.ProcEnd) {
			f.Add(p, args.Bytes())
		}
	}
	nc, err := net.Dial("tcp", e.addr)
	if err != nil {
		f.Fatal(err)
	}
	c := rpc.NewClient(nc)
	f.Cleanup(func() { c.Close() })
	f.Fuzz(func(t *testing.T, proc uint8, args []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		args = args[:len(args)&^3]
		call := rpc.Call{Prog: nfs3.Program, Vers: nfs3.Version, Proc: uint32(proc), Cred: rpc.Credential{Flavor: rpc.AuthSys}}
		results, err := c.Call(ctx, call, func(e *xdr.Encoder) { e.Fixed(args) })
		var accept *rpc.AcceptError
		switch {
		case errors.As(err, &accept):
			if wanted := rpc.GarbageArgs; accept.Outcome != wanted && proc < nfs3.ProcEnd {
				t.Fatalf("%v: %v", nfs3.Proc(proc), accept)
			}
		case err != nil:
			t.Fatalf("%v: %v", nfs3.Proc(proc), err)
		default:
			res := nfs3.NewRes(nfs3.Proc(proc))
			d := xdr.NewDecoder(results)
			res.Decode(d)
			if err := d.Finish(); err != nil {
				t.Fatalf("%v: results do not decode: %v", nfs3.Proc(proc), err)
			}
			if r, isResult := res.(nfs3.Result); isResult && !mayReturn(nfs3.Proc(proc), r.Code()) {
				t.Fatalf("%v returned %v", nfs3.Proc(proc), r.Code())
			}
		}
	})
}
