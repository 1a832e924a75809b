// Package authtest makes Verified messages for tests: a whole cluster's keyrings, really generated, and messages that go
// through the real Seal and Verify. It takes a testing.TB everywhere, so no production code can use it by accident, and
// it cannot make a Verified that auth would refuse.
package authtest

import (
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// Cluster holds the keys of every principal.
type Cluster struct {
	tb       testing.TB
	n        int
	keyrings map[wire.Principal]*auth.Keyring
}

// Replica names a replica.
func Replica(id wire.ReplicaID) wire.Principal {
	return wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}
}

// Client names a client.
func Client(id wire.ClientID) wire.Principal {
	return wire.Principal{Role: wire.RoleClient, ID: uint32(id)}
}

// New generates keys for n replicas and the clients.
func New(tb testing.TB, n int, clients ...wire.ClientID) *Cluster {
	tb.Helper()
	var members []auth.Member
	var ids []auth.Identity
	cluster := auth.NewClusterID()
	add := func(p wire.Principal) {
		key := auth.GenerateKey()
		members = append(members, auth.Member{Principal: p, Key: key.Public()})
		ids = append(ids, auth.Identity{Principal: p, Cluster: cluster, Key: key})
	}
	for i := range n {
		add(Replica(wire.ReplicaID(i)))
	}
	for _, c := range clients {
		add(Client(c))
	}
	c := &Cluster{tb: tb, n: n, keyrings: make(map[wire.Principal]*auth.Keyring)}
	for _, id := range ids {
		k, err := auth.NewKeyring(id, members)
		if err != nil {
			tb.Fatalf("keyring of %v: %v", id.Principal, err)
		}
		c.keyrings[id.Principal] = k
	}
	return c
}

// Keyring gives the keys of one principal.
func (c *Cluster) Keyring(p wire.Principal) *auth.Keyring {
	c.tb.Helper()
	k, ok := c.keyrings[p]
	if !ok {
		c.tb.Fatalf("%v has no keys", p)
	}
	return k
}

// Verifier makes the verifier of one principal.
func (c *Cluster) Verifier(p wire.Principal) *auth.Verifier {
	c.tb.Helper()
	return auth.NewVerifier(p, c.n, c.Keyring(p))
}

// Request makes a client's authenticated request.
func (c *Cluster) Request(client wire.ClientID, slot wire.Slot, number uint64, flags wire.Flags, replier wire.ReplicaID, op []byte) *wire.Request {
	c.tb.Helper()
	r := wire.NewRequest(client, slot, number, flags, replier, op)
	if err := auth.Authenticate(c.Keyring(Client(client)), r, c.n); err != nil {
		c.tb.Fatal(err)
	}
	return r
}

// Sealed is the message ready to send, signed if its kind is.
func (c *Cluster) Sealed(from wire.Principal, m wire.Message) auth.Verified {
	c.tb.Helper()
	v, err := c.Verifier(from).Seal(m)
	if err != nil {
		c.tb.Fatal(err)
	}
	return v
}

// Verified is the message as it arrives: sealed by one principal, received on the link from another (the relay; for
// most messages the same), verified by a third.
func (c *Cluster) Verified(maker, link, to wire.Principal, m wire.Message) auth.Verified {
	c.tb.Helper()
	var frame []byte
	if _, isRequest := m.(*wire.Request); isRequest {
		frame = wire.Encode(m)
	} else {
		frame = c.Sealed(maker, m).Raw()
	}
	v, err := c.Verifier(to).Verify(link, frame)
	if err != nil {
		c.tb.Fatal(err)
	}
	return v
}
