package config

import (
	"crypto/rand"
	"fmt"
	"slices"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// Addresses of one replica: see Replica.
type Addresses struct {
	Peer, NFS, Status string
}

// Options say what a new cluster should be.
type Options struct {
	Replicas   []Addresses // 1, 4, 7, 10 or 13
	Gateways   []string    // names; they are numbered from FirstGateway in this order
	Backups    []string    // names of clients that may copy the state; numbered after the gateways
	Operators  []string    // names of clients that may change the exports; numbered after those
	Durability Durability  // "" means Disk
	Limits     Limits      // zero means DefaultLimits
	Tunables   Tunables    // zero means DefaultTunables
	Recovery   Recovery    // zero means never
}

// Generate makes a whole new cluster, all optimisations on, with the private key of every member: the replicas in order,
// then the gateways, who makes backups, and the operators.
func Generate(o Options) (*Cluster, []auth.Identity, error) {
	c := &Cluster{
		Version: Version, ID: auth.NewClusterID(), Durability: o.Durability, Limits: o.Limits, Tunables: o.Tunables,
		Optimisations: AllOptimisations(), Recovery: o.Recovery,
	}
	rand.Read(c.Seed[:])
	if c.Durability == "" {
		c.Durability = Disk
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Tunables == (Tunables{}) {
		c.Tunables = DefaultTunables()
	}
	identities := make([]auth.Identity, 0, len(o.Replicas)+len(o.Gateways))
	member := func(role wire.Role, id uint32) auth.PublicKey {
		key := auth.GenerateKey()
		identities = append(identities, auth.Identity{Cluster: c.ID, Principal: wire.Principal{Role: role, ID: id}, Key: key})
		return key.Public()
	}
	for i, a := range o.Replicas {
		c.Replicas = append(c.Replicas, Replica{
			ID: wire.ReplicaID(i), Peer: a.Peer, NFS: a.NFS, Status: a.Status, Key: member(wire.RoleReplica, uint32(i)),
		})
	}
	for i, name := range slices.Concat(o.Gateways, o.Backups, o.Operators) {
		id := FirstGateway + wire.ClientID(i)
		operators := len(o.Gateways) + len(o.Backups)
		c.Clients = append(c.Clients, Client{
			ID: id, Name: name, Backup: i >= len(o.Gateways) && i < operators, Operator: i >= operators,
			Key: member(wire.RoleClient, uint32(id)),
		})
	}
	if err := c.Validate(); err != nil {
		return nil, nil, fmt.Errorf("making a new cluster: %w", err)
	}
	return c, identities, nil
}

// KeyFileName is the customary name of a member's key file: "replica-2.key", "client-100.key".
func KeyFileName(p wire.Principal) string {
	if p.Role == wire.RoleReplica {
		return fmt.Sprintf("replica-%d.key", p.ID)
	}
	return fmt.Sprintf("client-%d.key", p.ID)
}
