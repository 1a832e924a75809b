package pbft

import (
	"fmt"
	"testing"

	"bfsd/replica/wire"
)

const alice, bob, mallory = wire.ClientID(100), wire.ClientID(101), wire.ClientID(102)

// mustAccept checks that a client has its result.
func (c *cluster) mustAccept(client wire.ClientID, slot wire.Slot, number uint64, want string) {
	c.tb.Helper()
	got, ok := c.accepted(client, slot, number)
	if !ok || got != want {
		c.tb.Errorf("client %d slot %d #%d: result %q (accepted: %t), want %q", client, slot, number, got, ok, want)
	}
}

// TOCS §4.3: one request, ordered at once in an idle system, executes on every replica.
func TestOneRequestExecutesEverywhere(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	c.request(c.keys.Request(alice, 0, 1, 0, 2, []byte("a")), 0)
	c.settle()
	c.mustAccept(alice, 0, 1, "1:a")
	c.pass(10 * millisecond)
	c.mustAgree(0, 1, 2, 3)
}

// TOCS §5, digest replies: only the designated replier sends a long result.
func TestDigestReplies(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.DigestReplyBytes = 4 }, alice)
	c.request(c.keys.Request(alice, 0, 1, 0, 2, []byte("long result")), 0)
	c.settle()
	full := 0
	for _, r := range c.replies {
		if r.Full {
			full++
			if r.Replica != 2 {
				t.Errorf("replica %d sent the result, want replica 2", r.Replica)
			}
		}
	}
	if full != 1 || len(c.replies) != 4 {
		t.Errorf("%d of %d replies are full, want 1 of 4", full, len(c.replies))
	}
	c.replies = nil
	c.request(c.keys.Request(alice, 0, 1, wire.FlagFullReply, 2, []byte("long result")), 0, 1, 2, 3)
	c.settle()
	for _, r := range c.replies {
		if !r.Full {
			t.Errorf("replica %d sent a digest to a retransmission that asks for the result", r.Replica)
		}
	}
	c.mustAccept(alice, 0, 1, "1:long result")
	if len(c.agreed) != 1 {
		t.Errorf("executed %d times, want once", len(c.agreed))
	}
}

// TOCS §6.1: an idle system orders a request alone; what arrives while the window is full goes into one batch.
func TestBatchesGatherOnlyUnderLoad(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.BatchWindow = 2; cfg.Slots = 16 }, alice)
	sizes := map[wire.Seq]int{}
	c.trace = func(n *node, e Effect) {
		if b, ok := e.(Broadcast); ok && n.id == 0 {
			if pp, ok := b.Msg.(*wire.PrePrepare); ok {
				sizes[pp.Seq] = len(pp.Entries)
			}
		}
	}
	for i := range 10 {
		c.request(c.keys.Request(alice, wire.Slot(i), 1, 0, 0, []byte{byte('a' + i)}), 0)
	}
	c.settle()
	c.pass(10 * millisecond)
	if sizes[1] != 1 || sizes[2] != 1 || sizes[3] != 8 || len(sizes) != 3 {
		t.Errorf("batch sizes %v, want 1, 1, and 8 in the third", sizes)
	}
	c.mustAgree(0, 1, 2, 3)
}

// TOCS §4.2: a request executes exactly once, however often it arrives, and its slot's older requests never again.
func TestExactlyOnce(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	one := c.keys.Request(alice, 0, 1, 0, 0, []byte("a"))
	two := c.keys.Request(alice, 0, 2, 0, 0, []byte("b"))
	c.request(one, 0, 0, 0)
	c.settle()
	c.request(one, 0, 1, 2, 3)
	c.settle()
	c.request(two, 0)
	c.settle()
	c.request(one, 0, 1, 2, 3)
	c.request(two, 0, 1, 2, 3)
	c.pass(100 * millisecond)
	c.mustAccept(alice, 0, 2, "2:b")
	if len(c.agreed) != 2 {
		t.Errorf("executed %d operations, want 2", len(c.agreed))
	}
}

// tentativeCluster is a group that has executed alice's request a, which commits in 50 ms.
func tentativeCluster(t *testing.T) *cluster {
	c := newCluster(t, 1, nil, alice, bob)
	c.route = func(e envelope) []int64 {
		if e.msg.Kind() == wire.KindCommit {
			return []int64{50 * millisecond}
		}
		return []int64{0}
	}
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.settle()
	c.mustAccept(alice, 0, 1, "1:a")
	return c
}

// TOCS §5: a read-only operation is answered without ordering. What it read may not have committed: then the replies say so, and
// name the state.
func TestReadsAreAnsweredFromOneTentativeState(t *testing.T) {
	c := tentativeCluster(t)
	c.request(c.keys.Request(bob, 0, 1, wire.FlagReadOnly, 0, []byte("read")), 0, 1, 2, 3)
	c.settle()
	c.mustAccept(bob, 0, 1, "1:read")
	for _, r := range c.replies {
		if r.Client == bob && (!r.Tentative || r.Seq != 1 || r.View != 0) {
			t.Errorf("replica %d read a state that has not committed, and says %+v", r.Replica, r)
		}
	}
	c.pass(60 * millisecond)
	if len(c.agreed) != 1 {
		t.Errorf("ordered %d operations, want 1: the read needs no ordering", len(c.agreed))
	}
}

// TOCS §5: asked for the full result, as a client asks when the tentative states differed, a replica does not answer before what
// it read has committed.
func TestReadsWaitForWhatTheyReadToCommit(t *testing.T) {
	c := tentativeCluster(t)
	c.request(c.keys.Request(bob, 0, 1, wire.FlagReadOnly|wire.FlagFullReply, 0, []byte("read")), 0, 1, 2, 3)
	c.settle()
	if got, ok := c.accepted(bob, 0, 1); ok {
		t.Fatalf("the read returned %q before what it saw had committed", got)
	}
	c.pass(60 * millisecond)
	c.mustAccept(bob, 0, 1, "1:read")
	if len(c.agreed) != 1 {
		t.Errorf("ordered %d operations, want 1: the read needs no ordering", len(c.agreed))
	}
}

// While a write is under way the replicas are likely in different states, and tentative replies would not match: a read then
// waits for what it saw to commit.
func TestReadsBesideAWriteWait(t *testing.T) {
	c := tentativeCluster(t)
	c.route = func(e envelope) []int64 {
		if k := e.msg.Kind(); k == wire.KindCommit || k == wire.KindPrepare {
			return []int64{50 * millisecond}
		}
		return []int64{0}
	}
	c.request(c.keys.Request(alice, 0, 2, 0, 0, []byte("b")), 0)
	c.settle()
	c.request(c.keys.Request(bob, 0, 1, wire.FlagReadOnly, 0, []byte("read")), 0, 1, 2, 3)
	c.settle()
	for _, r := range c.replies {
		if r.Client == bob {
			t.Errorf("replica %d answered from state %d (tentative: %t) while number 2 was being agreed on", r.Replica, r.Seq, r.Tentative)
		}
	}
	c.pass(60 * millisecond)
	c.mustAccept(bob, 0, 1, "1:read")
}

// COMMITs wait for another message to ride on, but not while a read waits for them.
func TestAReadThatWaitsCallsForTheCommits(t *testing.T) {
	c := newCluster(t, 1, nil, alice, bob)
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.settle()
	if n := c.nodes[0].core.Info(); n.Committed != 0 {
		t.Fatalf("number %d has committed: nothing held the COMMITs back", n.Committed)
	}
	c.request(c.keys.Request(bob, 0, 1, wire.FlagReadOnly|wire.FlagFullReply, 0, []byte("read")), 0, 1, 2, 3)
	c.settle()
	c.mustAccept(bob, 0, 1, "1:read")
}

// A client that does not reach the primary sends to the backups, and goes on with its slot as soon as it has its result: nothing
// may have to wait for a tick in between.
func TestWhoDoesNotReachThePrimaryIsNotHeldUp(t *testing.T) {
	for _, to := range [][]int{{1, 2, 3}, {0, 1, 2, 3}, {2, 3}} {
		c := newCluster(t, 1, nil, alice)
		for number := uint64(1); number <= 5; number++ {
			c.request(c.keys.Request(alice, 0, number, wire.FlagFullReply, 0, fmt.Append(nil, "op ", number)), to...)
			c.settle()
			if _, ok := c.accepted(alice, 0, number); !ok {
				t.Fatalf("sent to %v: request %d has no result", to, number)
			}
		}
	}
}

// A replica that abandoned a proposal executes nothing tentatively before that slot has committed (doubt.go): others may have
// executed it, and lower slots may be the same story.
func TestWhoAbandonedAProposalIsNotTentative(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.NoPiggyback = true }, alice, bob)
	hold := true
	c.route = func(e envelope) []int64 {
		if m, ok := e.msg.(*wire.Commit); ok && m.Seq == 1 && hold {
			return nil // number 1 prepares, and does not commit
		}
		return []int64{0}
	}
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.settle()
	bad := c.keys.Request(bob, 0, 1, 0, 0, []byte("bad"))
	for i := 1; i < 4; i++ {
		bad.Auth[i][0] ^= 1
	}
	c.request(bad, 0)
	c.pass(80 * millisecond)
	c.request(c.keys.Request(alice, 1, 1, 0, 0, []byte("b")), 0)
	c.pass(50 * millisecond)
	c.nodes[2].crash() // and remembers
	c.nodes[2].start()
	c.pass(250 * millisecond)
	for _, n := range c.nodes {
		if s := n.core.window.peek(2); !s.abandoned || s.decision != wire.NullDigest || !s.decided {
			t.Fatalf("replica %d: number 2 is not void", n.id)
		}
		if s := n.core.window.peek(3); !s.prepared || s.executed {
			t.Errorf("replica %d: number 3 prepared %t and executed %t, before number 2 has committed here", n.id, s.prepared, s.executed)
		}
	}
	hold = false
	c.pass(500 * millisecond)
	c.mustAccept(alice, 1, 1, "2:b")
	c.mustAgree(0, 1, 2, 3)
}

func TestReadThatCannotBeAnsweredIsOrdered(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	c.request(c.keys.Request(alice, 0, 1, wire.FlagReadOnly, 0, []byte("must be ordered")), 0, 1, 2, 3)
	c.settle()
	c.mustAccept(alice, 0, 1, "1:must be ordered")
}

// TOCS §5, separate request transmission: the pre-prepare carries a digest; a backup that lacks the body fetches it.
func TestLargeRequestsTravelByDigest(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	r := c.keys.Request(alice, 0, 1, 0, 0, large("big", 50_000))
	c.request(r, 0, 1, 2) // not to 3
	inline := 0
	c.trace = func(_ *node, e Effect) {
		if b, ok := e.(Broadcast); ok {
			if pp, ok := b.Msg.(*wire.PrePrepare); ok {
				inline += len(pp.Entries[0].Inline.Bytes)
			}
		}
	}
	c.settle()
	if inline != 0 {
		t.Errorf("pre-prepares carried %d bytes of the body", inline)
	}
	if got := c.nodes[3].core.exec.last; got != 0 {
		t.Fatalf("replica 3 executed %d without the body", got)
	}
	c.pass(200 * millisecond)
	c.mustAgree(0, 1, 2, 3)
	if len(c.agreed) != 1 {
		t.Errorf("%d operations", len(c.agreed))
	}
}

// TOCS §4.3 end: a request that one backup cannot authenticate is accepted on the word of f+1 others.
func TestVouchersMakeUpForABadMAC(t *testing.T) {
	c := newCluster(t, 1, nil, alice, bob)
	bad := c.keys.Request(alice, 0, 1, 0, 0, []byte("bad"))
	bad.Auth[3][0] ^= 1
	c.request(bad, 0)
	c.request(c.keys.Request(bob, 0, 1, 0, 0, []byte("good")), 0)
	c.settle()
	c.mustAccept(alice, 0, 1, "1:bad")
	c.mustAccept(bob, 0, 1, "2:good")
	c.pass(10 * millisecond)
	c.mustAgree(0, 1, 2, 3)
}

// The "big MAC" attack (Clement et al., NSDI '09): authenticators that convince the primary alone. No view change, nobody
// else waits for long, and the client's later requests do not hurt any more.
func TestPartialAuthenticatorsNeitherStallNorChangeViews(t *testing.T) {
	c := newCluster(t, 1, nil, alice, bob)
	for round := range uint64(5) {
		bad := c.keys.Request(alice, 0, round+1, 0, 0, []byte("bad"))
		for i := 1; i < 4; i++ {
			bad.Auth[i][0] ^= 1
		}
		c.request(bad, 0)
		c.request(c.keys.Request(bob, 0, round+1, 0, 0, fmt.Appendf(nil, "good %d", round)), 0)
		c.pass(100 * millisecond)
		c.mustAccept(bob, 0, round+1, fmt.Sprintf("%d:good %d", round+1, round))
	}
	c.mustAgree(0, 1, 2, 3)
	for _, n := range c.nodes {
		if n.core.view != 0 {
			t.Errorf("replica %d is in view %d", n.id, n.core.view)
		}
		if s := n.core.window.peek(1); s == nil || s.decision != wire.NullDigest {
			t.Errorf("replica %d: the first proposal was not voided", n.id)
		}
	}
	if n := c.nodes[0].core.exec.committed; n != 6 {
		t.Errorf("%d batches: want 6, the voided one and one a round", n)
	}
	// The suspected client is served once its requests convince a quorum.
	good := c.keys.Request(alice, 0, 9, wire.FlagFullReply, 0, []byte("honest"))
	c.request(good, 0, 1, 2, 3)
	c.settle()
	c.mustAccept(alice, 0, 9, "6:honest")
}

// Arrival in any order: a pre-prepare after its prepares, commits before the prepared certificate.
func TestMessagesInAnyOrder(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	c.route = func(e envelope) []int64 {
		if e.to.ID != 3 {
			return []int64{0}
		}
		late := map[wire.Kind]int64{wire.KindPrePrepare: 30 * millisecond, wire.KindPrepare: 20 * millisecond, wire.KindCommit: 10 * millisecond}
		return []int64{late[e.msg.Kind()]}
	}
	c.request(c.keys.Request(alice, 0, 1, 0, 0, []byte("a")), 0)
	c.pass(50 * millisecond)
	c.mustAgree(0, 1, 2, 3)
}

// A backup refuses a proposal whose choice it vetoes.
func TestBadChoiceIsRefused(t *testing.T) {
	c := newCluster(t, 1, nil, alice)
	refused := 0
	c.trace = func(_ *node, e Effect) {
		if tr, ok := e.(Trace); ok && tr.Event == TraceBadChoice {
			refused++
		}
	}
	r := c.keys.Request(alice, 0, 1, 0, 0, []byte("a"))
	c.nodes[0].broadcast(wire.NewPrePrepare(0, 1, 0, []byte("choice"), []*wire.Request{r}, []bool{true}))
	c.settle()
	if refused != 3 || c.nodes[1].core.window.peek(1).proposed {
		t.Errorf("%d replicas refused the choice, want 3", refused)
	}
}
