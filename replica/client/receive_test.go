package client

import (
	"fmt"
	"testing"
	"testing/synctest"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

func TestFaultyRepliesAreCountedAndIgnored(t *testing.T) {
	for name, spoil := range map[string]func(*wire.Reply){
		"another client's": func(r *wire.Reply) { r.Client++ },
		"no such slot":     func(r *wire.Reply) { r.Slot = 64 },
		"a later number":   func(r *wire.Reply) { r.Number++ },
		"another's name":   func(r *wire.Reply) { r.Replica = 0 },
		"no such replica":  func(r *wire.Reply) { r.Replica = 4 },
		"wrong digest":     func(r *wire.Reply) { r.Full, r.Result = true, []byte("lie") },
		"huge": func(r *wire.Reply) {
			r.Full, r.Result = true, make([]byte, wire.MaxResult+1)
			r.Digest = wire.ResultDigest(r.Result)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 4)
				g.lie[1] = func(r *wire.Reply) []*wire.Reply {
					m := *r
					spoil(&m)
					return []*wire.Reply{&m}
				}
				c := g.connect(nil)
				for i := range 4 {
					expect(t, "result", mustInvoke(t, c, "a", false), fmt.Sprintf("a was operation %d", i+1))
				}
				synctest.Wait()
				for i, s := range c.Stats().Replicas {
					if (s.FaultyReplies > 0) != (i == 1) {
						t.Errorf("replica %d: %d faulty replies", i, s.FaultyReplies)
					}
				}
			})
		})
	}
}

func TestWhatIsNoReplyIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		c := g.connect(nil)
		c.Receive(authtest.Replica(2), []byte("garbage"))
		c.Receive(authtest.Replica(2), wire.Encode(&wire.Prepare{Replica: 2}))
		c.Receive(authtest.Client(7), []byte("garbage"))
		if got := c.Stats().Replicas[2].FaultyReplies; got != 2 {
			t.Fatalf("counted %d, want 2", got)
		}
	})
}

// FuzzReceive: whatever one faulty replica says while a call is open, it neither makes the client panic nor ends the call.
func FuzzReceive(f *testing.F) {
	g := newGroup(f, 4)
	c := g.connect(func(c *Config) { c.Send = func(wire.Principal, []byte) bool { return true } })
	s := c.slots[0]
	s.begin(true, 1)
	for _, r := range []*wire.Reply{
		{Client: gateway, Number: s.number, Replica: 1, Full: true, Result: []byte("x"), Digest: wire.ResultDigest([]byte("x"))},
		{Client: gateway, Number: s.number, Replica: 1, ReadOnly: true, View: 1 << 60},
		{Client: gateway, Number: s.number + 1, Replica: 1, Tentative: true},
	} {
		f.Add(wire.Encode(r))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		c.Receive(authtest.Replica(1), frame)
		if len(s.done) != 0 || !s.open || c.views.current() != 0 {
			t.Fatalf("one replica ended the call or moved the view with %x", frame)
		}
	})
}
