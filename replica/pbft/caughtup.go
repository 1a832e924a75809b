package pbft

// A replica that starts from a store does not know how old its state is: rights may have been taken from somebody while it
// was down, a key among them. What is ordered is judged by the state at its place in the order, so that does no harm; but
// what it reads out of its state at once it would tell to who may not hear it any more. So its reads wait until it
// has heard from 2f others how far they are, and is as far as f+1 of them say: where nobody is behind, a STATUS of theirs
// later. Liars among them can end that too early; they could tell what was in the state themselves.

// caughtUp says whether the state is new enough to be read without order.
func (c *Core) caughtUp() bool {
	if c.exec.caughtUp {
		return true
	}
	heard := 0
	for i := range c.status.heard {
		if c.status.heard[i].said {
			heard++
		}
	}
	c.exec.caughtUp = heard >= 2*c.cfg.F && !c.fetch.wanted && c.exec.committed >= c.Ahead()
	return c.exec.caughtUp
}
