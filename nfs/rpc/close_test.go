package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

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
	ts := startServer(t, Limits{Linger: time.Minute})
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

// Calls that may never be answered do not keep the connection of a dropped one open.
func TestServer_droppedCallClosesTheConnectionSoon(t *testing.T) {
	ts := startServer(t, Limits{Linger: 10 * time.Millisecond})
	nc := dialRaw(t, ts.addr)
	stream := mark(true, callRecord(Call{XID: 1, Prog: testProg, Vers: 3, Proc: procBlock}))
	stream = append(stream, mark(true, callRecord(Call{XID: 2, Prog: testProg, Vers: 3, Proc: procDrop}))...)
	if _, err := nc.Write(stream); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(nc); len(got) != 0 {
		t.Errorf("% x, %v; want a closed connection", got, err)
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
