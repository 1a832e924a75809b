package pbft

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"bfsd/replica/wire"
)

// liar makes f replicas Byzantine: an honest core runs inside, but what leaves is changed, differently for each receiver.
// It has the replica's keys, so what it signs verifies.
type liar struct {
	x    *chaos
	rng  *rand.Rand
	lies map[wire.Kind]float64 // how often it lies about each kind
	old  []wire.Message        // to say again later
}

// swarm draws which lies a run tells.
func newLiar(x *chaos) *liar {
	l := &liar{x: x, rng: x.rng, lies: map[wire.Kind]float64{}}
	for k := wire.KindPrePrepare; k <= wire.KindVouch; k++ {
		if l.rng.Intn(2) == 0 {
			l.lies[k] = l.rng.Float64()
		}
	}
	x.liar, x.tamper = l, l.tamper
	first := l.rng.Intn(len(x.nodes))
	for i := range x.cfg.F {
		x.nodes[(first+i)%len(x.nodes)].byzantine = true
	}
	return l
}

func (l *liar) digest() wire.Digest {
	var d wire.Digest
	if l.rng.Intn(4) > 0 { // sometimes the null digest, on purpose
		l.rng.Read(d[:])
	}
	return d
}

// tamper decides what one receiver gets instead of a message.
func (l *liar) tamper(n *node, to wire.Principal, m wire.Message) []wire.Message {
	if len(l.old) < 200 || l.rng.Intn(10) == 0 {
		if s, ok := m.(wire.Sent); ok && s.Sender() == n.id {
			l.old = append(l.old, m)
			if len(l.old) > 400 {
				l.old = l.old[200:]
			}
		}
	}
	if s, ok := m.(wire.Sent); !ok || s.Sender() != n.id || l.rng.Float64() >= l.lies[m.Kind()] {
		return []wire.Message{m}
	}
	if to.Role == wire.RoleClient {
		return l.lieToClient(m)
	}
	switch l.rng.Intn(6) {
	case 0:
		return nil // silence towards this one
	case 1:
		out := []wire.Message{m}
		if o := l.old[l.rng.Intn(len(l.old))].(wire.Sent); o.Sender() == n.id && o.Kind() != wire.KindReply {
			out = append(out, o) // a replay
		}
		return out
	}
	return append(l.lie(n, m), l.noise(n)...)
}

func (l *liar) lieToClient(m wire.Message) []wire.Message {
	r := *m.(*wire.Reply)
	r.Result = []byte("1:lie")
	r.Digest, r.Full, r.Tentative = wire.ResultDigest(r.Result), true, false
	return []wire.Message{&r}
}

// lie changes a message.
func (l *liar) lie(n *node, m wire.Message) []wire.Message {
	switch m := m.(type) {
	case *wire.PrePrepare:
		return l.equivocate(m)
	case *wire.Prepare:
		c := *m
		c.Digest = l.digest()
		return []wire.Message{&c}
	case *wire.Commit:
		c := *m
		c.Digest = l.digest()
		return []wire.Message{&c}
	case *wire.Checkpoint:
		return []wire.Message{&wire.Checkpoint{Seq: m.Seq + wire.Seq(l.rng.Intn(2)*n.c.cfg.CheckpointInterval), Root: l.digest(), Replica: n.id}}
	case *wire.ViewChange:
		return []wire.Message{l.forgeViewChange(m)}
	case *wire.NewView:
		return []wire.Message{l.forgeNewView(m)}
	case *wire.Status:
		c := *m
		c.Executed += wire.Seq(l.rng.Intn(20))
		c.Stable = wire.Seq(l.rng.Intn(20))
		return []wire.Message{&c}
	case *wire.Decided:
		c := &wire.Decided{Replica: n.id}
		for _, sv := range m.Batches {
			c.Batches = append(c.Batches, wire.SlotVote{Seq: sv.Seq, Digest: l.digest()})
		}
		return []wire.Message{c}
	case *wire.Vouch:
		c := *m
		c.Number += uint64(l.rng.Intn(3))
		c.Digest = l.digest()
		return []wire.Message{&c}
	case *wire.RequestBody:
		forged := wire.NewRequest(alice, 0, uint64(1+l.rng.Intn(30)), 0, 0, []byte("forged"))
		return []wire.Message{wire.NewRequestBody(n.id, []*wire.Request{forged}, [][]byte{[]byte("no batch")})}
	}
	return []wire.Message{m}
}

// equivocate proposes other batches: in another order, with another choice, or with a forged request.
func (l *liar) equivocate(m *wire.PrePrepare) []wire.Message {
	var reqs []*wire.Request
	for _, r := range m.Requests() {
		if r != nil {
			reqs = append(reqs, r)
		}
	}
	choice := slices.Clone(m.Choice)
	choice[7]++
	switch l.rng.Intn(3) {
	case 0:
		forged := wire.NewRequest(alice, 1, uint64(1+l.rng.Intn(30)), 0, 0, []byte("forged"))
		forged.Auth = make([]wire.MAC, len(l.x.nodes))
		reqs = append(reqs, forged)
	case 1:
		slices.Reverse(reqs)
	}
	if len(reqs) == 0 {
		return nil
	}
	inline := make([]bool, len(reqs))
	for i := range inline {
		inline[i] = true
	}
	return []wire.Message{wire.NewPrePrepare(m.View, m.Seq, m.Replica, choice, reqs, inline)}
}

// forgeViewChange hides what was prepared, or claims what was not, in high views.
func (l *liar) forgeViewChange(m *wire.ViewChange) wire.Message {
	c := &wire.ViewChange{View: m.View, Stable: m.Stable, Checkpoints: m.Checkpoints, Replica: m.Replica}
	switch l.rng.Intn(5) {
	case 0: // hide everything
	case 1: // claim another batch for each number, prepared in the newest view possible
		for _, e := range m.Prepared {
			e.Digest, e.View, e.Void = l.digest(), m.View-1, l.rng.Intn(2) == 0
			c.Prepared = append(c.Prepared, e)
			c.PrePrepared = append(c.PrePrepared, e)
		}
	case 2: // void everything
		for _, e := range m.Prepared {
			e.Digest, e.Void = wire.NullDigest, true
			c.Prepared = append(c.Prepared, e)
			c.PrePrepared = append(c.PrePrepared, e)
		}
	case 3: // a checkpoint that nobody has
		c.Checkpoints = []wire.CheckpointRef{{Seq: m.Stable + wire.Seq(l.x.cfg.CheckpointInterval), Root: l.digest()}}
		c.Stable = c.Checkpoints[0].Seq
	case 4: // too far ahead
		c.View += wire.View(1 + l.rng.Intn(3))
	}
	return c
}

// forgeNewView plans something else.
func (l *liar) forgeNewView(m *wire.NewView) wire.Message {
	c := &wire.NewView{View: m.View, ViewChanges: m.ViewChanges, Start: m.Start, Plan: slices.Clone(m.Plan), Replica: m.Replica}
	switch l.rng.Intn(3) {
	case 0:
		c.Plan = append(c.Plan, l.digest())
	case 1:
		if len(c.Plan) > 0 {
			c.Plan[l.rng.Intn(len(c.Plan))] = l.digest()
		}
	case 2:
		if len(c.ViewChanges) > l.x.cfg.F+1 {
			c.ViewChanges = c.ViewChanges[1:]
		}
	}
	return c
}

// noise says things that nobody asked for.
func (l *liar) noise(n *node) []wire.Message {
	seq := n.core.exec.last + wire.Seq(l.rng.Intn(6))
	switch l.rng.Intn(8) {
	case 0:
		return []wire.Message{&wire.Abandon{View: n.core.view, Seq: seq, Replica: n.id}}
	case 1:
		return []wire.Message{&wire.Prepare{View: n.core.view, Seq: seq, Digest: wire.NullDigest, Replica: n.id}}
	case 2:
		return []wire.Message{&wire.Commit{View: n.core.view, Seq: seq, Digest: wire.NullDigest, Replica: n.id}}
	case 3:
		return []wire.Message{&wire.ViewChange{View: n.core.view + 1, Replica: n.id, Checkpoints: []wire.CheckpointRef{{}}}}
	}
	return nil
}

// TestRandomByzantine is TestRandomFaults with f Byzantine replicas on top, which go on lying when all else is calm.
func TestRandomByzantine(t *testing.T) {
	for i := range *seedsFlag {
		seed := int64(i) + 1
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		f := 1 + int(seed-1)%4/3
		t.Run(fmt.Sprintf("seed=%d,n=%d", seed, 3*f+1), func(t *testing.T) {
			x := newChaos(t, seed, f)
			newLiar(x)
			x.run(t)
			for _, op := range x.agreed {
				if op.op == "forged" {
					t.Errorf("a forged request was executed: %+v", op)
				}
			}
		})
		if *seedFlag != 0 {
			return
		}
	}
}
