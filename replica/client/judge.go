package client

import "bfsd/replica/wire"

// decision is how a call ended, kept for a while so that replies that come later can be compared, too: the slowest replica
// is never part of the quorum, and could lie unnoticed.
type decision struct {
	number  uint64
	digest  wire.Digest
	ordered bool      // by ordered replies; else by unordered ones
	view    wire.View // the highest of those who agreed
	seq     wire.Seq  // and the number, of tentative ones of that view
}

// decisionsKept is for how many calls of a slot: the next one may have begun when the last reply comes.
const decisionsKept = 2

// settle describes the decision that a quorum has come to.
func (v *votes) settle(number uint64, digest wire.Digest, quorum int) decision {
	d := decision{number: number, digest: digest}
	agreed := 0
	for i := range v.ordered {
		if o := &v.ordered[i]; o.cast && o.Digest == digest {
			agreed++
			d.view = max(d.view, o.View)
			if o.Tentative && o.View == d.view {
				d.seq = o.Seq
			}
		}
	}
	d.ordered = agreed >= quorum || !v.isRead
	return d
}

// contradicts says whether a replica that gave this answer is faulty. A tentative one of another view or number may have been
// undone, and an unordered one may be of another moment.
func (d *decision) contradicts(r *wire.Reply) bool {
	return r.Digest != d.digest && (!r.Tentative || r.View == d.view && r.Seq == d.seq)
}

// compare counts one replica's answer as matching or not.
func (c *Client) compare(d *decision, r *wire.Reply) {
	k := &c.counters
	switch {
	case r.Digest == d.digest:
		k.matched[r.Replica].Add(1)
	case r.ReadOnly == d.ordered: // of the other sort: they prove nothing about each other
	case r.ReadOnly:
		k.readsDiffered[r.Replica].Add(1)
	case d.contradicts(r):
		k.contradicted[r.Replica].Add(1)
	}
}

// judge compares all replies to a call with its result, and remembers the result for those that come later.
func (c *Client) judge(s *slot, digest wire.Digest) {
	d := s.votes.settle(s.number, digest, c.quorum())
	for i := range s.votes.ordered {
		for _, v := range []*vote{&s.votes.ordered[i], &s.votes.reads[i]} {
			if v.cast {
				c.compare(&d, &v.Reply)
			}
		}
	}
	copy(s.decisions[1:], s.decisions[:])
	s.decisions[0] = d
}

// judgeLate compares a reply to a call that has ended.
func (c *Client) judgeLate(s *slot, r *wire.Reply) {
	c.counters.late.Add(1)
	for i := range s.decisions {
		if d := &s.decisions[i]; d.number == r.Number {
			c.compare(d, r)
			return
		}
	}
}
