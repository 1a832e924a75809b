package sim

import (
	"bytes"
	"slices"

	"bfsd/replica/wire"
)

// finish looks at the whole history of the correct clients, once it is complete: every result is that of the model, and
// operations that were answered without order fit into the order: each saw a state that is not older than anything that a
// client knew when it was invoked.
func (c *checker) finish() {
	for i := range c.history {
		op := &c.history[i]
		if !op.Done || !op.Ordered {
			continue
		}
		if o := c.outcomes[op.id()]; !bytes.Equal(o.result, op.Result) {
			c.w.fail("client %d was told %q for %q, the model says %q", op.Client, clip(op.Result), clip(op.Op), clip(o.result))
		}
	}
	if c.w.failure == nil {
		c.placeReads()
	}
	if c.w.failure == nil && c.w.scenario.Check != nil {
		if wrong := c.w.scenario.Check(c.history); wrong != "" {
			c.w.fail("%s", wrong)
		}
	}
}

// unsettled finds an operation whose client has its result from ordered replies, though it has not committed yet; nil if
// there is none.
func (c *checker) unsettled() *Operation {
	for i := range c.history {
		if op := &c.history[i]; op.Done && op.Ordered {
			if _, known := c.outcomes[op.id()]; !known {
				return op
			}
		}
	}
	return nil
}

// moment is the invocation or the return of an operation.
type moment struct {
	at     int64
	op     *Operation
	begins bool
}

// placeReads finds for each unordered result the earliest state that it can have seen. Taking the earliest is right: it
// binds later operations least.
func (c *checker) placeReads() {
	var moments []moment
	for i := range c.history {
		op := &c.history[i]
		if op.Done {
			moments = append(moments, moment{op.Invoked, op, true}, moment{op.Returned, op, false})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int { return int(a.at - b.at) })
	known := wire.Seq(0) // some client has seen the state after this batch, or a later one
	from := make(map[*Operation]wire.Seq)
	for _, m := range moments {
		switch {
		case m.begins:
			from[m.op] = known
		case m.op.Ordered:
			known = max(known, c.outcomes[m.op.id()].seq)
		default:
			at, ok := from[m.op], false
			for ; at < wire.Seq(len(c.states)) && !ok; at++ {
				c.model.Rollback(c.states[at])
				result, answered := c.model.Query(m.op.Client, m.op.Op)
				if ok = answered && bytes.Equal(result, m.op.Result); ok {
					break
				}
			}
			if !ok {
				c.w.fail("client %d read %q with %q, but no state from batch %d on says so: not linearizable",
					m.op.Client, clip(m.op.Op), clip(m.op.Result), from[m.op])
				return
			}
			known = max(known, at)
		}
	}
}
