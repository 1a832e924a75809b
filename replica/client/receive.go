package client

import (
	"bfsd/replica/wire"
)

// Receive takes a frame from a link. It is a transport.Handler: readers of different links call it at the same time.
// Replies that cannot be right are counted and ignored.
func (c *Client) Receive(from wire.Principal, frame []byte) {
	v, err := c.verifier.Verify(from, frame)
	if err != nil {
		c.counters.faulty(from)
		c.cfg.Log.Debug("message refused", "client", c.cfg.ID, "from", from, "err", err)
		return
	}
	r, ok := v.Message().(*wire.Reply)
	if !ok || r.Client != c.cfg.ID || int64(r.Slot) >= int64(len(c.slots)) {
		c.counters.faulty(from)
		return
	}
	c.views.seen(r.Replica, r.View)
	c.reach.heard(r.Replica)
	c.count(c.slots[r.Slot], r)
}

// count adds a reply to its call, and ends the call if that was the one that was missing.
func (c *Client) count(s *slot, r *wire.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Number > s.number {
		c.counters.faultyReplies[r.Replica].Add(1) // to a request that was never made
		return
	}
	if !s.open || r.Number < s.number {
		c.judgeLate(s, r)
		return
	}
	s.votes.add(r)
	switch s.votes.missing(c.quorum(), s.replier) {
	case wantReplies:
	case wantNothing:
		digest, _ := s.votes.decided(c.quorum())
		result, _ := s.votes.result(digest)
		c.judge(s, digest)
		s.open = false
		s.done <- result
	case wantOrder, wantResult, wantOthers, wantCommitted:
		select {
		case s.nudge <- struct{}{}:
		default:
		}
	}
}
