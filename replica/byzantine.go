//go:build byzantine

package replica

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// misbehaviour makes this replica faulty on purpose, with its own real keys: what the group must survive from f of its
// replicas. The environment variable BFSD_BYZANTINE, "ID=BEHAVIOUR,…", says who does what:
//
//	mute         sends nothing at all
//	equivocate   as primary, proposes different batches for one sequence number to different backups
//	lie          answers clients with wrong results, and vouches for wrong state
//	wrong-digest votes for batches that nobody proposed
//	slow         as primary, proposes each batch late, just not late enough to be replaced; slow:DURATION: late by that
//	corrupt      sends changed pages to replicas that fetch the state, and otherwise behaves
type misbehaviour struct {
	kind string
	late time.Duration // of slow; 0: as late as can be
}

var misbehaviours = []string{"mute", "equivocate", "lie", "wrong-digest", "slow", "corrupt"}

func newMisbehaviour(self wire.ReplicaID) (misbehaviour, error) {
	for entry := range strings.SplitSeq(os.Getenv("BFSD_BYZANTINE"), ",") {
		id, kind, ok := strings.Cut(entry, "=")
		if !ok || id != strconv.FormatUint(uint64(self), 10) {
			continue
		}
		m := misbehaviour{kind: kind}
		if late, ok := strings.CutPrefix(kind, "slow:"); ok {
			var err error
			if m.late, err = time.ParseDuration(late); err != nil || m.late <= 0 {
				return misbehaviour{}, fmt.Errorf("BFSD_BYZANTINE: %q is no time to be slow by, such as 20ms", late)
			}
			m.kind = "slow"
		}
		if !slices.Contains(misbehaviours, m.kind) {
			return misbehaviour{}, fmt.Errorf("BFSD_BYZANTINE: behaviour %q is none of %v", kind, misbehaviours)
		}
		return m, nil
	}
	return misbehaviour{}, nil
}

func (n *Node) emit(to wire.Principal, m wire.Message) {
	switch n.faulty.kind {
	case "mute":
		return
	case "lie":
		if r, ok := m.(*wire.Reply); ok {
			m = lyingReply(r)
		}
	}
	n.out.frame(to, wire.Encode(m))
}

// lyingReply is a reply whose result somebody would love to believe, well-formed in every respect.
func lyingReply(r *wire.Reply) *wire.Reply {
	lie := *r
	lie.Result = append(slices.Clone(r.Result), 0)
	if len(r.Result) > 0 {
		lie.Result = slices.Clone(r.Result)
		lie.Result[len(lie.Result)/2] ^= 0x55
	}
	lie.Digest, lie.Full = wire.ResultDigest(lie.Result), true
	return &lie
}

func (n *Node) emitAll(m auth.Verified) {
	for i, peer := range n.peers {
		switch msg := m.Message().(type) {
		case *wire.PrePrepare:
			n.propose(i, peer, m, msg)
			continue
		case *wire.Prepare:
			if n.faulty.kind == "wrong-digest" {
				other := *msg
				other.Digest[0] ^= 1
				n.out.frame(peer, wire.Encode(&other))
				continue
			}
		case *wire.Commit:
			if n.faulty.kind == "wrong-digest" {
				other := *msg
				other.Digest[0] ^= 1
				n.out.frame(peer, wire.Encode(&other))
				continue
			}
		case *wire.Checkpoint:
			if n.faulty.kind == "lie" {
				other := &wire.Checkpoint{Seq: msg.Seq, Root: msg.Root, Replica: msg.Replica}
				other.Root[0] ^= 1
				sealed, err := n.verifier.Seal(other)
				if err != nil {
					panic(fmt.Sprintf("replica: sealing a lie: %v", err))
				}
				n.out.frame(peer, sealed.Raw())
				continue
			}
		}
		if n.faulty.kind != "mute" {
			n.out.frame(peer, m.Raw())
		}
	}
}

// propose sends a pre-prepare the faulty way.
func (n *Node) propose(i int, peer wire.Principal, sealed auth.Verified, m *wire.PrePrepare) {
	switch n.faulty.kind {
	case "mute":
	case "equivocate":
		// The odd ones get the same requests under another time: both are batches that a correct primary might propose.
		if i%2 == 1 && len(m.Choice) > 0 {
			choice := slices.Clone(m.Choice)
			choice[len(choice)-1] ^= 1
			other := *m
			other.Choice = choice
			sealed, err := n.verifier.Seal(&other)
			if err != nil {
				panic(fmt.Sprintf("replica: sealing an equivocation: %v", err))
			}
			n.out.frame(peer, sealed.Raw())
			return
		}
		n.out.frame(peer, sealed.Raw())
	case "slow":
		late := n.faulty.late
		if late == 0 {
			late = n.cluster.Tunables.ViewChangeTimeout() * 4 / 5
		}
		time.AfterFunc(late, func() { n.send(peer, sealed.Raw()) })
	default:
		n.out.frame(peer, sealed.Raw())
	}
}

func (n *Node) nodeData(node []byte) []byte {
	if n.faulty.kind != "corrupt" || len(node) == 0 {
		return node
	}
	changed := slices.Clone(node)
	changed[len(changed)/2] ^= 1
	return changed
}
