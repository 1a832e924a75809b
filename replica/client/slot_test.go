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

	"bfsd/replica/wire"
)

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
