package sim

import (
	"math/rand/v2"
	"slices"

	"bfsd/replica/auth"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// habit is one way to be Byzantine.
type habit int

// The habits. A traitor has those of its plan, and indulges in each now and then.
const (
	mute habit = iota
	selective
	starving
	equivocating
	stale
	wrongDigests
	forgedCheckpoints
	lyingReplies
	corruptState
	slowPrimary
	unfairPrimary
	badViewChanges
	badNewViews
	earlyViewChanges
	falseStatus
	falseDecisions
	falseVouchers
	forgedRequests
	badChoices
	replaying
	garbling
	impersonating
	plotting
	voiding
)

// habits names them all.
var habits = [...]string{
	mute: "mute", selective: "selective", starving: "starving", equivocating: "equivocating", stale: "stale", wrongDigests: "wrong-digests",
	forgedCheckpoints: "forged-checkpoints", lyingReplies: "lying-replies", corruptState: "corrupt-state", slowPrimary: "slow-primary",
	unfairPrimary: "unfair-primary", badViewChanges: "bad-view-changes", badNewViews: "bad-new-views", earlyViewChanges: "early-view-changes",
	falseStatus: "false-status", falseDecisions: "false-decisions", falseVouchers: "false-vouchers", forgedRequests: "forged-requests",
	badChoices: "bad-choices", replaying: "replaying", garbling: "garbling",
	impersonating: "impersonating", plotting: "plotting", voiding: "voiding",
}

// String implements fmt.Stringer.
func (h habit) String() string { return habits[h] }

// traitor makes a replica Byzantine: an honest core runs on its node, and the traitor bends what the core hears and what
// it says, message by message and receiver by receiver. It signs with the node's own keys and no other, except that
// traitors share theirs.
type traitor struct {
	n   *node
	rng *rand.Rand
	has [len(habits)]bool

	old     [][]byte // frames that it sent
	fakes   map[ballot][]byte
	twisted map[ballot]bool // its proposals that were looked at
}

func newTraitor(n *node) *traitor {
	t := &traitor{n: n, rng: stream(n.w.plan.secret, streamNodes/2+uint64(n.id)), fakes: make(map[ballot][]byte), twisted: make(map[ballot]bool)}
	for _, h := range n.w.plan.habits {
		t.has[h] = true
	}
	return t
}

// does draws whether the traitor indulges in a habit just now.
func (t *traitor) does(h habit, oneIn int) bool { return t.has[h] && t.rng.IntN(oneIn) == 0 }

// hears says whether the core gets to know of a message.
func (t *traitor) hears(v auth.Verified) bool {
	if !t.has[unfairPrimary] {
		return true
	}
	switch m := v.Message().(type) {
	case *wire.Request:
		return m.Client != t.n.w.plot.victim
	case *wire.Vouch:
		return m.Client != t.n.w.plot.victim
	}
	return true
}

// sends lets a frame of the core's go, or something else in its place.
func (t *traitor) sends(d departure) {
	if t.has[mute] || t.does(selective, 3) || t.n.w.plot.hushed(t.n, d.msg) {
		return
	}
	toVictim := d.to.Role == wire.RoleReplica && t.n.w.plot.victims[d.to.ID]
	if toVictim && (t.has[starving] || t.does(selective, 2)) {
		return
	}
	if d.to.Role == wire.RoleClient && t.has[starving] {
		return // so that 2f+1 replies need the starved ones
	}
	var delay int64
	if _, proposal := d.msg.(*wire.PrePrepare); proposal && t.has[slowPrimary] {
		delay = t.rng.Int64N(t.n.w.plan.core.ViewChangeTimeout)
	}
	frame := d.frame
	if d.msg != nil {
		if m := t.twist(d.to, d.msg); m != nil {
			frame = t.seal(m)
		} else if f := t.fakes[ballotOf(d.msg)]; f != nil && d.msg.Kind() == wire.KindPrePrepare {
			frame = f
		}
		if pp, ok := d.msg.(*wire.PrePrepare); ok {
			if tw := t.n.w.plot.twins[ballot{pp.View, pp.Seq}]; tw != nil && d.to.Role == wire.RoleReplica {
				frame = tw.frames[tw.side[d.to.ID]]
			}
		}
	}
	if t.does(garbling, 15) {
		frame = slices.Clone(frame)
		frame[t.rng.IntN(len(frame))] ^= 1 << t.rng.IntN(8)
	}
	t.emit(d.to, frame, delay)
}

func (t *traitor) emit(to wire.Principal, frame []byte, delay int64) {
	if t.has[replaying] && len(t.old) < 200 {
		t.old = append(t.old, frame)
	}
	t.n.w.net.send(replicaPrincipal(t.n.id), to, frame, delay)
}

// say sends a message of the traitor's own making.
func (t *traitor) say(to wire.ReplicaID, m wire.Message) {
	if !t.has[mute] {
		t.emit(replicaPrincipal(to), t.seal(m), 0)
	}
}

func (t *traitor) sayAll(m wire.Message) {
	frame := t.seal(m)
	for i := range t.n.w.plan.n {
		if to := wire.ReplicaID(i); to != t.n.id && !t.has[mute] {
			t.emit(replicaPrincipal(to), frame, 0)
		}
	}
}

func (t *traitor) seal(m wire.Message) []byte {
	v, err := t.n.verifier.Seal(m)
	if err != nil {
		t.n.w.fail("traitor %d cannot seal %v: %v", t.n.id, m.Kind(), err)
	}
	return v.Raw()
}

func ballotOf(m wire.Message) ballot {
	if pp, ok := m.(*wire.PrePrepare); ok {
		return ballot{pp.View, pp.Seq}
	}
	return ballot{}
}

// tick does mischief that needs no occasion.
func (t *traitor) tick() {
	w := t.n.w
	k := wire.Seq(w.plan.core.CheckpointInterval)
	info := t.n.core.Info()
	if t.does(replaying, 8) && len(t.old) > 0 {
		t.emit(replicaPrincipal(t.someone()), t.old[t.rng.IntN(len(t.old))], 0)
	}
	if t.does(earlyViewChanges, 60) {
		t.sayAll(&wire.ViewChange{View: info.View + 1 + wire.View(t.rng.IntN(3)), Stable: info.Low, Checkpoints: []wire.CheckpointRef{info.Stable}, Replica: t.n.id})
	}
	if t.does(forgedCheckpoints, 40) {
		seq := (info.Low/k + 1 + wire.Seq(t.rng.IntN(4))) * k
		t.sayAll(&wire.Checkpoint{Seq: seq, Root: w.plot.lie(seq), Replica: t.n.id})
	}
	if t.does(falseDecisions, 20) {
		m := &wire.Decided{Replica: t.n.id}
		for seq := info.Low + 1; seq <= info.High; seq++ {
			m.Batches = append(m.Batches, wire.SlotVote{Seq: seq, Digest: w.plot.lie(seq)})
		}
		t.sayAll(m)
	}
	if t.does(falseVouchers, 20) {
		t.sayAll(&wire.Vouch{
			Replica: t.n.id, Client: w.plot.victim, Slot: wire.Slot(t.rng.IntN(w.plan.slots + 1)), Number: 1 + t.rng.Uint64N(200), Digest: w.plot.lie(1),
		})
	}
	if t.does(badNewViews, 60) {
		t.usurp(info.View)
	}
	if t.does(impersonating, 4) {
		t.impersonate(info)
	}
	if t.does(voiding, 2) {
		t.void(info)
	}
}

// void takes part in the ballot that voids a proposal, in every slot that has not committed, whatever it voted before.
func (t *traitor) void(info pbft.Info) {
	for seq := info.Committed + 1; seq <= min(info.High, info.Committed+3); seq++ {
		t.sayAll(&wire.Abandon{View: info.View, Seq: seq, Digest: t.n.w.plot.lie(seq), Replica: t.n.id})
		t.sayAll(&wire.Prepare{View: info.View, Seq: seq, Replica: t.n.id})
		t.sayAll(&wire.Commit{View: info.View, Seq: seq, Replica: t.n.id})
	}
}

// impersonate votes in another's name, for what the plot wants or for anything.
func (t *traitor) impersonate(info pbft.Info) {
	victim, to := t.someone(), replicaPrincipal(t.someone())
	seq := info.Low + 1 + wire.Seq(t.rng.IntN(int(info.High-info.Low)))
	d := t.n.w.plot.lie(seq)
	for _, m := range []wire.Message{
		&wire.Prepare{View: info.View, Seq: seq, Digest: d, Replica: victim},
		&wire.Commit{View: info.View, Seq: seq, Digest: d, Replica: victim},
		&wire.Decided{Replica: victim, Batches: []wire.SlotVote{{Seq: seq, Digest: d}}},
	} {
		t.emit(to, wire.Encode(m), 0)
	}
}

// usurp starts a view of the traitor's own with the VIEW-CHANGEs of the traitors alone.
func (t *traitor) usurp(v wire.View) {
	n := wire.View(t.n.w.plan.n)
	for v++; v%n != wire.View(t.n.id); v++ {
		continue
	}
	m := &wire.NewView{View: v, Replica: t.n.id, Plan: []wire.Digest{t.n.w.plot.lie(1), wire.NullDigest}}
	for _, other := range t.n.w.nodes {
		if other.traitor == nil {
			continue
		}
		vc := &wire.ViewChange{View: v, Checkpoints: []wire.CheckpointRef{{}}, Replica: other.id}
		other.traitor.seal(vc)
		m.ViewChanges = append(m.ViewChanges, vc)
	}
	t.sayAll(m)
}

func (t *traitor) someone() wire.ReplicaID {
	for {
		if id := wire.ReplicaID(t.rng.IntN(t.n.w.plan.n)); id != t.n.id {
			return id
		}
	}
}
