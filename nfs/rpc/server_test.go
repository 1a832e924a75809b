package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bfsd/nfs/xdr"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The test program's procedures.
const (
	testProg  = 400000
	procNull  = 0
	procEcho  = 1 // opaque → the same opaque
	procBlock = 2 // returns when the test says so
	procBulk  = 3 // n → n bytes
	procPanic = 4
	procDrop  = 5
)

// testServer is a server of the test program on a loopback port.
type testServer struct {
	*Server
	addr    string
	started chan struct{} // one for each procBlock that has begun
	release chan struct{} // lets one procBlock return
	running atomic.Int32  // procBlock and procBulk calls that are in the handler
}

func startServer(t *testing.T, limits Limits) *testServer {
	t.Helper()
	ts := &testServer{started: make(chan struct{}, 1000), release: make(chan struct{})}
	ts.Server = NewServer(limits, slog.New(slog.DiscardHandler), Program{
		Number: testProg, Low: 2, High: 3, Serve: ts.serve,
		ReplyBound: func(call *Call) int {
			if call.Proc == procBulk && len(call.Args) == 4 {
				return int(binary.BigEndian.Uint32(call.Args))
			}
			return 0
		},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- ts.Serve(l) }()
	t.Cleanup(func() {
		ts.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return ts
}

func (ts *testServer) serve(ctx context.Context, call *Call, reply *xdr.Encoder) Outcome {
	d := xdr.NewDecoder(call.Args)
	switch call.Proc {
	case procNull:
	case procEcho:
		b := d.Opaque(1 << 20)
		if d.Finish() != nil {
			return GarbageArgs
		}
		reply.Opaque(b)
	case procBlock:
		ts.running.Add(1)
		defer ts.running.Add(-1)
		ts.started <- struct{}{}
		select {
		case <-ts.release:
		case <-ctx.Done():
			return Drop
		}
	case procBulk:
		reply.OpaqueRef(make([]byte, d.Uint32()))
	case procPanic:
		panic("as asked")
	case procDrop:
		return Drop
	default:
		return ProcUnavail
	}
	return Success
}

func dialRaw(t *testing.T, addr string) *net.TCPConn {
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

func dialClient(t *testing.T, addr string) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(nc)
	t.Cleanup(func() { c.Close() })
	return c
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func echo(ctx context.Context, c *Client, b []byte) error {
	got, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procEcho}, func(e *xdr.Encoder) { e.OpaqueRef(b) })
	if err != nil {
		return err
	}
	if d := xdr.NewDecoder(got); !bytes.Equal(d.Opaque(len(b)), b) || d.Finish() != nil {
		return errors.New("echo differs")
	}
	return nil
}

func TestServer_answers(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	for _, tc := range []struct {
		name string
		call Call
		want error
	}{
		{"NULL", Call{Prog: testProg, Vers: 3}, nil},
		{"the lowest version", Call{Prog: testProg, Vers: 2}, nil},
		{"AUTH_SYS", Call{Prog: testProg, Vers: 3, Cred: Credential{Flavor: AuthSys, UID: 1}}, nil},
		{"another program", Call{Prog: testProg + 1, Vers: 3}, &AcceptError{Outcome: ProgUnavail}},
		{"a version too low", Call{Prog: testProg, Vers: 1}, &AcceptError{ProgMismatch, 2, 3}},
		{"a version too high", Call{Prog: testProg, Vers: 4}, &AcceptError{ProgMismatch, 2, 3}},
		{"an unknown procedure", Call{Prog: testProg, Vers: 3, Proc: 99}, &AcceptError{Outcome: ProcUnavail}},
		{"arguments that do not decode", Call{Prog: testProg, Vers: 3, Proc: procEcho}, &AcceptError{Outcome: GarbageArgs}},
		{"a handler that panics", Call{Prog: testProg, Vers: 3, Proc: procPanic}, &AcceptError{Outcome: SystemErr}},
		{"a flavor that is not served", Call{Prog: testProg, Vers: 3, Cred: Credential{Flavor: 6}}, &DeniedError{Auth: AuthRejectedCred}},
		{"NULL after all that", Call{Prog: testProg, Vers: 3}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.Call(ctx, tc.call, nil)
			var accept *AcceptError
			var denied *DeniedError
			switch {
			case tc.want == nil && err == nil:
			case errors.As(err, &accept) && *accept == deref[AcceptError](tc.want):
			case errors.As(err, &denied) && *denied == deref[DeniedError](tc.want):
			default:
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// deref returns the value an error points to, or the zero value if it is of another type.
func deref[T any](err error) (zero T) {
	if p, ok := any(err).(*T); ok {
		return *p
	}
	return zero
}

func TestServer_rpcVersionMismatchNamesTheVersions(t *testing.T) {
	ts := startServer(t, Limits{})
	nc := dialRaw(t, ts.addr)
	if _, err := nc.Write(mark(true, words(77, 0, 3, 0, 0, 0))); err != nil {
		t.Fatal(err)
	}
	want := mark(true, words(77, 1, 1, 0, 2, 2))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("reply % x, %v; want % x", got, err, want)
	}
}

func TestServer_echoesEverySize(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	for _, n := range []int{0, 1, 3, 4, 1000, 16 << 10, 64<<10 + 1, 1 << 20} {
		if err := echo(testContext(t), c, pattern(n)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if n := c.Calls(); n != 8 {
		t.Errorf("Calls = %d, want 8", n)
	}
}

func TestServer_reassemblesFragments(t *testing.T) {
	ts := startServer(t, Limits{})
	nc := dialRaw(t, ts.addr)
	record := callRecord(Call{XID: 3, Prog: testProg, Vers: 3, Proc: procEcho}, 4, 0x61626364)
	var stream []byte
	for i, b := range record {
		stream = append(stream, mark(i == len(record)-1, []byte{b})...)
	}
	if _, err := nc.Write(stream); err != nil {
		t.Fatal(err)
	}
	want := mark(true, words(3, 1, 0, 0, 0, 0, 4, 0x61626364))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("reply % x, %v; want % x", got, err, want)
	}
}

func TestServer_slowCallDoesNotBlockOthers(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	for range 100 {
		if err := echo(ctx, c, []byte("fast")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-slow:
		t.Fatalf("the slow call ended early: %v", err)
	default:
	}
	ts.release <- struct{}{}
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestServer_manyCallsFromManyConnections(t *testing.T) {
	ts := startServer(t, Limits{Calls: 8, Bytes: 256 << 10})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 4 {
		c := dialClient(t, ts.addr)
		for i := range 16 {
			wg.Go(func() {
				for j := range 50 {
					if err := echo(ctx, c, pattern((i*j*97)%70000)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestServer_malformedStreamEndsItsConnectionOnly(t *testing.T) {
	ts := startServer(t, Limits{Read: time.Second})
	bystander := dialClient(t, ts.addr)
	ctx := testContext(t)
	for _, tc := range []struct {
		name   string
		stream []byte
	}{
		{"a record of 2 GiB", []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3}},
		{"an empty record", mark(true, nil)},
		{"a reply", mark(true, words(1, 1, 0, 0, 0, 0))},
		{"a header cut short", mark(true, words(1, 0, 2, testProg))},
		{"an HTTP request", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"a TLS hello", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}},
		{"empty fragments without end", make([]byte, 4*(fragmentsMax+1))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc := dialRaw(t, ts.addr)
			if _, err := nc.Write(tc.stream); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(nc); len(b) != 0 || err != nil {
				t.Errorf("the server sent % x, %v; want a closed connection", b, err)
			}
			if err := echo(ctx, bystander, []byte("alive")); err != nil {
				t.Errorf("another connection suffered: %v", err)
			}
		})
	}
}

// waitFor polls, because the condition is another goroutine's state that nothing announces.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// A client that has waited long for a reply sends its call again on the same connection. The copy is served only if the
// call is not in flight any more; another call under the same transaction id is another.
func TestServer_callInFlightIsNotServedTwice(t *testing.T) {
	ts := startServer(t, Limits{Bytes: 64 << 10})
	nc := dialRaw(t, ts.addr)
	block := mark(true, callRecord(Call{XID: 7, Prog: testProg, Vers: 3, Proc: procBlock}))
	null := mark(true, callRecord(Call{XID: 7, Prog: testProg, Vers: 3, Proc: procNull}))
	reply := mark(true, words(7, 1, 0, 0, 0, 0))
	expect := func(n int) {
		t.Helper()
		got := make([]byte, n*len(reply))
		if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, bytes.Repeat(reply, n)) {
			t.Fatalf("% x, %v", got, err)
		}
	}
	send := func(b []byte) {
		t.Helper()
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	send(block)
	<-ts.started
	send(bytes.Repeat(block, 200)) // more than is allowed in flight
	send(null)
	expect(1) // that of null: all the others were read before it
	if n := ts.running.Load(); n != 1 {
		t.Errorf("the call is served %d times at once", n)
	}
	ts.release <- struct{}{}
	expect(1)
	send(block)
	<-ts.started
	ts.release <- struct{}{}
	expect(1)
}
