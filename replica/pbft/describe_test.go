package pbft

import (
	"bytes"
	"fmt"
	"strings"

	"bfsd/replica/wire"
)

// describe writes a message as one line for traces.
func describe(m wire.Message) string {
	switch m := m.(type) {
	case *wire.Request:
		return fmt.Sprintf("REQUEST c%d/%d #%d%s %q", m.Client, m.Slot, m.Number, flagNames(m.Flags), clip(m.Op))
	case *wire.Vouch:
		return fmt.Sprintf("VOUCH c%d/%d #%d", m.Client, m.Slot, m.Number)
	case *wire.PrePrepare:
		return fmt.Sprintf("PRE-PREPARE v%d n%d [%s]%s", m.View, m.Seq, describeEntries(m), describeVotes(m.Commits))
	case *wire.Prepare:
		return fmt.Sprintf("PREPARE v%d n%d%s%s", m.View, m.Seq, null(m.Digest), describeVotes(m.Commits))
	case *wire.Commit:
		return fmt.Sprintf("COMMIT v%d n%d%s", m.View, m.Seq, null(m.Digest))
	case *wire.Abandon:
		return fmt.Sprintf("ABANDON v%d n%d, doubts %d requests", m.View, m.Seq, len(m.Doubted))
	case *wire.Reply:
		return describeReply(m)
	case *wire.Checkpoint:
		return fmt.Sprintf("CHECKPOINT n%d %v", m.Seq, m.Root)
	case *wire.ViewChange:
		return fmt.Sprintf("VIEW-CHANGE v%d h%d C%s P%s Q%s", m.View, m.Stable, describeRefs(m.Checkpoints), describeEntriesOf(m.Prepared), describeEntriesOf(m.PrePrepared))
	case *wire.NewView:
		return describeNewView(m)
	case *wire.Status:
		return fmt.Sprintf("STATUS v%d active=%t h%d executed=%d pre-prepared=%s prepared=%s committed=%s view-changes=%b",
			m.View, m.Active, m.Stable, m.Executed, bitList(m.Stable, m.PrePrepared), bitList(m.Stable, m.Prepared), bitList(m.Stable, m.Committed), m.ViewChanges)
	case *wire.QueryStable:
		return fmt.Sprintf("QUERY-STABLE new=%t until=%d", m.New, m.Until)
	case *wire.ReplyStable:
		return fmt.Sprintf("REPLY-STABLE sound=%t vouched=%t v%d n%d", m.Sound, m.Vouched, m.View, m.Prepared)
	case *wire.FetchRequest:
		return fmt.Sprintf("FETCH-REQUEST of %d", len(m.Digests))
	case *wire.RequestBody:
		return fmt.Sprintf("REQUEST-BODY with %d requests, %d batches", len(m.Bodies), len(m.Batches))
	case *wire.Decided:
		var b strings.Builder
		for _, sv := range m.Batches {
			fmt.Fprintf(&b, " n%d%s", sv.Seq, null(sv.Digest))
		}
		return "DECIDED" + b.String()
	}
	return m.Kind().String()
}

func clip(op []byte) string {
	if len(op) > 16 {
		return fmt.Sprintf("%s… %d bytes", op[:8], len(op))
	}
	return string(op)
}

func flagNames(f wire.Flags) string {
	s := ""
	if f&wire.FlagReadOnly != 0 {
		s += " read-only"
	}
	if f&wire.FlagFullReply != 0 {
		s += " full"
	}
	return s
}

func null(d wire.Digest) string {
	if d == wire.NullDigest {
		return " null"
	}
	return ""
}

func describeEntries(m *wire.PrePrepare) string {
	var parts []string
	for i, r := range m.Requests() {
		if r == nil {
			parts = append(parts, "digest "+m.Entries[i].Digest.String())
		} else {
			parts = append(parts, fmt.Sprintf("%q", clip(r.Op)))
		}
	}
	return strings.Join(parts, " ")
}

func describeVotes(v []wire.SlotVote) string {
	var b strings.Builder
	for _, sv := range v {
		fmt.Fprintf(&b, " +COMMIT n%d", sv.Seq)
	}
	return b.String()
}

func describeReply(m *wire.Reply) string {
	s := fmt.Sprintf("REPLY v%d c%d/%d #%d", m.View, m.Client, m.Slot, m.Number)
	if m.Tentative {
		s += " tentative"
	}
	if m.ReadOnly {
		s += " read-only"
	}
	if m.Full {
		return s + fmt.Sprintf(" %q", clip(m.Result))
	}
	return s + " digest"
}

func describeRefs(refs []wire.CheckpointRef) string {
	var parts []string
	for _, r := range refs {
		parts = append(parts, fmt.Sprintf("n%d", r.Seq))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeEntriesOf(list []wire.PreparedEntry) string {
	var parts []string
	for _, e := range list {
		s := fmt.Sprintf("n%d@v%d%s", e.Seq, e.View, null(e.Digest))
		if e.Void {
			s += "(void)"
		}
		parts = append(parts, s)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeNewView(m *wire.NewView) string {
	var from, plan []string
	for _, vc := range m.ViewChanges {
		from = append(from, fmt.Sprint(vc.Replica))
	}
	for i, d := range m.Plan {
		what := "batch"
		if d == wire.NullDigest {
			what = "null"
		}
		plan = append(plan, fmt.Sprintf("n%d=%s", m.Start.Seq+1+wire.Seq(i), what))
	}
	return fmt.Sprintf("NEW-VIEW v%d from {%s} start n%d [%s]", m.View, strings.Join(from, " "), m.Start.Seq, strings.Join(plan, " "))
}

func bitList(low wire.Seq, bits []byte) string {
	var parts []string
	for i := range wire.Seq(8 * len(bits)) {
		if hasBit(bits, i) {
			parts = append(parts, fmt.Sprint(low+1+i))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// large is an operation that travels by digest.
func large(text string, size int) []byte {
	return append([]byte(text), bytes.Repeat([]byte("."), size-len(text))...)
}
