package pbft

import (
	"testing"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

// A replica that was down while the others went on answers nothing out of its old state, though a client asks it before it has
// heard of what it missed; one that starts with an empty store answers at once.
func TestAReplicaReadsNothingOutOfAnOldState(t *testing.T) {
	c := newCluster(t, 1, nil, alice, bob)
	n := c.nodes[3]
	read := func() { c.request(c.keys.Request(bob, 0, c.nonces+1, wire.FlagReadOnly, 3, []byte("read")), 3) }
	said := func() (results []string) {
		for _, r := range c.replies {
			if r.Client == bob && r.Replica == 3 {
				results = append(results, string(r.Result))
			}
		}
		return results
	}
	read()
	c.settle()
	if got := said(); len(got) != 1 || got[0] != "0:read" {
		t.Fatalf("a new replica answered %q, want one answer", got)
	}
	for number := uint64(1); number <= 3; number++ {
		c.request(c.keys.Request(alice, 0, number, 0, 0, []byte("a")), 0)
		c.settle()
	}
	c.pass(200 * millisecond)
	n.crash()
	for number := uint64(4); number <= 6; number++ {
		c.request(c.keys.Request(alice, 0, number, 0, 0, []byte("a")), 0)
		c.settle()
	}
	deaf := true
	c.route = func(e envelope) []int64 {
		if deaf && e.to == authtest.Replica(3) && e.from.Role == wire.RoleReplica {
			return nil
		}
		return []int64{0}
	}
	n.start()
	c.replies = nil
	c.nonces++ // a new number for the read
	read()
	c.pass(3000 * millisecond)
	if got := said(); len(got) != 0 {
		t.Errorf("it answered %q out of a state of which it could not know that it is the newest", got)
	}
	deaf = false
	c.pass(3000 * millisecond)
	if got := said(); len(got) != 1 || got[0] != "6:read" {
		t.Errorf("having heard the others it answered %q, want what they have, once", got)
	}
}
