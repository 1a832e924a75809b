package pbft

import (
	"slices"

	"bfsd/replica/wire"
)

// read is a read-only operation that was executed, or is being executed, and whose reply waits until everything it may
// have read has committed (TOCS §5, read-only operations), unless it can be given tentatively. Clients wait for 2f+1 matching
// replies.
type read struct {
	id     uint64
	req    *wire.Request
	at     wire.Seq // the state it read: after this batch
	done   bool
	result []byte
	early  bool // not run yet: the state is below the read floor
}

// raiseReadFloor says that clients may have replies of mine that depend on everything up to seq. A read must see it: a write
// that completed with 2f+1 replies and a read with 2f+1 replies share a correct replica, and it is that replica's part to
// show the write to the read. So after a rollback, a restart, or with a state that was replaced by an older one, reads
// wait until execution is back where it was. A NEW-VIEW lowers the floor to the end of its plan: what it leaves out had
// not been accepted by any client.
func (c *Core) raiseReadFloor(seq wire.Seq) { c.exec.readFloor = max(c.exec.readFloor, seq) }

// runEarlyReads runs the reads that waited for the floor.
func (c *Core) runEarlyReads(out *Effects) {
	if c.exec.last < c.exec.readFloor || c.rejoin.doubt || !c.caughtUp() {
		return
	}
	for i := range c.reads {
		if q := &c.reads[i]; q.early {
			q.early, q.id, q.at = false, c.id(), c.exec.last
			out.add(Query{ID: q.id, Request: q.req})
		}
	}
}

// query executes a read-only request at once. Past the bound it is dropped: the client will try again.
func (c *Core) query(r *wire.Request, out *Effects) {
	if len(c.reads) >= c.cfg.QueriesHeld {
		return
	}
	c.reads = append(c.reads, read{req: r, early: true})
	c.runEarlyReads(out)
}

func (c *Core) onQueried(ev Queried, out *Effects) {
	for i := range c.reads {
		q := &c.reads[i]
		if q.early || q.id != ev.ID {
			continue
		}
		q.done, q.result = true, ev.Result
		if !ev.OK {
			r := q.req
			c.reads = slices.Delete(c.reads, i, i+1)
			if cs := c.clients.get(r.Client, r.Slot); cs != nil {
				c.orderRequest(cs, r, false, out)
			}
			return
		}
		if c.mayTell(q) {
			c.answerRead(q, out)
			c.reads = slices.Delete(c.reads, i, i+1)
			return
		}
		c.flushCommits(out) // replies to reads wait for commits, everywhere: do not hold mine back
		c.releaseReads(out)
		return
	}
}

// mayTell says whether a read can be answered before what it saw has committed: tentatively, with the number of its state.
// Replies of different states do not match, so that is of use when the group is likely to be in one state; and a client for
// which it was not asks for the full result.
func (c *Core) mayTell(q *read) bool {
	return q.at == c.exec.last && c.order.newest <= q.at && !q.req.Full() && c.active && !c.cfg.NoTentative && c.unfenced()
}

// releaseReads answers the reads whose state has committed.
func (c *Core) releaseReads(out *Effects) {
	kept := c.reads[:0]
	for _, q := range c.reads {
		if !q.done || q.at > c.exec.committed {
			kept = append(kept, q)
			continue
		}
		c.answerRead(&q, out)
	}
	clear(c.reads[len(kept):])
	c.reads = kept
}

func (c *Core) answerRead(q *read, out *Effects) {
	r := &wire.Reply{
		View: c.view, Seq: q.at, Client: q.req.Client, Slot: q.req.Slot, Number: q.req.Number, Replica: c.me,
		Tentative: q.at > c.exec.committed, ReadOnly: true, Digest: wire.ResultDigest(q.result),
	}
	c.finishReply(r, q.result, q.req.Full() || q.req.Replier == c.me)
	out.add(Reply{Client: q.req.Client, Reply: r})
}

// repeatReads runs the held reads again after a rollback: what they saw is gone.
func (c *Core) repeatReads(out *Effects) {
	for i := range c.reads {
		q := &c.reads[i]
		if q.done && q.at <= c.exec.committed {
			continue
		}
		q.id, q.done, q.result, q.early = 0, false, nil, true
	}
	c.runEarlyReads(out)
}
