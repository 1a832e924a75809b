package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bfsd/replica/wire"
)

func TestReadsGoToAllAndAreNotOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "x", true), "read x")
		for i := range wire.ReplicaID(4) {
			if g.arrivals(i) != 1 {
				t.Errorf("replica %d got %d requests, want 1", i, g.arrivals(i))
			}
		}
		if got := g.executions(); len(got) != 0 {
			t.Errorf("a reading was ordered: %q", got)
		}
	})
}

func TestContradictingReadsAreOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.query = func(op []byte, at wire.ReplicaID) ([]byte, bool) { // two have executed a write that two have not
			return fmt.Appendf(nil, "%s %v", op, at < 2), true
		}
		c := g.connect(nil)
		start := time.Now()
		expect(t, "result", mustInvoke(t, c, "x", true), "x was operation 1")
		if waited := time.Since(start); waited >= 100*time.Millisecond {
			t.Errorf("it took %v: the contradiction was not seen", waited)
		}
		if s := c.Stats(); s.Fallbacks != 1 || s.Retransmissions != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestUnansweredReadsAreOrderedAfterATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.lose = func(_ wire.ReplicaID, r *wire.Request) bool { return r.ReadOnly() }
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "x", true), "x was operation 1")
		if s := c.Stats(); s.Fallbacks != 1 || s.Retransmissions != 1 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestAReadWhoseResultIsKeptBackIsOrderedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		for i := range wire.ReplicaID(4) {
			g.lie[i] = func(r *wire.Reply) []*wire.Reply {
				if r.ReadOnly {
					return withoutResult(r)
				}
				return []*wire.Reply{r}
			}
		}
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "x", true), "x was operation 1")
		if s := c.Stats(); s.MissingResults != 1 || s.Fallbacks != 1 || s.Retransmissions != 1 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestAReadThatReplicasChooseToOrderIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.query = func([]byte, wire.ReplicaID) ([]byte, bool) { return nil, false }
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "x", true), "x was operation 1")
		if s := c.Stats(); s.Retransmissions != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestUnorderedRepliesToAnOrderedCallDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		for i := range wire.ReplicaID(4) {
			g.lie[i] = func(r *wire.Reply) []*wire.Reply {
				m := *r
				m.ReadOnly, m.Tentative = true, false
				return []*wire.Reply{&m}
			}
		}
		c := g.connect(nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if result, err := c.Invoke(ctx, []byte("write"), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %q, %v", result, err)
		}
	})
}

// With f replicas gone there is no reply to spare. A read that a write overtakes, of something else even, then has 2f+1 replies
// from different tentative states: they will not match, whatever else comes, and are not waited with until the timeout.
func TestReadsOfDifferentTentativeStatesAreAskedForAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.mute[3] = true
		again := false
		g.lose = func(_ wire.ReplicaID, r *wire.Request) bool {
			again = again || r.Full()
			return false
		}
		for i := range wire.ReplicaID(3) {
			g.lie[i] = func(r *wire.Reply) []*wire.Reply {
				m := *r
				m.Seq = 6
				if !again {
					m.Seq, m.Tentative = 5+wire.Seq(i%2), true
				}
				return []*wire.Reply{&m}
			}
		}
		c := g.connect(nil)
		start := time.Now()
		expect(t, "result", mustInvoke(t, c, "x", true), "read x")
		if waited := time.Since(start); waited >= 50*time.Millisecond {
			t.Errorf("it took %v", waited)
		}
		if s := c.Stats(); s.Fallbacks != 0 || s.Retransmissions != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}
