package rpc

import (
	"io"
	"testing"
	"time"
)

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
