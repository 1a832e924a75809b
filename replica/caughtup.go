package replica

import (
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// A replica that starts from a store does not know how old its state is: keys may have been replaced, and rights taken away,
// while it was down. What it executes is judged by the state at that place of the order, so that does no harm; but what it
// reads out of its state at once, without order, it would hand to who may not have it any more. So it keeps such
// requests until it has heard from 2f others how far they are, and is as far as f+1 of them: at the latest a second
// later, where nobody is behind. Liars among them can make it too early, but it is they who could tell
// what the state holds anyway.
type catchUp struct {
	done  bool
	heard map[wire.ReplicaID]bool // who said how far it is, since the start
	held  []pbft.Query
}

// hears notes a STATUS.
func (c *catchUp) hears(m *wire.Status) {
	if !c.done {
		c.heard[m.Replica] = true
	}
}

// caughtUp says whether the replica may answer out of its state.
func (n *Node) caughtUp() bool {
	c := &n.catchUp
	if c.done {
		return true
	}
	if len(c.heard) < 2*n.cluster.F() || n.fetch.running() || n.core.Info().Committed < n.core.Ahead() {
		return false
	}
	c.done, c.heard = true, nil
	return true
}

// releaseHeld answers what was kept, once that may be.
func (n *Node) releaseHeld() {
	if len(n.catchUp.held) == 0 || !n.caughtUp() {
		return
	}
	held := n.catchUp.held
	n.catchUp.held = nil
	for _, q := range held {
		n.step(n.answer(q))
	}
}
