package pbft

import "bfsd/replica/wire"

// read is a read-only operation that was executed, or is being executed, and whose reply waits until everything it may
// have read has committed (TOCS §5, read-only operations). Clients wait for 2f+1 matching replies.
type read struct {
	id     uint64
	req    *wire.Request
	at     wire.Seq // the state it read: after this batch
	done   bool
	result []byte
}

// query executes a read-only request at once. Past the bound it is dropped: the client will try again.
func (c *Core) query(r *wire.Request, out *Effects) {
	if len(c.reads) >= c.cfg.QueriesHeld {
		return
	}
	q := read{id: c.id(), req: r, at: c.exec.last}
	c.reads = append(c.reads, q)
	out.add(Query{ID: q.id, Request: r})
}

func (c *Core) onQueried(ev Queried, out *Effects) {
	for i := range c.reads {
		q := &c.reads[i]
		if q.id != ev.ID {
			continue
		}
		q.done, q.result = true, ev.Result
		if !ev.OK {
			r := q.req
			c.reads = append(c.reads[:i], c.reads[i+1:]...)
			if cs := c.clients.get(r.Client, r.Slot); cs != nil {
				c.orderRequest(cs, r, false, out)
			}
			return
		}
		c.flushCommits(out) // replies to reads wait for commits, everywhere: do not hold mine back
		c.releaseReads(out)
		return
	}
}

// releaseReads answers the reads whose state has committed.
func (c *Core) releaseReads(out *Effects) {
	kept := c.reads[:0]
	for _, q := range c.reads {
		if !q.done || q.at > c.exec.committed {
			kept = append(kept, q)
			continue
		}
		r := &wire.Reply{
			View: c.view, Client: q.req.Client, Slot: q.req.Slot, Number: q.req.Number, Replica: c.me,
			ReadOnly: true, Digest: wire.ResultDigest(q.result),
		}
		c.finishReply(r, q.result, q.req.Full() || q.req.Replier == c.me)
		out.add(Reply{Client: q.req.Client, Reply: r})
	}
	clear(c.reads[len(kept):])
	c.reads = kept
}

// repeatReads runs the held reads again after a rollback: what they saw is gone.
func (c *Core) repeatReads(out *Effects) {
	for i := range c.reads {
		q := &c.reads[i]
		if q.done && q.at <= c.exec.committed {
			continue
		}
		q.id, q.at, q.done, q.result = c.id(), c.exec.last, false, nil
		out.add(Query{ID: q.id, Request: q.req})
	}
}
