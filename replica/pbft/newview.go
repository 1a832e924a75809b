package pbft

import (
	"bytes"
	"slices"

	"bfsd/replica/wire"
)

// newViewPlan is what a NEW-VIEW decides: where the new view starts and which batches it inherits (TOCS §4.5.4).
type newViewPlan struct {
	start   wire.CheckpointRef
	digests []wire.Digest // for start.Seq+1+i; NullDigest for the null request
}

// computeNewView is the decision procedure of TOCS §4.5.4 over VIEW-CHANGEs for one view, at most one of each replica.
// The primary builds the NEW-VIEW with it, backups check the NEW-VIEW with it. ok is false while the VIEW-CHANGEs do not
// suffice: the primary waits for more. Condition A3, that the primary has the batches, is the primary's own matter.
func computeNewView(vcs []*wire.ViewChange, f int, window wire.Seq) (plan newViewPlan, ok bool) {
	if len(vcs) < 2*f+1 {
		return plan, false
	}
	if plan.start, ok = selectStart(vcs, f); !ok {
		return plan, false
	}
	last := plan.start.Seq
	for _, m := range vcs {
		for i := range m.Prepared {
			if n := m.Prepared[i].Seq; n <= plan.start.Seq+window {
				last = max(last, n)
			}
		}
	}
	for n := plan.start.Seq + 1; n <= last; n++ {
		d, ok := selectBatch(vcs, f, n)
		if !ok {
			return plan, false
		}
		plan.digests = append(plan.digests, d)
	}
	return plan, true
}

// selectStart picks the checkpoint: the highest (n, d) that f+1 replicas have in C and that 2f+1 are not above.
func selectStart(vcs []*wire.ViewChange, f int) (best wire.CheckpointRef, ok bool) {
	for _, m := range vcs {
		for _, ref := range m.Checkpoints {
			if ok && (ref.Seq < best.Seq || ref.Seq == best.Seq && bytes.Compare(ref.Root[:], best.Root[:]) <= 0) {
				continue
			}
			have, notAbove := 0, 0
			for _, other := range vcs {
				if slices.Contains(other.Checkpoints, ref) {
					have++
				}
				if other.Stable <= ref.Seq {
					notAbove++
				}
			}
			if have >= f+1 && notAbove >= 2*f+1 {
				best, ok = ref, true
			}
		}
	}
	return best, ok
}

// selectBatch picks the batch for one sequence number by conditions A1, A2 and B.
func selectBatch(vcs []*wire.ViewChange, f int, n wire.Seq) (wire.Digest, bool) {
	for _, e := range candidates(vcs, n) {
		if conditionA1(vcs, f, e) && conditionA2(vcs, f, e) {
			return e.Digest, true
		}
	}
	return wire.NullDigest, conditionB(vcs, f, n)
}

// candidates gives the P entries for a sequence number, the highest ballot first; every replica sees the same order.
func candidates(vcs []*wire.ViewChange, n wire.Seq) []wire.PreparedEntry {
	var list []wire.PreparedEntry
	for _, m := range vcs {
		if e, ok := preparedAt(m, n); ok {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b wire.PreparedEntry) int {
		switch {
		case ballotLess(b, a):
			return -1
		case ballotLess(a, b):
			return 1
		}
		return bytes.Compare(a.Digest[:], b.Digest[:])
	})
	return list
}

// conditionA1: 2f+1 replicas, for which n is above the stable checkpoint, prepared nothing else for n in the same or a
// later ballot.
func conditionA1(vcs []*wire.ViewChange, f int, e wire.PreparedEntry) bool {
	agree := 0
	for _, m := range vcs {
		if m.Stable >= e.Seq {
			continue
		}
		p, ok := preparedAt(m, e.Seq)
		if !ok || ballotLess(p, e) || !ballotLess(e, p) && p.Digest == e.Digest {
			agree++
		}
	}
	return agree >= 2*f+1
}

// conditionA2: f+1 replicas pre-prepared the batch in the same or a later ballot, so one correct replica vouches for it.
// What is counted is entries with this very digest: a replica that pre-prepared another batch does not support it.
func conditionA2(vcs []*wire.ViewChange, f int, e wire.PreparedEntry) bool {
	support := 0
	for _, m := range vcs {
		if slices.ContainsFunc(m.PrePrepared, func(q wire.PreparedEntry) bool {
			return q.Seq == e.Seq && q.Digest == e.Digest && !ballotLess(q, e)
		}) {
			support++
		}
	}
	return support >= f+1
}

// conditionB: 2f+1 replicas, for which n is above the stable checkpoint, prepared nothing for n: the null request goes there.
func conditionB(vcs []*wire.ViewChange, f int, n wire.Seq) bool {
	empty := 0
	for _, m := range vcs {
		if _, prepared := preparedAt(m, n); !prepared && m.Stable < n {
			empty++
		}
	}
	return empty >= 2*f+1
}

// preparedAt finds a VIEW-CHANGE's P entry for a sequence number; they ascend.
func preparedAt(m *wire.ViewChange, n wire.Seq) (wire.PreparedEntry, bool) {
	i, found := slices.BinarySearchFunc(m.Prepared, n, func(e wire.PreparedEntry, n wire.Seq) int {
		switch {
		case e.Seq < n:
			return -1
		case e.Seq > n:
			return 1
		}
		return 0
	})
	if !found {
		return wire.PreparedEntry{}, false
	}
	return m.Prepared[i], true
}
