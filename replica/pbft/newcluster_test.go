package pbft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

// The replicas of a new cluster, started one after another, as a person does it, are at work in one view when the last is up,
// although nobody asks for anything, or one request alone has waited all the while.
func TestANewClusterStartedOneByOneIsReady(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
			for _, n := range c.nodes {
				n.crash()
				n.log, n.doubt = nil, &Doubt{Nonce: 100 + uint64(n.id), New: true}
			}
			loss := rng.Float64() * 0.5
			c.route = func(envelope) []int64 {
				if rng.Float64() < loss {
					return nil
				}
				return []int64{rng.Int64N(20 * millisecond)}
			}
			pass := func(d int64) {
				for end := c.now + d; c.now < end; c.pass(100 * millisecond) {
					if seed%2 == 1 {
						c.request(c.keys.Request(alice, 0, 1, wire.FlagFullReply, 0, []byte("op")), c.all()...)
					}
				}
			}
			for _, i := range rng.Perm(4) {
				c.nodes[i].start()
				pass(rng.Int64N(1500 * millisecond))
			}
			loss = 0
			pass((strayPatience + 1) * 500 * millisecond)
			for _, n := range c.nodes {
				if i := n.core.Info(); !i.Active || i.Doubt || i.View != c.nodes[0].core.Info().View {
					for _, n := range c.nodes {
						t.Errorf("replica %d: %+v", n.id, n.core.Info())
					}
					return
				}
			}
		})
	}
}

// leaveView makes a node ask for a view, as if a timer of its own had run out.
func (n *node) leaveView(v wire.View) {
	var out Effects
	n.core.startViewChange(v, ReasonTimeout, &out)
	for _, e := range out {
		n.apply(e)
	}
}

// A primary that has left its view alone, when nobody waits for anything, is followed: no request has to run into a timeout
// first. One that tells a single backup so, and goes on, does not rob the group of that backup: its signed word goes round.
func TestAPrimaryThatLeavesItsViewIsFollowed(t *testing.T) {
	for _, test := range []struct {
		told   []int
		within int64
	}{
		{[]int{1, 2, 3}, 100 * millisecond},
		{[]int{2}, 1500 * millisecond}, // who has nothing to do sends STATUS once a second
	} {
		told := test.told
		c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
		c.order(3, 1)
		c.route = func(e envelope) []int64 {
			if e.msg.Kind() == wire.KindViewChange && e.from == authtest.Replica(0) && !slices.Contains(told, int(e.to.ID)) {
				return nil
			}
			return []int64{0}
		}
		c.nodes[0].leaveView(1)
		c.pass(test.within)
		for _, n := range c.nodes {
			if i := n.core.Info(); !i.Active || i.View != 1 {
				t.Errorf("told %v: replica %d: %+v", told, n.id, i)
			}
		}
		c.route = nil
		c.order(3, 4)
		c.mustAgree(0, 1, 2, 3)
	}
}

// A replica that is alone in the next view, while nobody asks for anything, gets company: first after strayPatience, and again
// later and later, for it may be faulty. If it shows its VIEW-CHANGE to one other alone, the rest come after that one.
func TestAStrayIsFollowed(t *testing.T) {
	for _, told := range [][]int{{0, 1, 2}, {1}} {
		c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
		c.order(3, 1)
		c.route = func(e envelope) []int64 {
			if e.msg.Kind() == wire.KindViewChange && e.from == authtest.Replica(3) && !slices.Contains(told, int(e.to.ID)) {
				return nil
			}
			return []int64{0}
		}
		stray := c.nodes[3]
		for visit, least := range []int64{strayPatience * 500 * millisecond, 10_000 * millisecond, 20_000 * millisecond} {
			view := stray.core.Info().View + 1
			stray.leaveView(view)
			began := c.now
			for ready := 0; ready < 4; {
				c.pass(100 * millisecond)
				if took := c.now - began; took > least+5_000*millisecond {
					t.Fatalf("told %v, visit %d: alone for %d ms", told, visit, took/millisecond)
				}
				ready = 0
				for _, n := range c.nodes {
					if i := n.core.Info(); i.Active && i.View == view {
						ready++
					}
				}
			}
			if took := c.now - began; took < least-4000*millisecond {
				t.Errorf("told %v, visit %d: followed after %d ms", told, visit, took/millisecond)
			}
			c.order(3, 4+uint64(visit)*3)
			c.mustAgree(0, 1, 2, 3)
		}
	}
}

// A replica that does not know what it said before follows nobody into another view: it has no VIEW-CHANGE to help with, and would
// only miss what goes on in this one.
func TestWhoIsInDoubtFollowsNobody(t *testing.T) {
	for _, who := range []wire.ReplicaID{0, 2} { // the primary, and a stray
		c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
		c.order(3, 1)
		n := c.nodes[3]
		n.crash()
		n.log, n.doubt = nil, &Doubt{Nonce: 99, New: true}
		c.route = func(e envelope) []int64 {
			if e.from == authtest.Replica(who) && e.to == authtest.Replica(3) && e.msg.Kind() == wire.KindViewChange {
				return []int64{0}
			}
			return nil // nothing else arrives: nobody resolves the doubt
		}
		asked := 0
		c.trace = func(n *node, e Effect) {
			if b, ok := e.(Broadcast); ok && n.id == 3 && b.Msg.Kind() == wire.KindViewChange {
				asked++
			}
		}
		n.start()
		c.nodes[who].leaveView(1)
		c.pass((strayPatience + 2) * 500 * millisecond)
		if i := n.core.Info(); !i.Doubt || !i.Active || i.View != 0 || asked > 0 {
			t.Errorf("replica %d left: replica 3 sent %d VIEW-CHANGEs: %+v", who, asked, i)
		}
	}
}
