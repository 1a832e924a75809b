package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bfsd/replica/auth/authtest"
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
		size := func(op string) int { // as the replicas measure it
			return g.keys.Request(gateway, 0, uint64(time.Now().UnixNano()), 0, 0, []byte(op)).Size()
		}
		small, large := strings.Repeat("x", 100), strings.Repeat("x", 101)
		c := g.connect(func(c *Config) { c.LargeRequest = size(small) })
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

func TestManyConcurrentCallsThroughAPoorNetworkExecuteOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 600
		g := newGroup(t, 4)
		g.delay = random(time.Millisecond, 60*time.Millisecond)
		count := 0
		g.lose = func(wire.ReplicaID, *wire.Request) bool { count++; return count%7 == 0 }
		g.lie[3] = falsely("lie")
		drop := 0
		g.lie[2] = func(r *wire.Reply) []*wire.Reply {
			if drop++; drop%5 == 0 {
				return nil
			}
			return []*wire.Reply{r, r}
		}
		c := g.connect(func(c *Config) { c.Slots = 16 })
		results := make([]string, calls)
		var all sync.WaitGroup
		for i := range calls {
			all.Go(func() {
				op := fmt.Sprint("op", i)
				results[i] = mustInvoke(t, c, op, false)
				if !strings.HasPrefix(results[i], op+" was operation ") {
					t.Errorf("%s got the result %q", op, results[i])
				}
			})
		}
		all.Wait()
		slices.Sort(results)
		if distinct := len(slices.Compact(results)); distinct != calls || len(g.executions()) != calls {
			t.Fatalf("%d calls, %d distinct results, %d executions", calls, distinct, len(g.executions()))
		}
		if s := c.Stats(); s.InFlight != 0 || s.Waiting != 0 || s.Completed != calls {
			t.Fatalf("counted %+v", s)
		}
	})
}

func TestACanceledCallGivesItsSlotToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		c := g.connect(func(c *Config) { c.Slots = 1 })
		g.delay = func() time.Duration { return 30 * time.Millisecond }
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond) // executed, but the replies are under way
		defer cancel()
		if _, err := c.Invoke(ctx, []byte("a"), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want the context's", err)
		}
		expect(t, "the next call's result", mustInvoke(t, c, "b", false), "b was operation 2")
		if s := c.Stats(); s.LateReplies == 0 {
			t.Errorf("counted %+v, want the replies to the first call as late", s)
		}
		canceled, stop := context.WithCancel(t.Context())
		stop()
		if _, err := c.Invoke(canceled, []byte("c"), false); !errors.Is(err, context.Canceled) {
			t.Errorf("a call whose context had ended gave %v", err)
		}
		if got := g.executions(); len(got) != 2 {
			t.Errorf("executed %q", got)
		}
	})
}

func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.lose = func(wire.ReplicaID, *wire.Request) bool { return true }
		c := g.connect(func(c *Config) { c.Slots, c.Waiting = 2, 3 })
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := c.Invoke(ctx, []byte("a"), false); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want the end of the context", err)
				}
			})
		}
		synctest.Wait()
		if s := c.Stats(); s.InFlight != 2 || s.Waiting != 3 {
			t.Errorf("%d in flight and %d waiting, want 2 and 3", s.InFlight, s.Waiting)
		}
		if _, err := c.Invoke(ctx, []byte("b"), false); !errors.Is(err, ErrBusy) {
			t.Errorf("one more gave %v, want ErrBusy", err)
		}
		cancel()
		all.Wait()
		if s := c.Stats(); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("in the end %d in flight and %d waiting", s.InFlight, s.Waiting)
		}
	})
}

func TestCloseFailsCallsInFlightAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		g.lose = func(wire.ReplicaID, *wire.Request) bool { return true }
		c := g.connect(func(c *Config) { c.Slots = 1 })
		var all sync.WaitGroup
		for range 2 { // one in flight, one waiting
			all.Go(func() {
				if _, err := c.Invoke(t.Context(), []byte("a"), false); !errors.Is(err, ErrClosed) {
					t.Errorf("got %v, want ErrClosed", err)
				}
			})
		}
		synctest.Wait()
		c.Close()
		c.Close()
		all.Wait()
		if _, err := c.Invoke(t.Context(), []byte("a"), false); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

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

func TestNumbersGrowOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		first := g.connect(nil)
		for range 100 {
			mustInvoke(t, first, "a", false)
		}
		first.Close()
		time.Sleep(time.Nanosecond) // a restart takes at least this long, on the bubble's clock
		second := g.connect(nil)
		expect(t, "after a restart", mustInvoke(t, second, "b", false), "b was operation 101")
		if s := second.Stats(); s.Retransmissions != 0 {
			t.Errorf("counted %+v", s)
		}
		time.Sleep(time.Hour)
		mustInvoke(t, second, "c", false)
		if got, now := second.Stats().LastNumber, uint64(time.Now().UnixNano()); got < now-uint64(time.Second) {
			t.Errorf("the number is %d, the time is %d: numbers must follow the clock", got, now)
		}
		second.Close()
		floor := second.Stats().LastNumber + 1<<40 // as if the clock had been later then
		third := g.connect(func(c *Config) { c.FirstNumber = floor })
		mustInvoke(t, third, "d", false)
		if got := third.Stats().LastNumber; got <= floor {
			t.Errorf("the number used is %d, it must be above %d", got, floor)
		}
	})
}

func TestLateRepliesToAnEarlierRunAreNotHeldAgainstReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 4)
		first := g.connect(nil)
		mustInvoke(t, first, "a", false)
		first.Close()
		time.Sleep(time.Second)
		second := g.connect(nil)
		g.mu.Lock()
		g.reply(3, g.requests[0].r, []byte("a was operation 1"), false)
		g.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if s := second.Stats(); s.LateReplies != 1 || s.Replicas[3].FaultyReplies != 0 {
			t.Errorf("counted %+v", s)
		}
	})
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
