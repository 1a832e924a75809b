package sim

import (
	"encoding/binary"
	"slices"

	"bfsd/replica/wire"
)

// twist gives what the traitor says to one receiver in place of what its core says; nil: the same. It never changes the
// core's message, which others get too.
func (t *traitor) twist(to wire.Principal, m wire.Message) wire.Message {
	switch m := m.(type) {
	case *wire.PrePrepare:
		t.considerProposal(m)
	case *wire.Prepare:
		if v, d, changed := t.vote(to, m.View, m.Seq, m.Digest); changed {
			return &wire.Prepare{View: v, Seq: m.Seq, Digest: d, Replica: m.Replica, Commits: m.Commits}
		}
	case *wire.Commit:
		if v, d, changed := t.vote(to, m.View, m.Seq, m.Digest); changed {
			return &wire.Commit{View: v, Seq: m.Seq, Digest: d, Replica: m.Replica}
		}
	case *wire.Checkpoint:
		if m.Replica == t.n.id && t.does(forgedCheckpoints, 2) {
			return &wire.Checkpoint{Seq: m.Seq, Root: t.n.w.plot.lie(m.Seq), Replica: m.Replica}
		}
	case *wire.ViewChange:
		if m.Replica == t.n.id && (t.has[plotting] && t.has[badViewChanges] || t.does(badViewChanges, 2)) {
			return t.twistViewChange(m)
		}
	case *wire.NewView:
		if m.Replica == t.n.id && t.does(badNewViews, 2) {
			return t.twistNewView(m)
		}
	case *wire.Reply:
		if t.does(lyingReplies, 2) {
			lie := *m
			lie.Result = append([]byte("lie"), byte(m.Number))
			lie.Digest, lie.Full, lie.Tentative = wire.ResultDigest(lie.Result), true, false
			lie.ReadOnly = m.ReadOnly != (t.rng.IntN(4) == 0)
			return &lie
		}
	default:
		return t.twistHelp(m)
	}
	return nil
}

// vote changes the view or digest of a PREPARE or COMMIT.
func (t *traitor) vote(to wire.Principal, v wire.View, seq wire.Seq, d wire.Digest) (wire.View, wire.Digest, bool) {
	if tw := t.n.w.plot.twins[ballot{v, seq}]; tw != nil && to.Role == wire.RoleReplica {
		return v, tw.digests[tw.side[to.ID]], true
	}
	switch {
	case t.does(wrongDigests, 3):
		return v, []wire.Digest{t.n.w.plot.lie(seq), wire.NullDigest}[t.rng.IntN(2)], true
	case t.does(stale, 3):
		return v - min(v, 1), d, true
	case t.does(stale, 6):
		return v + wire.View(t.n.w.plan.n), d, true
	}
	return v, d, false
}

// considerProposal decides, once for each of its proposals, whether to spoil it.
func (t *traitor) considerProposal(m *wire.PrePrepare) {
	b := ballot{m.View, m.Seq}
	if t.twisted[b] {
		return
	}
	t.twisted[b] = true
	switch {
	case t.does(forgedRequests, 3):
		t.fakes[b] = t.withForgery(m)
	case t.does(badChoices, 4):
		far := binary.BigEndian.AppendUint64(nil, uint64(t.n.wall()+3600*second))
		t.fakes[b] = wire.Encode(&wire.PrePrepare{View: m.View, Seq: m.Seq, Replica: m.Replica, Choice: far, Entries: m.Entries})
	case t.does(equivocating, 2):
		t.equivocate(b, m)
	}
}

// withForgery adds a request in a client's name, which the traitor cannot authenticate.
func (t *traitor) withForgery(m *wire.PrePrepare) []byte {
	r := wire.NewRequest(t.n.w.plot.victim, wire.Slot(t.rng.IntN(t.n.w.plan.slots)), 1<<40+t.rng.Uint64N(1000), 0, 0, t.n.w.scenario.Rogue(t.rng))
	r.Auth = make([]wire.MAC, t.n.w.plan.n)
	entries := append(slices.Clone(m.Entries), wire.Entry{Inline: r.Body()})
	if t.rng.IntN(2) == 0 {
		entries = entries[len(entries)-1:]
	}
	return wire.Encode(&wire.PrePrepare{View: m.View, Seq: m.Seq, Replica: m.Replica, Choice: m.Choice, Entries: entries, Commits: m.Commits})
}

// equivocate makes a second proposal for the slot: another choice, or the requests in another order.
func (t *traitor) equivocate(b ballot, m *wire.PrePrepare) {
	other := &wire.PrePrepare{View: m.View, Seq: m.Seq, Replica: m.Replica, Choice: m.Choice, Entries: slices.Clone(m.Entries)}
	if len(other.Entries) > 1 && t.rng.IntN(2) == 0 {
		slices.Reverse(other.Entries)
	} else if at, ok := timeOf(m.Choice); ok {
		other.Choice = binary.BigEndian.AppendUint64(nil, uint64(at+1))
	}
	frame := wire.Encode(other)
	decoded, err := wire.Decode(frame)
	if err != nil {
		t.n.w.fail("traitor %d: its second proposal does not decode: %v", t.n.id, err)
		return
	}
	t.n.w.plot.propose(b, &twin{
		digests: [2]wire.Digest{m.BatchDigest(), decoded.(*wire.PrePrepare).BatchDigest()}, frames: [2][]byte{wire.Encode(m), frame},
	})
}

func (t *traitor) twistViewChange(m *wire.ViewChange) wire.Message {
	vc := &wire.ViewChange{
		View: m.View, Stable: m.Stable, Checkpoints: slices.Clone(m.Checkpoints), Prepared: slices.Clone(m.Prepared),
		PrePrepared: slices.Clone(m.PrePrepared), Replica: m.Replica,
	}
	k := wire.Seq(t.n.w.plan.core.CheckpointInterval)
	way := t.rng.IntN(5)
	if (t.has[plotting] || t.has[voiding]) && t.rng.IntN(6) > 0 {
		way = 1
	}
	switch way {
	case 0: // nothing was prepared
		vc.Prepared = nil
	case 1: // something else was
		for i := range vc.Prepared {
			vc.Prepared[i] = t.n.w.plot.claim(vc.Prepared[i].Seq, m.View)
			if t.has[voiding] || t.rng.IntN(8) == 0 {
				vc.Prepared[i].Digest, vc.Prepared[i].Void = wire.NullDigest, true
			}
		}
		vc.PrePrepared = slices.Clone(vc.Prepared)
	case 2: // everything was
		vc.Prepared, vc.PrePrepared = nil, nil
		for seq := m.Stable + 1; seq <= m.Stable+2*k; seq++ {
			e := t.n.w.plot.claim(seq, m.View)
			vc.Prepared, vc.PrePrepared = append(vc.Prepared, e), append(vc.PrePrepared, e)
		}
	case 3: // a checkpoint that nobody has
		vc.Checkpoints = append(vc.Checkpoints, wire.CheckpointRef{Seq: m.Stable + 4*k, Root: t.n.w.plot.lie(m.Stable)})
	default: // a stable checkpoint that is not there yet
		vc.Stable += k
		vc.Prepared = slices.DeleteFunc(vc.Prepared, func(e wire.PreparedEntry) bool { return e.Seq <= vc.Stable })
		vc.PrePrepared = slices.DeleteFunc(vc.PrePrepared, func(e wire.PreparedEntry) bool { return e.Seq <= vc.Stable })
	}
	return vc
}

func (t *traitor) twistNewView(m *wire.NewView) wire.Message {
	nv := &wire.NewView{View: m.View, ViewChanges: slices.Clone(m.ViewChanges), Start: m.Start, Plan: slices.Clone(m.Plan), Replica: m.Replica}
	switch t.rng.IntN(5) {
	case 0: // forget a batch
		if len(nv.Plan) > 0 {
			nv.Plan[t.rng.IntN(len(nv.Plan))] = wire.NullDigest
		}
	case 1: // forget the last ones
		nv.Plan = nv.Plan[:t.rng.IntN(len(nv.Plan)+1)]
	case 2: // another batch
		if len(nv.Plan) > 0 {
			i := t.rng.IntN(len(nv.Plan))
			nv.Plan[i] = t.n.w.plot.lie(nv.Start.Seq + 1 + wire.Seq(i))
		}
	case 3: // leave a witness out
		i := t.rng.IntN(len(nv.ViewChanges))
		nv.ViewChanges = slices.Delete(nv.ViewChanges, i, i+1)
	default: // in the name of another
		i := t.rng.IntN(len(nv.ViewChanges))
		old := nv.ViewChanges[i]
		forged := &wire.ViewChange{View: old.View, Stable: old.Stable, Checkpoints: old.Checkpoints, Replica: old.Replica}
		wire.Sign(forged, func([]byte) []byte { return make([]byte, wire.SignatureSize) })
		nv.ViewChanges[i] = forged
	}
	return nv
}

// twistHelp spoils the messages by which replicas help each other.
func (t *traitor) twistHelp(m wire.Message) wire.Message {
	switch m := m.(type) {
	case *wire.Status:
		if t.does(falseStatus, 2) {
			lie := *m
			if t.rng.IntN(2) == 0 {
				lie.PrePrepared, lie.Prepared, lie.Committed, lie.Executed = nil, nil, nil, m.Stable
			} else {
				lie.Executed, lie.View = m.Executed+1000, m.View+wire.View(t.rng.IntN(3))
			}
			return &lie
		}
	case *wire.QueryStable:
		if t.does(falseStatus, 2) {
			return &wire.QueryStable{Replica: m.Replica, Nonce: t.rng.Uint64(), New: !m.New, Until: m.Until + wire.Seq(t.rng.IntN(100))}
		}
	case *wire.ReplyStable:
		if t.does(falseStatus, 2) {
			lie := *m
			lie.Sound, lie.Vouched = true, t.rng.IntN(2) == 0
			if t.rng.IntN(2) == 0 {
				lie.View, lie.Prepared = 0, 0
			} else {
				lie.View, lie.Prepared = m.View+1000, m.Prepared+100_000
			}
			return &lie
		}
	case *wire.Decided:
		if t.does(falseDecisions, 2) {
			lie := &wire.Decided{Replica: m.Replica, Batches: slices.Clone(m.Batches)}
			for i := range lie.Batches {
				lie.Batches[i].Digest = t.n.w.plot.lie(lie.Batches[i].Seq)
			}
			return lie
		}
	case *wire.Vouch:
		if t.does(falseVouchers, 2) {
			return &wire.Vouch{Replica: m.Replica, Client: m.Client, Slot: m.Slot, Number: m.Number + uint64(t.rng.IntN(3)), Digest: t.n.w.plot.lie(1)}
		}
	case *wire.Data:
		if t.does(corruptState, 2) {
			lie := &wire.Data{Replica: m.Replica, Root: m.Root}
			for _, node := range m.Nodes {
				node = slices.Clone(node)
				if len(node) > 0 {
					node[t.rng.IntN(len(node))] ^= 1
				}
				lie.Nodes = append(lie.Nodes, node)
			}
			return lie
		}
		if t.does(corruptState, 3) {
			return &wire.MetaData{Replica: m.Replica, Root: m.Root, Stable: wire.CheckpointRef{Seq: 1 << 40, Root: t.n.w.plot.lie(9)}}
		}
	case *wire.RequestBody:
		if t.does(corruptState, 2) {
			return wire.NewRequestBody(m.Replica, nil, [][]byte{[]byte("not a batch")})
		}
	}
	return nil
}
