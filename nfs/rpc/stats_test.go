package rpc

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// Each thing that peers may do wrong is counted by its own name.
func TestServer_countsWhatPeersDoWrong(t *testing.T) {
	good := Call{XID: 1, Prog: testProg, Vers: 3}
	call := func(change func(*Call)) []byte {
		c := good
		change(&c)
		return mark(true, callRecord(c))
	}
	for _, tc := range []struct {
		event  Event
		limits Limits
		send   []byte
	}{
		{EventIdle, Limits{Idle: 10 * time.Millisecond}, nil},
		{EventUnfinished, Limits{Read: 10 * time.Millisecond}, []byte{0x80}},
		{EventUnfinished, Limits{Read: 10 * time.Millisecond}, mark(true, make([]byte, 256))[:100]},
		{EventTooLong, Limits{Record: 1000}, mark(true, make([]byte, 1001))},
		{EventTooLong, Limits{}, bytes.Repeat(mark(false, nil), fragmentsMax+1)},
		{EventNotRPC, Limits{}, mark(true, words(1, 1, 0, 0, 0, 0))},
		{EventNotRPC, Limits{}, mark(true, words(1, 0, 2))},
		{EventDenied, Limits{}, call(func(c *Call) { c.Cred.Flavor = 6 })},
		{EventUnavailable, Limits{}, call(func(c *Call) { c.Prog++ })},
		{EventUnavailable, Limits{}, call(func(c *Call) { c.Vers++ })},
		{EventUnavailable, Limits{}, call(func(c *Call) { c.Proc = 99 })},
		{EventGarbage, Limits{}, call(func(c *Call) { c.Proc = procEcho })},
		{EventDropped, Limits{}, call(func(c *Call) { c.Proc = procDrop })},
		{EventPanic, Limits{}, call(func(c *Call) { c.Proc = procPanic })},
	} {
		tc.limits.Linger = time.Millisecond
		ts := startServer(t, tc.limits)
		nc := dialRaw(t, ts.addr)
		if _, err := nc.Write(tc.send); err != nil {
			t.Fatal(err)
		}
		waitFor(t, tc.event.String(), func() bool { return ts.Count(tc.event) == 1 })
		for _, e := range Events() {
			if e != tc.event && ts.Count(e) != 0 {
				t.Errorf("%v was counted as %v too", tc.event, e)
			}
		}
	}
}

func TestServer_wellBehavedPeersAreNotCounted(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	for _, n := range []int{0, 100, 100_000, 1 << 20} {
		if err := echo(testContext(t), c, pattern(n)); err != nil {
			t.Fatal(err)
		}
	}
	nc := dialRaw(t, ts.addr)
	if err := nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(nc); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range Events() {
		if n := ts.Count(e); n != 0 {
			t.Errorf("%d times %v", n, e)
		}
		names[e.String()] = true
	}
	if len(names) != len(Events()) {
		t.Errorf("%d names of %d events", len(names), len(Events()))
	}
}
