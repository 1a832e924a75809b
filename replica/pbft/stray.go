package pbft

import "bfsd/replica/wire"

// A replica that asked for the next view alone cannot come back (TOCS §4.5.2): what it said in its VIEW-CHANGE must stay true.
// Its timer was right for itself and nobody else's ran out, or it was cut off while the others began this view. It counts among
// the faulty ones until the others get there too, which in a group at peace may be never. So they follow it, after some patience:
// when they can see that they would stand without f others besides.
//
// A faulty replica can so force view changes; it is granted each only some time after the last, and less and less often.

// strayPatience, in view-change timeouts, is how long a replica may be alone in the next view. Joining others takes about one.
const strayPatience = 4

// stray is another replica that asked for the view after mine.
type stray struct {
	view    wire.View
	since   int64 // when I saw it there
	follows int
	again   int64 // when I may follow it next
}

// followStrays follows a replica that has long been alone in the next view.
func (c *Core) followStrays(out *Effects) {
	if !c.active || c.rejoin.doubt {
		return
	}
	for i, m := range c.vc.received {
		if m == nil || i == int(c.me) || m.View != c.view+1 {
			continue
		}
		if c.followPrimary(m, out) { // it left before I was here, or had a say
			return
		}
		s := &c.vc.strays[i]
		if s.view != m.View {
			s.view, s.since = m.View, c.now
		}
		if c.now-s.since < strayPatience*c.cfg.ViewChangeTimeout || c.now < s.again {
			continue
		}
		s.again = c.now + visitInterval*c.cfg.ViewChangeTimeout<<min(s.follows, visitDoublings)
		s.follows++
		c.vc.followed = m
		c.startViewChange(m.View, ReasonStray, out)
		return
	}
}

// followPrimary follows a primary that has left its view at once: it will say nothing more in this one, and where nobody waits
// for anything no timer would tell.
func (c *Core) followPrimary(m *wire.ViewChange, out *Effects) bool {
	if !c.active || m.Replica != c.primary(c.view) || m.View != c.view+1 || c.rejoin.doubt {
		return false
	}
	c.vc.followed = m
	c.startViewChange(m.View, ReasonPrimaryLeft, out)
	return true
}
