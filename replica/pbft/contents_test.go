package pbft

import (
	"fmt"
	"testing"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

// asking notes who asks whom for contents, and when.
type asking struct {
	from, to wire.ReplicaID
	at       int64
}

func watchAsking(c *cluster, route func(e envelope) []int64) *[]asking {
	var asked []asking
	c.route = func(e envelope) []int64 {
		if m, ok := e.msg.(*wire.FetchRequest); ok {
			asked = append(asked, asking{m.Replica, wire.ReplicaID(e.to.ID), c.now})
		}
		return route(e)
	}
	return &asked
}

func largeRequests(cfg *Config) { cfg.InlineBytes = 2 }

// A body that does not come is asked of the primary first, who has it, and then of the others, less and less often: an answer
// may be under way, and takes the longer the more the links have to carry.
func TestWhoIsAskedForContentsIsGivenTime(t *testing.T) {
	c := newCluster(t, 1, largeRequests, alice)
	asked := watchAsking(c, func(e envelope) []int64 {
		if e.msg.Kind() == wire.KindRequestBody {
			return nil
		}
		return []int64{0}
	})
	began := c.now
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("operation")), 0, 1) // f+1 lack it: it cannot prepare
	c.pass(400 * millisecond)
	seen := map[wire.ReplicaID]int{}
	for _, a := range *asked {
		if seen[a.from] == 0 && a.to != 0 {
			t.Errorf("replica %d asks replica %d first", a.from, a.to)
		}
		if a.at-began < c.nodes[0].core.cfg.FetchDelay {
			t.Errorf("replica %d asks after %d ms: it could still come by itself", a.from, (a.at-began)/millisecond)
		}
		seen[a.from]++
	}
	others := map[wire.ReplicaID]bool{}
	for _, a := range *asked {
		if a.from == 3 {
			others[a.to] = true
		}
	}
	if len(others) != 3 {
		t.Errorf("replica 3 asks %v: one of them that does not answer could starve it", others)
	}
	for _, id := range []wire.ReplicaID{2, 3} {
		if seen[id] < 3 || seen[id] > 5 {
			t.Errorf("replica %d asks %d times in 400 ms, want 3 to 5: %v", id, seen[id], *asked)
		}
	}
	c.route = nil
	c.pass(400 * millisecond)
	c.mustAccept(alice, 0, 1, "1:operation")
}

// Where requests come late, as they do under load, replicas learn to wait for them.
func TestLateRequestsAreWaitedFor(t *testing.T) {
	c := newCluster(t, 1, largeRequests, alice)
	asked := watchAsking(c, func(e envelope) []int64 {
		if e.from == authtest.Client(alice) && e.to.ID >= 2 {
			return []int64{35 * millisecond}
		}
		return []int64{0}
	})
	for i := range uint64(8) {
		c.request(c.keys.Request(alice, 0, i+1, 0, 0, fmt.Appendf(nil, "operation %d", i+1)), c.all()...)
		c.pass(100 * millisecond)
		c.mustAccept(alice, 0, i+1, fmt.Sprintf("%d:operation %d", i+1, i+1))
		if i == 1 {
			if len(*asked) == 0 {
				t.Error("nobody asks for what is late")
			}
			*asked = nil
		}
	}
	if len(*asked) > 0 {
		t.Errorf("replicas ask for what comes by itself: %v", *asked)
	}
	if late, bound := c.nodes[3].core.order.late, c.nodes[3].core.latenessMax(); late == 0 || late > bound {
		t.Errorf("requests are %d ms late, %d at most", late/millisecond, bound/millisecond)
	}
}

// An answer that has no room for all is followed by a question for the rest at once.
func TestTheRestIsAskedForAtOnce(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.InlineBytes, cfg.BatchWindow, cfg.CheckpointInterval = 2, 8, 8 }, alice, bob)
	asked := watchAsking(c, func(envelope) []int64 { return []int64{0} })
	op := make([]byte, 1<<20)
	const requests = 8 // four in an answer, at most five
	for i := range wire.Slot(requests / 2) {
		c.request(c.keys.Request(alice, i, 1, 0, 0, op), 0, 1, 2)
		c.request(c.keys.Request(bob, i, 1, 0, 0, op), 0, 1, 2)
	}
	c.pass(15 * millisecond)
	if got := c.nodes[3].core.Info().Executed; got != 0 {
		t.Fatalf("replica 3 has executed %d batches without their requests", got)
	}
	c.pass(10 * millisecond)
	if got, want := c.nodes[3].core.Info().Executed, c.nodes[0].core.Info().Executed; got != want {
		t.Errorf("replica 3 has executed %d of %d batches", got, want)
	}
	if len(*asked) < 2 {
		t.Errorf("all came with one answer, which cannot be: %v", *asked)
	}
}
