package gonfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

func TestCallsThatGoNFSMustNotSee(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	c := dial(t, addr)
	root := c.mount("/")
	mismatch := &rpc.AcceptError{Outcome: rpc.ProgMismatch, Low: 3, High: 3}
	garbage := &rpc.AcceptError{Outcome: rpc.GarbageArgs}
	words := func(w ...uint32) func(*xdr.Encoder) {
		return func(e *xdr.Encoder) {
			for _, v := range w {
				e.Uint32(v)
			}
		}
	}
	for _, test := range []struct {
		name string
		call rpc.Call
		args func(*xdr.Encoder)
		want error
	}{
		{"NFSv4", rpc.Call{Prog: progNFS, Vers: 4, Proc: 1}, nil, mismatch},
		{"MOUNT version 1", rpc.Call{Prog: progMount, Vers: 1, Proc: 1}, nil, mismatch},
		{"portmapper", rpc.Call{Prog: 100000, Vers: 2, Proc: 3}, nil, &rpc.AcceptError{Outcome: rpc.ProgUnavail}},
		{"no such procedure", rpc.Call{Prog: progNFS, Vers: 3, Proc: 22}, nil, &rpc.AcceptError{Outcome: rpc.ProcUnavail}},
		{"no such MOUNT procedure", rpc.Call{Prog: progMount, Vers: 3, Proc: 99}, nil, &rpc.AcceptError{Outcome: rpc.ProcUnavail}},
		{"no arguments", rpc.Call{Prog: progNFS, Vers: 3, Proc: procGetattr}, nil, garbage},
		{"handle of 4 GiB", rpc.Call{Prog: progNFS, Vers: 3, Proc: procGetattr}, words(0xffffffff), garbage},
		{"handle of 2 GiB", rpc.Call{Prog: progNFS, Vers: 3, Proc: procLookup}, words(0x7fffffff), garbage},
		{"handle longer than the call", rpc.Call{Prog: progNFS, Vers: 3, Proc: procRead}, words(64, 0), garbage},
		{"name of 2 GiB", rpc.Call{Prog: progNFS, Vers: 3, Proc: procLookup}, func(e *xdr.Encoder) { e.Opaque(root); e.Uint32(0x7ffffffe) }, garbage},
		{"data of 1 GiB", rpc.Call{Prog: progNFS, Vers: 3, Proc: procWrite}, func(e *xdr.Encoder) { e.Opaque(root); words(0, 0, 1, 2, 1<<30)(e) }, garbage},
		{"link target too long", rpc.Call{Prog: progNFS, Vers: 3, Proc: procSymlink}, func(e *xdr.Encoder) {
			dirop(root, "link")(e)
			noAttrs(e)
			e.String(strings.Repeat("x", fsstate.PathMax+1))
		}, garbage},
		{"boolean of 2", rpc.Call{Prog: progNFS, Vers: 3, Proc: procMkdir}, func(e *xdr.Encoder) { dirop(root, "dir")(e); words(2)(e) }, garbage},
		{"path to mount of 4 GiB", rpc.Call{Prog: progMount, Vers: 3, Proc: procMnt}, words(0xfffffffe), garbage},
	} {
		_, err := c.rpc.Call(c.ctx, test.call, test.args)
		var got, want *rpc.AcceptError
		if !errors.As(err, &got) || !errors.As(test.want, &want) || *got != *want {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
	if status, _ := c.nfs3(procLookup, dirop(root, "dir")); status != nfsNoEnt {
		t.Errorf("a refused call had an effect: status %d", status)
	}
}

func TestRejectedCalls(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	nc := stream(t, addr)
	for _, test := range []struct {
		name string
		word int // of the header, to be changed
		to   uint32
		want []uint32
	}{
		{"RPC version 3", 2, 3, []uint32{77, msgReply, replyDenied, rejectRPCMismatch, 2, 2}},
		{"RPCSEC_GSS", 6, 6, []uint32{77, msgReply, replyDenied, rejectAuthError, authBadCred}},
	} {
		h := header(77, progNFS, 3, procNull)
		binary.BigEndian.PutUint32(h[4*test.word:], test.to)
		if _, err := nc.Write(record(h)); err != nil {
			t.Fatal(err)
		}
		if got := record(readReply(t, nc)); !bytes.Equal(got, words(test.want)) {
			t.Errorf("%s: got %x, want %x", test.name, got, words(test.want))
		}
	}
}

func TestStreamsThatAreNoCalls(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{RecordMax: 1 << 16})
	for name, b := range map[string][]byte{
		"text":                     []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n" + strings.Repeat("x", 1<<17)),
		"record too long":          binary.BigEndian.AppendUint32(nil, lastFragment|1<<16+1),
		"records too long in sum":  bytes.Repeat(append(binary.BigEndian.AppendUint32(nil, 1<<12), make([]byte, 1<<12)...), 17),
		"endless empty fragments":  make([]byte, 4*fragmentsMax),
		"empty record":             record(nil),
		"short header":             record(header(1, progNFS, 3, 0)[:36]),
		"reply":                    record(append([]byte{0, 0, 0, 1, 0, 0, 0, 1}, make([]byte, 40)...)),
		"credential too long":      record(append(header(1, progNFS, 3, 0)[:28], 0, 0, 1, 0x91, 0, 0, 0, 0, 0, 0, 0, 0)),
		"credential out of record": record(append(header(1, progNFS, 3, 0)[:28], 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
	} {
		nc := stream(t, addr)
		// The server may close before it has read all of it.
		_, _ = nc.Write(b)
		if got, err := io.ReadAll(nc); len(got) > 0 || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: answered with %x, %v", name, got, err)
		}
	}
	dial(t, addr).mount("/") // the server lives
}

func TestRecordInFragments(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	root := dial(t, addr).mount("/")
	nc := stream(t, addr)
	args := xdr.NewEncoder(header(5, progNFS, 3, procGetattr))
	args.Opaque(root)
	call := args.Bytes()
	for size := 1; size <= len(call); size += 7 {
		var b []byte
		for rest := call; len(rest) > 0; {
			n := min(size, len(rest))
			mark := uint32(n)
			if n == len(rest) {
				mark |= lastFragment
			}
			b = append(binary.BigEndian.AppendUint32(b, mark), rest[:n]...)
			rest = rest[n:]
		}
		// Byte by byte, so that every read of the server's is short.
		for i := range b {
			if _, err := nc.Write(b[i : i+1]); err != nil {
				t.Fatal(err)
			}
		}
		d := xdr.NewDecoder(readReply(t, nc))
		if d.Fixed(24); d.Uint32() != 0 {
			t.Errorf("fragments of %d bytes: call failed", size)
		}
	}
}

// A client that sends its last calls and says so gets their replies, which go-nfs alone would drop.
func TestRepliesComeBeforeTheEnd(t *testing.T) {
	_, addr := serve(t, newBackend(), Config{})
	root := dial(t, addr).mount("/")
	const calls = 50
	nc := stream(t, addr)
	var b []byte
	for i := range calls {
		e := xdr.NewEncoder(header(uint32(i), progNFS, 3, procGetattr))
		e.Opaque(root)
		b = append(b, record(e.Bytes())...)
		b = append(b, record(header(uint32(i), 4711, 3, 0))...) // answered without go-nfs
	}
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * calls {
		if xid := binary.BigEndian.Uint32(readReply(t, nc)); xid != uint32(i/2) {
			t.Fatalf("reply %d is to call %d", i, xid)
		}
	}
	if rest, err := io.ReadAll(nc); len(rest) > 0 || err != nil {
		t.Errorf("then came %x, %v", rest, err)
	}
}

// FuzzScreen looks for a record that makes the screen panic, or pass something it must not.
func FuzzScreen(f *testing.F) {
	for proc := range uint32(procLast + 2) {
		e := xdr.NewEncoder(header(1, progNFS, 3, proc))
		e.Opaque(make([]byte, handleLen))
		e.String("name")
		noAttrs(e)
		e.String("target")
		f.Add(e.Bytes())
	}
	f.Add(header(1, progMount, 3, procMnt))
	f.Add(header(1, progMount, 1, procMnt))
	f.Fuzz(func(t *testing.T, rec []byte) {
		reply, ok := screen(rec)
		if ok && len(rec) < callMin {
			t.Errorf("passed or answered %d bytes", len(rec))
		}
		if reply == nil && ok && binary.BigEndian.Uint32(rec[16:]) != version3 {
			t.Error("passed another version than 3")
		}
		if reply != nil && (!ok || !bytes.Equal(reply[4:8], rec[:4])) {
			t.Errorf("reply %x to %x", reply, rec)
		}
	})
}

// FuzzServer gives a whole server, with go-nfs in it, a call of every procedure with any arguments, and any bytes after
// it: a panic in go-nfs would end the process.
func FuzzServer(f *testing.F) {
	for proc := range uint8(procLast + 1) {
		e := xdr.NewEncoder(nil)
		e.Opaque(appendHandle(nil, [8]byte{}, fsstate.Handle{Ino: 1, Gen: 1}))
		e.String("name")
		noAttrs(e)
		e.String("target")
		f.Add(false, proc, e.Bytes(), []byte{})
	}
	f.Add(true, uint8(procMnt), []byte{0, 0, 0, 1, '/', 0, 0, 0}, record(header(2, progNFS, 3, 0)))
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, mount bool, proc uint8, args, after []byte) {
		prog := uint32(progNFS)
		if mount {
			prog = progMount
		}
		s := New(newBackend(), Config{Log: log, RecordMax: 1 << 16})
		ours, theirs := net.Pipe()
		s.start(theirs)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, ours)
		}()
		_, _ = ours.Write(append(record(append(header(1, prog, 3, uint32(proc)), args...)), after...))
		if err := s.Shutdown(testContext(t)); err != nil {
			t.Errorf("the connection does not end: %v", err)
		}
		<-drained
	})
}
