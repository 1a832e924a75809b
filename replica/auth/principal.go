package auth

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"bfsd/replica/wire"
)

// ClusterID names one cluster. It is drawn at random when the cluster is made, and bound into every key derivation and
// signature, so that nothing authenticated in one cluster means anything in another.
type ClusterID [8]byte

// NewClusterID draws a random id.
func NewClusterID() ClusterID {
	var id ClusterID
	rand.Read(id[:])
	return id
}

// String is the id in hex, as in cluster.toml.
func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id ClusterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ClusterID) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(id)) {
		return fmt.Errorf("a cluster id is %d hex digits, this is %d bytes long", hex.EncodedLen(len(id)), len(text))
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		return fmt.Errorf("a cluster id is %d hex digits: %w", hex.EncodedLen(len(id)), err)
	}
	return nil
}

// ParsePrincipal reads what wire.Principal.String writes: "replica 2", "client 100".
func ParsePrincipal(s string) (wire.Principal, error) {
	role, id, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(id, 10, 32)
	p := wire.Principal{ID: uint32(n)}
	switch role {
	case "replica":
		p.Role = wire.RoleReplica
	case "client":
		p.Role = wire.RoleClient
	}
	if err != nil || p.String() != s {
		return wire.Principal{}, fmt.Errorf(`%q is no principal; one is written like "replica 2" or "client 100"`, clip(s))
	}
	return p, nil
}

// clip keeps a piece of foreign text short enough for an error message.
func clip(s string) string {
	const longest = 40
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
