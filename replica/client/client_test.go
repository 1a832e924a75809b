package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bfsd/replica/wire"
)

func TestASmallOperationGoesToThePrimaryAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "a", false), "a was operation 1")
		expect(t, "result", mustInvoke(t, c, "b", false), "b was operation 2")
		synctest.Wait()
		for i, want := range []int{2, 0, 0, 0} {
			if got := g.arrivals(wire.ReplicaID(i)); got != want {
				t.Errorf("replica %d got %d requests, want %d", i, got, want)
			}
		}
		if s := c.Stats(); s.Completed != 2 || s.Retransmissions != 0 || s.MissingResults != 0 || s.InFlight != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestALargeOperationGoesToAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		small, large := strings.Repeat("x", 100), strings.Repeat("x", 101)
		c := g.connect(func(c *Config) { c.LargeRequest = len(small) })
		mustInvoke(t, c, large, false)
		for i := range wire.ReplicaID(4) {
			if got := g.arrivals(i); got != 1 {
				t.Errorf("replica %d got %d requests, want 1", i, got)
			}
		}
		g.forget()
		mustInvoke(t, c, small, false)
		if g.arrivals(1) != 0 {
			t.Error("a request of exactly the limit went to a backup")
		}
	})
}

func TestRequestsAreSignedWhereMACsAreOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.signed = true
		g.mute[0] = true // so that the request goes out again
		c := g.connect(func(c *Config) { c.SignRequests = true })
		expect(t, "result", mustInvoke(t, c, "a", false), "a was operation 1")
		if s := c.Stats(); s.Retransmissions == 0 {
			t.Error("the request was not sent again")
		}
	})
}

func TestReadingsAreOrderedWhereReadingWithoutOrderIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		c := g.connect(func(c *Config) { c.NoReadOnly = true })
		expect(t, "result", mustInvoke(t, c, "a", true), "a was operation 1")
		if s := c.Stats(); s.Reads != 0 || g.arrivals(1) != 0 {
			t.Errorf("%d calls were tried without ordering, %d requests went to a backup; want none", s.Reads, g.arrivals(1))
		}
	})
}

func TestAnUnreachablePrimaryIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.mute[0] = true
		c := g.connect(func(c *Config) { c.Connected = func(p wire.Principal) bool { return p.ID != 0 } })
		start := time.Now()
		mustInvoke(t, c, "a", false)
		if waited := time.Since(start); waited >= 100*time.Millisecond {
			t.Fatalf("it took %v, a timeout", waited)
		}
	})
}

// The primary and the client do not hear each other, though their link seems to be there, and the group has no reason for
// a view change: only the first call waits. When the primary is heard again, it gets its requests alone again.
func TestAPrimaryThatOnlyThisClientDoesNotReachIsWaitedForOnce(t *testing.T) {
	for _, size := range []int{10, 64 << 10} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, 4)
			g.relays = true
			g.lose = func(to wire.ReplicaID, _ *wire.Request) bool { return to == 0 }
			g.lie[0] = nothing
			c := g.connect(nil)
			op := strings.Repeat("x", size)
			for i := range 10 {
				start := time.Now()
				mustInvoke(t, c, op, false)
				if waited := time.Since(start); i > 0 && waited >= 50*time.Millisecond {
					t.Fatalf("call %d of %d bytes took %v", i, size, waited)
				}
			}
			if s := c.Stats(); s.Retransmissions != 1 {
				t.Errorf("%d retransmissions, want 1", s.Retransmissions)
			}
			g.mu.Lock()
			g.lose = func(wire.ReplicaID, *wire.Request) bool { return false }
			delete(g.lie, 0)
			g.mu.Unlock()
			mustInvoke(t, c, "all hear it, and the primary answers", false)
			time.Sleep(time.Second) // in the bubble: until its reply has come, too
			g.forget()
			mustInvoke(t, c, "the primary hears it", false)
			if to := g.arrivals(1); to != 0 {
				t.Errorf("a backup got %d requests after the primary was heard again", to)
			}
		})
	}
}

func TestLyingReplicasAreOutvoted(t *testing.T) {
	for _, n := range []int{4, 7, 13} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, n)
			f := (n - 1) / 3
			for i := range f {
				g.lie[wire.ReplicaID(i)] = falsely("lie") // the primary among them; all tell the same lie
			}
			c := g.connect(nil)
			for i := range 20 {
				op := fmt.Sprint("op", i)
				expect(t, "ordered", mustInvoke(t, c, op, false), fmt.Sprintf("%s was operation %d", op, i+1))
				expect(t, "read", mustInvoke(t, c, op, true), "read "+op)
			}
			s := c.Stats()
			for i := range s.Replicas {
				if liar := i < f; (s.Replicas[i].Contradicted > 0) != liar {
					t.Errorf("n = %d: replica %d was contradicted %d times", n, i, s.Replicas[i].Contradicted)
				}
			}
		})
	}
}

func TestLessThanAQuorumIsNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.mute[2], g.mute[3] = true, true // two honest replies are left: a quorum is three
		c := g.connect(nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if result, err := c.Invoke(ctx, []byte("a"), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("two replies of four gave %q, %v", result, err)
		}
		g.mu.Lock()
		g.lie[1] = falsely("lie")
		g.mute[2] = false
		g.mu.Unlock()
		ctx2, cancel2 := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel2()
		if result, err := c.Invoke(ctx2, []byte("b"), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("two replies and a lie gave %q, %v", result, err)
		}
	})
}

func TestLostFramesAreSentAgainAndExecutedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		lost := 0
		g.lose = func(wire.ReplicaID, *wire.Request) bool { lost++; return lost <= 5 }
		repliesLost := 0
		for i := range wire.ReplicaID(4) {
			g.lie[i] = func(r *wire.Reply) []*wire.Reply {
				if repliesLost++; repliesLost <= 8 {
					return nil
				}
				return []*wire.Reply{r}
			}
		}
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "a", false), "a was operation 1")
		if got := g.executions(); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("executed %q", got)
		}
		if s := c.Stats(); s.Retransmissions < 2 {
			t.Fatalf("%d retransmissions", s.Retransmissions)
		}
	})
}

func TestRetransmissionsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		var at []time.Duration
		start := time.Now()
		g.lose = func(to wire.ReplicaID, _ *wire.Request) bool {
			if to == 0 {
				at = append(at, time.Since(start))
			}
			return true
		}
		c := g.connect(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Invoke(ctx, []byte("a"), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(at) < 20 || len(at) > 60 {
			t.Fatalf("%d sendings in a minute of silence", len(at))
		}
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			if low, high := 100*time.Millisecond, 2*backoffMax*100*time.Millisecond; gap < low || gap > high {
				t.Errorf("sending %d came %v after the one before", i, gap)
			}
		}
	})
}

func TestAMutePrimaryIsReplacedAndTheClientFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.mute[0] = true
		c := g.connect(nil)
		expect(t, "result", mustInvoke(t, c, "a", false), "a was operation 1")
		if s := c.Stats(); s.View != 1 || s.Retransmissions == 0 {
			t.Fatalf("after the primary was replaced: %+v", s)
		}
		synctest.Wait()
		g.forget()
		start := time.Now()
		expect(t, "result", mustInvoke(t, c, "b", false), "b was operation 2")
		if g.arrivals(0) != 0 || g.arrivals(1) == 0 {
			t.Error("the next request did not go to the new primary")
		}
		if waited := time.Since(start); waited >= 100*time.Millisecond {
			t.Errorf("it took %v", waited)
		}
	})
}

func TestALiarCannotMoveTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.lie[3] = func(r *wire.Reply) []*wire.Reply {
			m := *r
			m.View = 1<<63 + 3 // it would be the primary
			return []*wire.Reply{&m}
		}
		c := g.connect(nil)
		for range 10 {
			mustInvoke(t, c, "a", false)
		}
		if v := c.Stats().View; v != 0 || g.arrivals(3) != 0 {
			t.Fatalf("view %d, and replica 3 got %d requests", v, g.arrivals(3))
		}
	})
}

func TestAReplierThatKeepsTheResultIsPassedOver(t *testing.T) {
	for name, lie := range map[string]func(*wire.Reply) []*wire.Reply{
		"silent": nothing, "digest only": withoutResult, "another result": falsely("lie"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, 4)
				g.lie[2] = lie
				c := g.connect(nil)
				for i := range 40 {
					start := time.Now()
					expect(t, "result", mustInvoke(t, c, "a", false), fmt.Sprintf("a was operation %d", i+1))
					if waited := time.Since(start); waited > 50*time.Millisecond {
						t.Fatalf("operation %d took %v: it waited for a timeout", i, waited)
					}
				}
				s := c.Stats()
				if s.MissingResults != 1 || s.Retransmissions != 0 {
					t.Fatalf("%d results were missing, %d retransmissions; want 1 and 0: then the replier is avoided", s.MissingResults, s.Retransmissions)
				}
			})
		})
	}
}

func TestInvokeRefusesWhatNoReplicaWouldTake(t *testing.T) {
	g := newGroup(t, 4)
	c := g.connect(nil)
	if _, err := c.Invoke(t.Context(), make([]byte, wire.MaxOp+1), false); err == nil {
		t.Error("an oversized operation was accepted")
	}
	for name, spoil := range map[string]func(*Config){
		"five replicas": func(c *Config) { c.N = 5 }, "none": func(c *Config) { c.N = 0 }, "no keys": func(c *Config) { c.Keys = nil },
		"no way to send": func(c *Config) { c.Send = nil }, "another's keys": func(c *Config) { c.ID = 101 },
	} {
		cfg := c.cfg
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOneReplicaIsAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1)
		c := g.connect(nil)
		expect(t, "ordered", mustInvoke(t, c, "a", false), "a was operation 1")
		expect(t, "read", mustInvoke(t, c, "a", true), "read a")
	})
}
