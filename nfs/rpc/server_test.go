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

func TestServer_halfRecordIsGivenUp(t *testing.T) {
	ts := startServer(t, Limits{Read: 50 * time.Millisecond, Linger: time.Millisecond})
	for _, stream := range [][]byte{{0x80}, {0x80, 0, 1, 0}, mark(true, make([]byte, 256))[:100]} {
		nc := dialRaw(t, ts.addr)
		if _, err := nc.Write(stream); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(nc); len(b) != 0 || err != nil {
			t.Errorf("the server sent % x, %v; want a closed connection", b, err)
		}
	}
}

func TestServer_idleConnectionIsClosedOnlyWithoutCalls(t *testing.T) {
	ts := startServer(t, Limits{Idle: 20 * time.Millisecond, Linger: time.Millisecond})
	idle, busy := dialRaw(t, ts.addr), dialClient(t, ts.addr)
	slow := make(chan error, 1)
	go func() {
		_, err := busy.Call(testContext(t), Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	for range 3 { // three idle times, one after the other, all of them while the call is in flight
		if _, err := io.ReadAll(idle); err != nil {
			t.Fatalf("idle connection: %v", err)
		}
		idle = dialRaw(t, ts.addr)
	}
	if err := echo(testContext(t), busy, []byte("still served")); err != nil {
		t.Errorf("a connection with a call in flight is not read any more: %v", err)
	}
	ts.release <- struct{}{}
	if err := <-slow; err != nil {
		t.Errorf("a connection with a call in flight was closed: %v", err)
	}
}

func TestServer_halfClosedConnectionGetsItsReplies(t *testing.T) {
	ts := startServer(t, Limits{})
	nc := dialRaw(t, ts.addr)
	if _, err := nc.Write(mark(true, callRecord(Call{XID: 3, Prog: testProg, Vers: 3, Proc: procBlock}))); err != nil {
		t.Fatal(err)
	}
	<-ts.started
	if err := nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ts.letTimePass(t) // so that the server has seen the end before the reply
	ts.release <- struct{}{}
	want := mark(true, words(3, 1, 0, 0, 0, 0))
	if got, err := io.ReadAll(nc); err != nil || !bytes.Equal(got, want) {
		t.Errorf("reply % x, %v; want % x", got, err, want)
	}
}

func TestServer_droppedCallClosesTheConnectionAfterTheOthers(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	dropped := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procDrop}, nil)
		dropped <- err
	}()
	ts.waitStopping(t)
	ts.release <- struct{}{}
	if err := <-slow; err != nil {
		t.Errorf("the other call in flight was lost: %v", err)
	}
	if err := <-dropped; !errors.Is(err, io.EOF) {
		t.Errorf("the dropped call ended with %v, want a closed connection", err)
	}
}

// waitStopping waits until the server has decided to read no more from a connection.
func (ts *testServer) waitStopping(t *testing.T) {
	t.Helper()
	waitFor(t, "the server to stop reading", func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		for c := range ts.conns {
			c.mu.Lock()
			stopping := c.stopping
			c.mu.Unlock()
			if stopping {
				return true
			}
		}
		return false
	})
}

// Closing a socket with unread input resets the connection, which may cost the peer its last replies.
func TestServer_closesWithoutReset(t *testing.T) {
	ts := startServer(t, Limits{})
	nc := dialRaw(t, ts.addr)
	send := func(b []byte) {
		t.Helper()
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	send(mark(true, callRecord(Call{XID: 1, Prog: testProg, Vers: 3, Proc: procBlock})))
	<-ts.started
	send(mark(true, callRecord(Call{XID: 2, Prog: testProg, Vers: 3, Proc: procDrop})))
	ts.waitStopping(t)
	send(make([]byte, 64<<10)) // which nobody reads
	ts.release <- struct{}{}
	want := mark(true, words(1, 1, 0, 0, 0, 0))
	if got, err := io.ReadAll(nc); err != nil || !bytes.Equal(got, want) {
		t.Errorf("% x, %v; want % x and the end", got, err, want)
	}
}

// A record that waits for others' bytes to be released is not late by its sender's fault.
func TestServer_timeSpentWaitingForRoomDoesNotCount(t *testing.T) {
	const limit = 100 * time.Millisecond
	ts := startServer(t, Limits{Bytes: 64 << 10, Read: limit})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	slow, large := make(chan error, 1), make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	go func() { large <- echo(ctx, c, pattern(200_000)) }()
	for time.Since(begun) < 3*limit {
		ts.letTimePass(t)
	}
	ts.release <- struct{}{}
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if err := <-large; err != nil {
		t.Errorf("the call that had to wait: %v", err)
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

// letTimePass gives the server time to do what it should not do, measured in calls that it serves meanwhile.
func (ts *testServer) letTimePass(t *testing.T) {
	t.Helper()
	c := dialClient(t, ts.addr)
	for range 200 {
		if err := echo(testContext(t), c, []byte("tick")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServer_boundsCallsInFlight(t *testing.T) {
	ts := startServer(t, Limits{Calls: 3})
	nc := dialRaw(t, ts.addr)
	var stream []byte
	for i := range 10 {
		stream = append(stream, mark(true, callRecord(Call{XID: uint32(i), Prog: testProg, Vers: 3, Proc: procBlock}))...)
	}
	if _, err := nc.Write(stream); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-ts.started
	}
	ts.letTimePass(t)
	if n := ts.running.Load(); n != 3 {
		t.Errorf("%d calls run at once, limit 3", n)
	}
	for range 10 {
		ts.release <- struct{}{}
	}
	replies := make([]byte, 10*len(mark(true, words(0, 1, 0, 0, 0, 0))))
	if _, err := io.ReadFull(nc, replies); err != nil {
		t.Errorf("not all calls were answered: %v", err)
	}
}

// A peer that asks for much and reads nothing holds no more than its share, and is closed in the end.
func TestServer_slowReaderIsBoundedAndClosed(t *testing.T) {
	const reply, share = 256 << 10, 1 << 20
	ts := startServer(t, Limits{Bytes: share, Write: 300 * time.Millisecond})
	bystander := dialClient(t, ts.addr)
	nc := dialRaw(t, ts.addr)
	var stream []byte
	for i := range 200 {
		stream = append(stream, mark(true, callRecord(Call{XID: uint32(i), Prog: testProg, Vers: 3, Proc: procBulk}, reply))...)
	}
	if _, err := nc.Write(stream); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both connections to be accepted", func() bool { return ts.Conns() == 2 })
	most := 0
	waitFor(t, "the slow reader's connection to be closed", func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		for conn := range ts.conns {
			conn.mu.Lock()
			most = max(most, conn.bytes)
			conn.mu.Unlock()
		}
		return len(ts.conns) == 1
	})
	if most < reply || most > share {
		t.Errorf("the slow reader held up to %d bytes, want more than %d and at most %d", most, reply, share)
	}
	if err := echo(testContext(t), bystander, []byte("alive")); err != nil {
		t.Error(err)
	}
}

func TestServer_boundsConnections(t *testing.T) {
	ts := startServer(t, Limits{Conns: 2, Evict: time.Hour})
	a, b := dialClient(t, ts.addr), dialClient(t, ts.addr)
	ctx := testContext(t)
	for _, c := range []*Client{a, b} {
		if err := echo(ctx, c, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(dialRaw(t, ts.addr)); err != nil || len(got) != 0 {
		t.Errorf("the third connection got % x, %v; want it closed", got, err)
	}
	for _, c := range []*Client{a, b} {
		if err := echo(ctx, c, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestServer_evictsTheLongestIdleConnection(t *testing.T) {
	ts := startServer(t, Limits{Conns: 2, Evict: time.Nanosecond})
	ctx := testContext(t)
	busy := dialClient(t, ts.addr)
	go busy.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil) //nolint:errcheck // it ends with the server
	<-ts.started
	idle := dialClient(t, ts.addr)
	if err := echo(ctx, idle, nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server to know that the reply has left", func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		for c := range ts.conns {
			if _, idle := c.idleSince(); idle {
				return true
			}
		}
		return false
	})
	fresh := dialClient(t, ts.addr)
	if err := echo(ctx, fresh, nil); err != nil {
		t.Errorf("the new connection was refused: %v", err)
	}
	if err := echo(ctx, idle, nil); err == nil {
		t.Error("the idle connection is still open")
	}
	if err := echo(ctx, busy, nil); err != nil {
		t.Errorf("the busy connection was closed: %v", err)
	}
}

func TestServer_shutdownAnswersCallsInFlight(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	done := make(chan error, 1)
	go func() { done <- ts.Shutdown(ctx) }()
	waitFor(t, "the listener to close", ts.isClosing)
	ts.release <- struct{}{}
	if err := <-slow; err != nil {
		t.Errorf("call in flight: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if nc, err := net.Dial("tcp", ts.addr); err == nil {
		nc.Close()
		t.Error("a connection was accepted after Shutdown")
	}
}

func TestServer_shutdownGivesUpWithItsContext(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(testContext(t), Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ts.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want the context's error", err)
	}
	if err := <-slow; err == nil {
		t.Error("the call in flight was answered")
	}
	if err := ts.Serve(nopListener{}); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after Shutdown = %v", err)
	}
}

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }

func TestClient_contextEndsACall(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx, cancel := context.WithCancel(testContext(t))
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	cancel()
	if err := <-slow; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	ts.release <- struct{}{}
	if err := echo(testContext(t), c, []byte("still good")); err != nil {
		t.Errorf("the connection suffered: %v", err)
	}
}

func TestClient_doReusesMemoryOnlyAfterUse(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(i)}, 100_000)
			for range 50 {
				err := c.Do(ctx, Call{Prog: testProg, Vers: 3, Proc: procEcho}, func(e *xdr.Encoder) { e.OpaqueRef(want) }, func(results []byte) error {
					if got := xdr.NewDecoder(results).Opaque(1 << 20); !bytes.Equal(got, want) {
						return errors.New("results are another call's")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	failure := errors.New("use failed")
	if err := c.Do(ctx, Call{Prog: testProg, Vers: 3}, nil, func([]byte) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("Do = %v, want what use returned", err)
	}
}

func TestClient_closeEndsCalls(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(testContext(t), Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	c.Close()
	if err := <-slow; !errors.Is(err, ErrClientClosed) {
		t.Errorf("error %v, want ErrClientClosed", err)
	}
	if err := echo(testContext(t), c, nil); !errors.Is(err, ErrClientClosed) {
		t.Errorf("after Close: %v, want ErrClientClosed", err)
	}
}

func BenchmarkNull(b *testing.B) {
	for _, tc := range []struct {
		name     string
		parallel int
	}{{"one at a time", 1}, {"64 in flight", 64}} {
		b.Run(tc.name, func(b *testing.B) {
			s := NewServer(Limits{}, nil, Program{Number: testProg, Low: 3, High: 3, Serve: func(context.Context, *Call, *xdr.Encoder) Outcome { return Success }})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go s.Serve(l) //nolint:errcheck // ends with Close
			defer s.Close()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c := NewClient(nc)
			defer c.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range tc.parallel {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := c.Call(context.Background(), Call{Prog: testProg, Vers: 3}, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
