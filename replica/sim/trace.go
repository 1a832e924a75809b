package sim

import (
	"fmt"
	"strings"

	"bfsd/replica/wire"
)

// traced renders a frame as one line, when it is printed.
type traced struct{ frame []byte }

// String implements fmt.Stringer.
func (t traced) String() string {
	m, err := wire.Decode(t.frame)
	if err != nil {
		return fmt.Sprintf("garbage of %d bytes", len(t.frame))
	}
	return describe(m)
}

// short names a principal: r2, c100.
func short(p wire.Principal) shortName { return shortName(p) }

type shortName wire.Principal

// String implements fmt.Stringer.
func (p shortName) String() string {
	if p.Role == wire.RoleReplica {
		return fmt.Sprintf("r%d", p.ID)
	}
	return fmt.Sprintf("c%d", p.ID)
}

func describe(m wire.Message) string {
	switch m := m.(type) {
	case *wire.Request:
		return fmt.Sprintf("REQUEST c%d/%d #%d flags %d %q", m.Client, m.Slot, m.Number, m.Flags, clip(m.Op))
	case *wire.PrePrepare:
		var b strings.Builder
		for i, r := range m.Requests() {
			if r == nil {
				fmt.Fprintf(&b, " digest %v", m.Entries[i].Digest)
			} else {
				fmt.Fprintf(&b, " c%d/%d#%d", r.Client, r.Slot, r.Number)
			}
		}
		return fmt.Sprintf("PRE-PREPARE v%d n%d %v:%s%s", m.View, m.Seq, m.BatchDigest(), b.String(), describeVotes(m.Commits))
	case *wire.Prepare:
		return fmt.Sprintf("PREPARE v%d n%d %v%s", m.View, m.Seq, m.Digest, describeVotes(m.Commits))
	case *wire.Commit:
		return fmt.Sprintf("COMMIT v%d n%d %v", m.View, m.Seq, m.Digest)
	case *wire.Abandon:
		return fmt.Sprintf("ABANDON v%d n%d %v, doubts %d requests", m.View, m.Seq, m.Digest, len(m.Doubted))
	case *wire.Vouch:
		return fmt.Sprintf("VOUCH c%d/%d #%d %v", m.Client, m.Slot, m.Number, m.Digest)
	case *wire.Reply:
		return fmt.Sprintf("REPLY v%d c%d/%d #%d tentative=%t read=%t %v %q", m.View, m.Client, m.Slot, m.Number, m.Tentative, m.ReadOnly, m.Digest, clip(m.Result))
	case *wire.Checkpoint:
		return fmt.Sprintf("CHECKPOINT of r%d n%d %v", m.Replica, m.Seq, m.Root)
	case *wire.ViewChange:
		return fmt.Sprintf("VIEW-CHANGE of r%d v%d h%d C%s P%s Q%s", m.Replica, m.View, m.Stable, describeRefs(m.Checkpoints), describeEntries(m.Prepared), describeEntries(m.PrePrepared))
	case *wire.NewView:
		var from []string
		for _, vc := range m.ViewChanges {
			from = append(from, fmt.Sprint(vc.Replica))
		}
		return fmt.Sprintf("NEW-VIEW v%d from {%s} start n%d plan %v", m.View, strings.Join(from, " "), m.Start.Seq, m.Plan)
	case *wire.Status:
		return fmt.Sprintf("STATUS v%d active=%t h%d executed=%d pre-prepared=%s prepared=%s committed=%s view-changes=%b", m.View, m.Active,
			m.Stable, m.Executed, describeBits(m.Stable, m.PrePrepared), describeBits(m.Stable, m.Prepared), describeBits(m.Stable, m.Committed), m.ViewChanges)
	case *wire.QueryStable:
		return fmt.Sprintf("QUERY-STABLE #%x new=%t until n%d", m.Nonce, m.New, m.Until)
	case *wire.ReplyStable:
		return fmt.Sprintf("REPLY-STABLE #%x sound=%t vouched=%t v%d n%d", m.Nonce, m.Sound, m.Vouched, m.View, m.Prepared)
	case *wire.FetchRequest:
		return fmt.Sprintf("FETCH-REQUEST %v", m.Digests)
	case *wire.RequestBody:
		return fmt.Sprintf("REQUEST-BODY with %d requests, %d batches", len(m.Bodies), len(m.Batches))
	case *wire.Decided:
		return "DECIDED" + describeVotes(m.Batches)
	case *wire.Fetch:
		return fmt.Sprintf("FETCH %v of state %v", m.Digests, m.Root)
	case *wire.MetaData:
		return fmt.Sprintf("META-DATA not %v but n%d %v", m.Root, m.Stable.Seq, m.Stable.Root)
	case *wire.Data:
		return fmt.Sprintf("DATA %d nodes of state %v", len(m.Nodes), m.Root)
	}
	return m.Kind().String()
}

func describeVotes(v []wire.SlotVote) string {
	var b strings.Builder
	for _, sv := range v {
		fmt.Fprintf(&b, " +n%d=%v", sv.Seq, sv.Digest)
	}
	return b.String()
}

func describeRefs(refs []wire.CheckpointRef) string {
	var parts []string
	for _, r := range refs {
		parts = append(parts, fmt.Sprintf("n%d=%v", r.Seq, r.Root))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeEntries(list []wire.PreparedEntry) string {
	var parts []string
	for _, e := range list {
		s := fmt.Sprintf("n%d@v%d=%v", e.Seq, e.View, e.Digest)
		if e.Void {
			s += "(void)"
		}
		parts = append(parts, s)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeBits(low wire.Seq, bits []byte) string {
	var parts []string
	for i := range 8 * len(bits) {
		if bits[i/8]&(1<<(i%8)) != 0 {
			parts = append(parts, fmt.Sprint(low+1+wire.Seq(i)))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func clip(b []byte) string {
	if len(b) > 24 {
		return fmt.Sprintf("%s… (%d bytes)", b[:20], len(b))
	}
	return string(b)
}
