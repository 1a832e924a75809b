package pbft

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

// The attack of Berger, Reiser and Bessani (SRDS '21, arXiv 2107.11144): clients wait for 2f+1 replies, a faulty primary
// keeps one correct replica out of every agreement and sends no replies itself. The laggard must catch up by itself.
func TestFaultyPrimaryCannotStarveClientsByKeepingAReplicaBehind(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.StatusInterval = 20 * millisecond }, alice)
	c.route = func(e envelope) []int64 {
		fromPrimary := e.from == authtest.Replica(0)
		if fromPrimary && (e.to == authtest.Replica(3) || e.to.Role == wire.RoleClient) {
			return nil
		}
		return []int64{0}
	}
	for i := range uint64(20) {
		op := fmt.Sprintf("op %d", i)
		c.request(c.keys.Request(alice, 0, i+1, 0, 1, []byte(op)), 0)
		c.pass(60 * millisecond)
		c.mustAccept(alice, 0, i+1, fmt.Sprintf("%d:%s", i+1, op))
	}
	if v := c.nodes[1].core.view; v != 0 {
		t.Errorf("view %d: the laggard should have caught up without a view change", v)
	}
	c.mustAgree(1, 2, 3)
}

// The transfer of a large state takes many view-change timeouts. As long as the others go on, the one that lags stays in
// their view, in which it can vote again as soon as it has caught up; when they are stuck too, it leaves with them.
func TestAReplicaThatFetchesALargeStateStaysInTheView(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprintf("the others are stuck: %v", stuck), func(t *testing.T) {
			c := newCluster(t, 1, nil, alice)
			number := uint64(0)
			work := func(requests int) {
				for range requests {
					number++
					c.request(c.keys.Request(alice, 0, number, 0, 1, fmt.Appendf(nil, "op %d", number)), 0)
					c.pass(50 * millisecond)
				}
			}
			cutOff := func(id wire.ReplicaID) func(e envelope) []int64 {
				return func(e envelope) []int64 {
					if e.from == authtest.Replica(id) || e.to == authtest.Replica(id) {
						return nil
					}
					return []int64{0}
				}
			}
			c.route = cutOff(3)
			work(40)
			c.route = nil
			var fetching []FetchState
			c.transfer = func(_ *node, e FetchState) bool {
				fetching = append(fetching, e)
				return false
			}
			work(100) // 5 s
			laggard := c.nodes[3].core
			if len(fetching) == 0 || laggard.view != 0 || !laggard.active {
				t.Fatalf("after 5 s of %d transfers replica 3 is in view %d, active: %v", len(fetching), laggard.view, laggard.active)
			}
			if stuck {
				c.route = cutOff(0) // the primary
				number++
				c.request(c.keys.Request(alice, 0, number, wire.FlagFullReply, 1, []byte("last")), 1, 2, 3)
				c.pass(2000 * millisecond)
				if laggard.view == 0 {
					t.Error("replica 3 stays with a primary that is gone")
				}
				return
			}
			c.transfer = nil
			for _, e := range fetching {
				c.nodes[3].fetchState(e)
			}
			c.nodes[3].step(Tick{})
			c.pass(500 * millisecond)
			c.route = cutOff(2) // replica 3's vote is needed now
			work(3)
			c.mustAccept(alice, 0, number, fmt.Sprintf("%d:op %d", number, number))
			c.mustAgree(0, 1, 3)
			if laggard.view != 0 {
				t.Errorf("replica 3 ends in view %d", laggard.view)
			}
		})
	}
}

// Silent corruption of a replica's state shows at the next checkpoint and is repaired by state transfer.
func TestCorruptStateIsFoundAndRepaired(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval, cfg.BatchWindow = 4, 1 }, alice)
	var events []TraceEvent
	accusers := map[wire.ReplicaID]int{}
	c.trace = func(n *node, e Effect) {
		if tr, ok := e.(Trace); ok && tr.Event == TraceDivergence {
			if tr.Replica != 3 {
				t.Errorf("replica %d says that the state of replica %d diverges", n.id, tr.Replica)
			}
			accusers[n.id]++
		}
		if tr, ok := e.(Trace); ok && n.id == 3 && (tr.Event == TraceCorrupt || tr.Event == TraceFetched) {
			events = append(events, tr.Event)
		}
	}
	for i := range uint64(6) {
		if i == 2 {
			victim := c.nodes[3]
			victim.byzantine = true // its committed state is not compared while it is wrong
			victim.state.ops = append([]appliedOp(nil), victim.state.ops...)
			victim.state.ops[0].op = "bit rot"
		}
		c.request(c.keys.Request(alice, 0, i+1, 0, 0, fmt.Appendf(nil, "op %d", i)), 0)
		c.tamper = func(_ *node, _ wire.Principal, m wire.Message) []wire.Message { return []wire.Message{m} }
		c.pass(10 * millisecond)
	}
	if !slices.Equal(events, []TraceEvent{TraceCorrupt, TraceFetched}) {
		t.Errorf("replica 3 reported %v, want the corruption and the repair", events)
	}
	if want := map[wire.ReplicaID]int{0: 1, 1: 1, 2: 1}; !maps.Equal(accusers, want) {
		t.Errorf("the divergence of replica 3 was reported by %v (times), want %v", accusers, want)
	}
	c.mustAgree(0, 1, 2, 3)
}

// A replica whose log has unreadable records says so and goes on with the rest.
func TestBadRecordsAreReported(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.settle()
	n := c.nodes[2]
	n.crash()
	n.log = append(n.log, logged{1, []byte{99}}, logged{1, nil}, logged{1, []byte{recordAccepted, 0xc1}})
	reported := 0
	c.trace = func(_ *node, e Effect) {
		if tr, ok := e.(Trace); ok && tr.Event == TraceBadRecord {
			reported++
		}
	}
	n.start()
	if reported != 3 {
		t.Errorf("%d bad records reported, want 3", reported)
	}
	c.pass(300 * millisecond)
	c.mustAgree(0, 1, 2, 3)
}

// A replica that announced a wrong root, repaired itself and announces the right one is believed: with another replica
// down, its CHECKPOINT is needed for the certificate. Nobody undoes that by sending its first word again.
func TestARepairedReplicasNewWordCounts(t *testing.T) {
	c := newCluster(t, 1, nil)
	k := wire.Seq(c.cfg.CheckpointInterval)
	word := func(from int, root byte) *wire.Checkpoint {
		return &wire.Checkpoint{Seq: k, Root: wire.Digest{root}, Replica: wire.ReplicaID(from)}
	}
	core := c.nodes[0].core
	var out Effects
	for _, m := range []*wire.Checkpoint{word(3, 66), word(3, 7), word(1, 7), word(3, 66), word(2, 7)} {
		core.onCheckpoint(m, &out)
	}
	if _, proof := core.quorumRoot(k); len(proof) != 3 {
		t.Errorf("%d CHECKPOINTs prove the root, want those of 1, 2 and 3", len(proof))
	}
}

// A damaged log may have lost the record of a view, but not a vote in it: the replica goes back to no earlier view.
func TestAVoteTellsTheViewWhenItsRecordIsLost(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	c.nodes[0].crash()
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 1, 2, 3)
	c.pass(1500 * millisecond)
	n := c.nodes[2]
	if n.core.view == 0 || !n.core.active {
		t.Fatalf("view %d, active %v: the others should have changed the view", n.core.view, n.core.active)
	}
	view := n.core.view
	n.crash()
	n.log = slices.DeleteFunc(n.log, func(l logged) bool {
		_, fields, err := decodeRecord(l.record)
		_, about := fields.(*viewFields)
		return err == nil && about
	})
	n.start()
	if n.core.view <= view {
		t.Errorf("replica 2 went back to view %d from %d", n.core.view, view)
	}
	c.request(c.keys.Request(alice, 0, 2, 0, 0, []byte("b")), 1, 2, 3)
	c.pass(3000 * millisecond)
	c.mustAccept(alice, 0, 2, "2:b") // replica 0 is down: 2 is needed, and the others follow it into its view
	c.mustAgree(1, 2, 3)
}

// Without a log no records are made.
func TestVolatileMakesNoRecords(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.Volatile, cfg.CheckpointInterval, cfg.BatchWindow = true, 4, 1 }, alice)
	c.nodes[0].crash()
	for i := range uint64(6) {
		c.request(c.keys.Request(alice, 0, i+1, 0, 0, []byte("a")), 1, 2, 3)
		c.pass(1500 * millisecond)
	}
	for _, n := range c.nodes[1:] {
		if len(n.log) > 0 {
			t.Errorf("replica %d made %d records", n.id, len(n.log))
		}
	}
	c.mustAgree(1, 2, 3)
}

// A replica with an empty disk comes back by state transfer.
func TestEmptyDisk(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval, cfg.BatchWindow = 4, 1 }, alice)
	for i := range uint64(11) {
		c.request(c.keys.Request(alice, 0, i+1, 0, 0, fmt.Appendf(nil, "op %d", i)), 0)
		c.pass(5 * millisecond)
	}
	n := c.nodes[3]
	n.crash()
	n.log, n.stable, n.proof = nil, snap{}, nil
	n.start()
	c.pass(1500 * millisecond)
	c.mustAgree(0, 1, 2, 3)
	if n.stable.seq != 8 {
		t.Errorf("replica 3 has checkpoint %d, want 8", n.stable.seq)
	}
}

// A restarted replica votes as it did before: it neither accepts another proposal for the same number, nor prepares what
// it has abandoned.
func TestRestartKeepsPromises(t *testing.T) {
	c := newCluster(t, 1, nil, alice, bob)
	c.route = func(e envelope) []int64 {
		if e.msg.Kind() == wire.KindPrepare || e.msg.Kind() == wire.KindAbandon {
			return nil
		}
		return []int64{0}
	}
	bad := c.keys.Request(bob, 0, 1, 0, 0, []byte("bad"))
	for i := 1; i < 4; i++ {
		bad.Auth[i][0] ^= 1
	}
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.request(bad, 0)
	c.pass(80 * millisecond)
	n := c.nodes[1]
	if s := n.core.window.peek(2); !s.abandoned {
		t.Fatal("replica 1 has not abandoned the proposal that it cannot authenticate")
	}
	n.crash()
	n.start()
	if s := n.core.window.peek(1); !s.accepted || s.digest != c.nodes[0].core.window.peek(1).digest {
		t.Error("replica 1 forgot what it accepted for number 1")
	}
	if s := n.core.window.peek(2); !s.abandoned {
		t.Error("replica 1 forgot that it abandoned number 2")
	}
	other := c.keys.Request(alice, 1, 1, 0, 0, []byte("other"))
	equivocation := wire.NewPrePrepare(0, 1, 0, c.cfg.Propose(c.now), []*wire.Request{other}, []bool{true})
	n.step(Received{c.keys.Verified(authtest.Replica(0), authtest.Replica(0), authtest.Replica(1), equivocation)})
	if s := n.core.window.peek(1); s.digest == equivocation.BatchDigest() {
		t.Error("replica 1 accepted a second proposal for number 1 after the restart")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	c := newCluster(f, 1, nil, alice)
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.settle()
	for _, l := range c.nodes[1].log {
		f.Add(l.record)
	}
	f.Add(viewRecord(&viewFields{View: 3, Proposed: true, Births: []uint64{0, 1, 2, noVouching}}))
	f.Add(abandonRecord(3, 7))
	f.Add(executedRecord(7))
	f.Add(decidedRecord(1, []wire.Digest{{1}, {2}}))
	cfg := c.cfg
	f.Fuzz(func(_ *testing.T, b []byte) {
		if _, _, err := decodeRecord(b); err != nil {
			return
		}
		var out Effects
		New(cfg, Recovered{Records: [][]byte{b}}).Step(1, Tick{}, &out) // must not panic
	})
}
