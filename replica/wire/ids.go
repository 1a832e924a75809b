package wire

import (
	"encoding/hex"
	"fmt"
)

// ReplicaID numbers the replicas 0 … n−1; the primary of view v is replica v mod n (TOCS §4.2).
type ReplicaID uint32

// ClientID numbers the clients of the protocol: NFS front ends, each with keys in cluster.toml.
type ClientID uint32

// Slot is one of a client's independent request streams: exactly once within a slot, no order between slots.
type Slot uint32

// View numbers configurations of the group in which one replica is the primary.
type View uint64

// Seq is a sequence number: the place of a batch in the agreed order. The first batch has number 1.
type Seq uint64

// Digest is a SHA-256.
type Digest [32]byte

// String shows the first four bytes, enough to tell digests apart in a trace.
func (d Digest) String() string { return hex.EncodeToString(d[:4]) }

// Role says what a principal is.
type Role uint8

// The roles.
const (
	RoleReplica Role = 1
	RoleClient  Role = 2
)

// Principal is somebody with a key: a replica or a client.
type Principal struct {
	Role Role
	ID   uint32
}

// String gives "replica 2" or "client 100".
func (p Principal) String() string {
	switch p.Role {
	case RoleReplica:
		return fmt.Sprintf("replica %d", p.ID)
	case RoleClient:
		return fmt.Sprintf("client %d", p.ID)
	}
	return fmt.Sprintf("principal %d/%d", p.Role, p.ID)
}
