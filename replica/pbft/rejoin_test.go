package pbft

import (
	"fmt"
	"math"
	"testing"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

// vow is a vote that a replica's frame says.
type vow struct {
	kind wire.Kind
	view wire.View
	seq  wire.Seq
}

// vows notes what each replica says for which number, whatever it remembers, and fails the test when one contradicts itself.
type vows struct {
	tb   testing.TB
	said []map[vow]wire.Digest
	left []wire.View
}

func watchVows(c *cluster) *vows {
	v := &vows{tb: c.tb, said: make([]map[vow]wire.Digest, len(c.nodes)), left: make([]wire.View, len(c.nodes))}
	for i := range v.said {
		v.said[i] = map[vow]wire.Digest{}
	}
	c.trace = func(n *node, e Effect) {
		if b, ok := e.(Broadcast); ok {
			v.hear(n, b.Msg)
		}
	}
	return v
}

func (v *vows) hear(n *node, m wire.Message) {
	say := func(what vow, d wire.Digest) {
		if old, ok := v.said[n.id][what]; ok && old != d {
			v.tb.Fatalf("replica %d contradicts itself: %v for %v and %v", n.id, what, old, d)
		}
		if what.kind == wire.KindPrepare && what.view < v.left[n.id] {
			v.tb.Fatalf("replica %d votes %v after asking for view %d", n.id, what, v.left[n.id])
		}
		v.said[n.id][what] = d
	}
	switch m := m.(type) {
	case *wire.PrePrepare:
		say(vow{wire.KindPrepare, m.View, m.Seq}, m.BatchDigest())
	case *wire.Prepare:
		say(vow{wire.KindPrepare, m.View, m.Seq}, m.Digest)
	case *wire.Commit:
		say(vow{wire.KindCommit, m.View, m.Seq}, m.Digest)
	case *wire.ViewChange:
		v.left[n.id] = max(v.left[n.id], m.View)
		for what, d := range v.said[n.id] {
			if what.kind == wire.KindCommit && what.seq > m.Stable && what.view < m.View {
				if e, ok := preparedAt(m, what.seq); !ok || e.View < what.view || e.View == what.view && e.Digest != d && !e.Void {
					v.tb.Fatalf("replica %d forgets in its VIEW-CHANGE for view %d that it said %v", n.id, m.View, what)
				}
			}
		}
	}
}

// order has so many requests executed by the replicas that are up.
func (c *cluster) order(count int, first uint64) {
	c.tb.Helper()
	for i := range uint64(count) {
		number := first + i
		for range 100 {
			c.request(c.keys.Request(alice, 0, number, wire.FlagFullReply, 0, fmt.Appendf(nil, "op %d", number)), c.all()...)
			c.pass(50 * millisecond)
			if _, ok := c.accepted(alice, 0, number); ok {
				break
			}
		}
		if _, ok := c.accepted(alice, 0, number); !ok {
			c.tb.Fatalf("request %d is not answered", number)
		}
	}
}

func (c *cluster) mustHaveRejoined(n *node) {
	c.tb.Helper()
	for range 400 {
		if !n.core.Info().Doubt {
			return
		}
		c.pass(50 * millisecond)
	}
	c.tb.Fatalf("replica %d is still in doubt: %+v", n.id, n.core.Info())
}

// Whoever forgot, whatever was left: it rejoins an idle group by itself, without contradicting what it said, and then the
// group can do without another replica.
func TestAReplicaThatForgotRejoins(t *testing.T) {
	for _, victim := range []int{0, 2} { // the primary, a backup
		for _, all := range []bool{false, true} {
			for _, knows := range []bool{false, true} {
				for _, view := range []int{0, 1} {
					t.Run(fmt.Sprintf("replica %d, all %t, view known %t, in view %d", victim, all, knows, view), func(t *testing.T) {
						c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
						watchVows(c)
						c.order(6, 1)
						if view == 1 {
							c.nodes[0].crash()
							c.order(1, 7)
							c.nodes[0].start()
						}
						c.pass(500 * millisecond)
						n := c.nodes[victim]
						n.crash()
						n.forget(all, knows)
						n.start()
						c.mustHaveRejoined(n)
						c.pass(5000 * millisecond)
						c.nodes[3].crash()
						c.order(10, 8)
						c.pass(500 * millisecond)
						c.mustAgree(0, 1, 2)
						c.nodes[3].start()
						c.order(1, 18)
						c.pass(1000 * millisecond)
						c.mustAgree(0, 1, 2, 3)
					})
				}
			}
		}
	}
}

// A replica that had left the view alone, and forgot, does not vote in it again: its VIEW-CHANGE is still about.
func TestAReplicaThatForgotThatItLeftTheViewStaysAway(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
	watchVows(c)
	c.order(6, 1)
	n := c.nodes[2]
	var out Effects
	n.core.startViewChange(1, ReasonTimeout, &out)
	for _, e := range out {
		c.trace(n, e)
		n.apply(e)
	}
	n.crash()
	n.forget(true, false)
	n.start()
	c.order(12, 7)
	c.mustHaveRejoined(n)
	c.pass(2000 * millisecond)
	if i := n.core.Info(); !i.Active || i.View == 0 {
		t.Errorf("replica 2 is not taken back: %+v", i)
	}
	c.order(4, 19)
	c.mustAgree(0, 1, 2, 3)
}

// A replica in doubt says nothing that could contradict anything, and answers no reads, until the group is where the
// doubt ends; while it is needed the group stands still and loses nothing.
func TestAReplicaInDoubtIsSilent(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
	watchVows(c)
	c.order(6, 1)
	n := c.nodes[2]
	n.crash()
	c.nodes[3].crash() // so that its answer is missing
	n.forget(true, false)
	n.start()
	spoke := 0
	c.trace = func(m *node, e Effect) {
		switch e := e.(type) {
		case Broadcast:
			switch e.Msg.(type) {
			case *wire.PrePrepare, *wire.Prepare, *wire.Commit, *wire.ViewChange, *wire.NewView, *wire.Abandon:
				if m == n {
					spoke++
					t.Errorf("replica 2 says %s", describe(e.Msg))
				}
			}
		case Reply:
			if m == n && (e.Reply.Tentative || e.Reply.ReadOnly) {
				t.Errorf("replica 2 replies %s", describe(e.Reply))
			}
		}
	}
	for i := range uint64(20) {
		c.request(c.keys.Request(alice, 1, i+1, wire.FlagReadOnly, 0, []byte("?")), c.all()...)
		c.request(c.keys.Request(alice, 0, 7, wire.FlagFullReply, 0, []byte("op 7")), c.all()...)
		c.pass(200 * millisecond)
	}
	if !n.core.Info().Doubt {
		t.Fatal("replica 2 is sure, with two answers")
	}
	if _, ok := c.accepted(alice, 0, 7); ok {
		t.Fatal("two replicas and one in doubt answered a request")
	}
	c.nodes[3].start()
	c.trace = nil
	c.mustHaveRejoined(n)
	c.order(4, 7)
	c.pass(3000 * millisecond)
	c.mustAgree(0, 1, 2, 3)
}

// The stores of a new cluster are new, and nobody doubts that for long. A replica whose new store replaces a lost one is not
// believed.
func TestABeginningIsVouchedForOnce(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
	for _, n := range c.nodes {
		n.crash()
		n.log, n.doubt = nil, &Doubt{Nonce: 100 + uint64(n.id), New: true}
	}
	for _, n := range c.nodes[:3] {
		n.start()
	}
	c.pass(200 * millisecond)
	for _, n := range c.nodes[:3] {
		if i := n.core.Info(); i.Doubt || i.Executed != 0 {
			t.Fatalf("replica %d of a new cluster: %+v", n.id, i)
		}
	}
	c.order(3, 1)
	c.nodes[3].start() // late, but new all the same
	c.pass(200 * millisecond)
	if i := c.nodes[3].core.Info(); i.Doubt || i.Committed != 3 || i.View != 0 {
		t.Fatalf("a replica that starts late: %+v", i)
	}
	watchVows(c)
	for i, n := range c.nodes { // they remember for whom they vouched
		if i != 1 {
			n.crash()
			n.start()
		}
	}
	n := c.nodes[1]
	n.crash()
	n.log, n.stable, n.proof, n.doubt = nil, snap{}, nil, &Doubt{Nonce: 77, New: true}
	n.start()
	c.pass(50 * millisecond)
	if !n.core.Info().Doubt {
		t.Fatal("a second beginning was believed")
	}
	c.mustHaveRejoined(n)
	if got := n.core.Info().Stable.Seq; got < 8 {
		t.Errorf("rejoined at checkpoint %d; it may have voted up to 8", got)
	}
	c.order(3, 4)
	c.mustAgree(0, 1, 2, 3)
}

// A beginning that some vouch for, the primary among them, but too few: they help it to rejoin all the same. The others
// alone could not, for one is down, and f of them cannot have the primary replaced.
func TestABeginningThatTooFewVouchForRejoins(t *testing.T) {
	c := newCluster(t, 2, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
	c.order(3, 1)
	const once = 50 // the nonce of its first beginning, of which not all have heard
	for _, n := range c.nodes[3:6] {
		n.core.rejoin.births[6] = once
	}
	c.nodes[5].crash()
	n := c.nodes[6]
	n.crash()
	n.log, n.stable, n.proof, n.doubt = nil, snap{}, nil, &Doubt{Nonce: 77, New: true}
	watchVows(c)
	n.start()
	c.mustHaveRejoined(n)
	c.order(3, 4)
	c.mustAgree(0, 1, 2, 3, 4, 6)
}

// The estimate is at least what any correct replica could have been at, and at most what a correct one says, once all have
// answered.
func TestTheEstimateIsNotWhatOneReplicaSays(t *testing.T) {
	c := newCluster(t, 2, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
	n := c.nodes[0]
	n.crash()
	n.forget(true, false)
	cfg := c.cfg
	core := New(cfg, Recovered{Doubt: n.doubt})
	var out Effects
	core.Step(1, Tick{}, &out)
	answer := func(from int, view wire.View, prepared wire.Seq, nonce uint64, sound bool) {
		m := &wire.ReplyStable{Replica: wire.ReplicaID(from), Nonce: nonce, Sound: sound, View: view, Prepared: prepared}
		core.Step(2, Received{c.keys.Verified(authtest.Replica(m.Replica), authtest.Replica(m.Replica), authtest.Replica(0), m)}, &out)
	}
	answer(1, 3, 17, n.doubt.Nonce, true)
	answer(2, 3, 17, n.doubt.Nonce, true)
	answer(3, 1<<60, 1<<40, n.doubt.Nonce, true) // a liar
	answer(4, 2, 16, n.doubt.Nonce, true)
	answer(5, 3, 18, n.doubt.Nonce+1, true) // to another question
	answer(6, 3, 18, n.doubt.Nonce, false)  // has forgotten, too
	if core.rejoin.until != math.MaxUint64 {
		t.Fatalf("until %d with four answers", core.rejoin.until)
	}
	answer(5, 3, 18, n.doubt.Nonce, true)
	if core.rejoin.estimated {
		t.Fatal("settled on the word of a liar, without waiting for more")
	}
	answer(6, 3, 18, n.doubt.Nonce, true)
	if got := core.Info(); got.View != 4 || got.Until != 16+8 || got.Active {
		t.Errorf("estimate: %+v, want view 4 and checkpoint 24", got)
	}
	answer(1, 9, 90, n.doubt.Nonce, true) // its first word counts
	if got := core.Info(); got.View != 4 || got.Until != 24 {
		t.Errorf("estimate after a second word: %+v", got)
	}
}

// A replica that asks to be helped without need gets little for it.
func TestAGuestIsEntertainedNowAndThen(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = 4 }, alice)
	c.order(2, 1)
	pretend := func(nonce uint64) {
		for i := range 3 {
			q := &wire.QueryStable{Replica: 3, Nonce: nonce, Until: 1 << 40}
			c.nodes[i].step(Received{c.keys.Verified(authtest.Replica(3), authtest.Replica(3), authtest.Replica(wire.ReplicaID(i)), q)})
		}
	}
	for nonce := range uint64(100) {
		pretend(nonce + 1)
		c.pass(20 * millisecond)
	}
	if got := c.nodes[0].core.Info().Executed; got > 2+4*4 {
		t.Errorf("%d batches after 2 s of pretence, want 16 empty ones at most", got)
	}
	c.pass(2 * visitInterval * c.nodes[0].core.cfg.ViewChangeTimeout)
	pretend(1000)
	c.pass(200 * millisecond)
	if got := c.nodes[0].core.Info().Executed; got <= 2+4*4 {
		t.Errorf("%d batches: a guest that comes again after long is not received", got)
	}
}
