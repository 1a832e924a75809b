package config

import (
	"encoding/hex"
	"fmt"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// Version of the file's format that this package reads and writes.
const Version = 1

// FirstGateway is the lowest number of a listed client. Numbers below it belong to the replicas' own front ends: the
// client inside replica i has number i and replica i's keys.
const FirstGateway wire.ClientID = 100

// Cluster is cluster.toml. The comments in the tags go into the file.
type Cluster struct {
	Version    int            `toml:"version" comment:"Format of this file."`
	ID         auth.ClusterID `toml:"cluster" comment:"The cluster's id, in hex. Bound into every key and file handle: never change it."`
	Seed       Seed           `toml:"seed" comment:"From it come the generations in NFS file handles, in hex. The same on all replicas: never change it."`
	Durability Durability     `toml:"durability" comment:"What a replica has done before a message that depends on it leaves:\n  memory  nothing: data survive as long as no more than f replicas fail\n  os      written: survives kill -9 of all replicas\n  disk    synced: survives a power cut of all replicas"`

	Limits        Limits        `toml:"limits" comment:"Size of the file system, the same on all replicas. Past it: 'no space left on device'."`
	Tunables      Tunables      `toml:"tunables" comment:"How the protocol runs. The defaults are good; all members must use the same."`
	Optimisations Optimisations `toml:"optimisations" comment:"Switches, all on unless somebody measures what one brings (bench/null). All members must use the same."`
	Recovery      Recovery      `toml:"recovery" comment:"Proactive recovery: each replica starts itself again once in a period, in turn, whether it seems to need it or not."`
	Genesis       *Genesis      `toml:"genesis,omitempty" comment:"The state that the cluster began with, where that was a backup (bfsd import). A replica with another one is none of this cluster's.\n  sequence  the checkpoint that it counts as\n  root      its digest, in hex"`
	Replicas      []Replica     `toml:"replica" comment:"The replicas: 3f+1 of them tolerate f faulty ones. Numbered from 0, in order.\n  peer    host:port where it listens for other replicas and clients (TLS)\n  nfs     host:port where it serves NFS; leave it out to serve none\n  status  host:port of its status and metrics page (HTTP); leave it out to have none"`
	Clients       []Client      `toml:"client,omitempty" comment:"The gateways that may send operations, numbered from 100. Each replica is also a client, with its own number and key.\n  backup    true for one that may copy the whole state: bfsd export\n  operator  true for one that may change the exports and members' keys: bfsd export-policy, bfsd key\n  key_number  which of the client's keys that is, if bfsd key replaced it: then the replicas know of it, and this need not"`
	Exports       []Export      `toml:"export,omitempty" comment:"The exports of a new cluster, whose directories it makes. Once there are files, bfsd export-policy changes the exports, and this counts no more.\nWithout any, all is exported to everybody. See bfsd export-policy --help for the fields."`
}

// Seed is secret-free randomness that all replicas share.
type Seed [32]byte

// String is the seed in hex.
func (s Seed) String() string { return hex.EncodeToString(s[:]) }

// MarshalText implements encoding.TextMarshaler.
func (s Seed) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Seed) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return fmt.Errorf("a seed is %d hex digits, this is %d bytes long", hex.EncodedLen(len(s)), len(text))
	}
	if _, err := hex.Decode(s[:], text); err != nil {
		return fmt.Errorf("a seed is %d hex digits: %w", hex.EncodedLen(len(s)), err)
	}
	return nil
}

// Genesis is the state that a cluster began with, where that was not the empty one.
type Genesis struct {
	Sequence uint64 `toml:"sequence"`
	Root     Root   `toml:"root"`
}

// Root is the digest of a state.
type Root [32]byte

// String is the digest in hex.
func (r Root) String() string { return hex.EncodeToString(r[:]) }

// MarshalText implements encoding.TextMarshaler.
func (r Root) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Root) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(r)) {
		return fmt.Errorf("a root is %d hex digits, this is %d bytes long", hex.EncodedLen(len(r)), len(text))
	}
	if _, err := hex.Decode(r[:], text); err != nil {
		return fmt.Errorf("a root is %d hex digits: %w", hex.EncodedLen(len(r)), err)
	}
	return nil
}

// Durability is what a replica waits for before it sends a message that depends on its log.
type Durability string

// The levels of durability.
const (
	Memory Durability = "memory" // nothing is waited for
	OS     Durability = "os"     // written to the operating system: survives the process
	Disk   Durability = "disk"   // synced: survives the machine
)

// Limits bound the file system.
type Limits struct {
	MaxBytes  uint64 `toml:"max_bytes" comment:"Bytes of file data."`
	MaxInodes uint64 `toml:"max_inodes" comment:"Files, directories and everything else with an inode."`
	// Duplicates is how many answers to NFS calls are kept for clients that send a call again; 0 keeps none.
	Duplicates int `toml:"duplicates" comment:"Answers kept for NFS calls that are sent again after a lost connection (about 350 bytes each). 0: none, and such a call may be executed twice."`
}

// Tunables are the protocol's settings.
type Tunables struct {
	CheckpointInterval  uint64 `toml:"checkpoint_interval" comment:"A checkpoint every so many batches (K). The log holds twice as many."`
	BatchRequests       int    `toml:"batch_requests" comment:"Most requests ordered together."`
	BatchBytes          int    `toml:"batch_bytes" comment:"Most bytes ordered together."`
	BatchWindow         int    `toml:"batch_window" comment:"Batches in flight before the primary lets requests queue up into the next."`
	LargeRequestBytes   int    `toml:"large_request_bytes" comment:"Requests above this size go from the client to all replicas; the batch carries their digest."`
	ViewChangeTimeoutMS int    `toml:"view_change_timeout_ms" comment:"A waiting request makes the backups replace the primary after this time; it doubles while that fails."`
	RequestTimeoutMS    int    `toml:"request_timeout_ms" comment:"A client without an answer asks all replicas after this time; it doubles."`
	ClockSkewMS         int    `toml:"clock_skew_ms" comment:"Backups refuse a time from the primary that is further than this from their own clock."`
	ClientSlots         int    `toml:"client_slots" comment:"Operations that one client may have in flight."`
}

// Replica is one replica's entry. Addresses are host:port: Peer where it listens for replicas and clients (TLS), NFS where
// it serves files ("" for none), Status where it serves its status and metrics page over HTTP ("" for none).
type Replica struct {
	ID     wire.ReplicaID `toml:"id"`
	Peer   string         `toml:"peer"`
	NFS    string         `toml:"nfs,omitempty"`
	Status string         `toml:"status,omitempty"`
	Key    auth.PublicKey `toml:"key"`
}

// Client is one gateway's entry, or that of who makes backups (Backup allows it to copy the whole state), or that of an
// operator (Operator allows it to change the exports).
type Client struct {
	ID       wire.ClientID  `toml:"id"`
	Name     string         `toml:"name"`
	Backup   bool           `toml:"backup,omitempty"`
	Operator bool           `toml:"operator,omitempty"`
	Key      auth.PublicKey `toml:"key"`
	// KeyNumber is which of the client's keys Key is. Once an order has replaced it (bfsd key replace) the replicated state
	// says which key the client has, whatever the configuration says.
	KeyNumber uint32 `toml:"key_number,omitempty"`
}

// Recovery says how often replicas start themselves again (TOCS section 5, as far as software alone goes).
type Recovery struct {
	PeriodS int `toml:"period_s" comment:"Seconds in which every replica starts itself again once; 0: never. At least 5 for each replica."`
}

// Period is the time in which every replica recovers once; 0: never.
func (r Recovery) Period() time.Duration { return time.Duration(r.PeriodS) * time.Second }

// N is the number of replicas.
func (c *Cluster) N() int { return len(c.Replicas) }

// F is the number of faulty replicas that the cluster tolerates.
func (c *Cluster) F() int { return (c.N() - 1) / 3 }

// Quorum is the size of a quorum certificate: 2f+1.
func (c *Cluster) Quorum() int { return 2*c.F() + 1 }

// Members lists every principal with its public key: the replicas, the client inside each replica, and the gateways.
func (c *Cluster) Members() []auth.Member {
	members := make([]auth.Member, 0, 2*len(c.Replicas)+len(c.Clients))
	for _, r := range c.Replicas {
		members = append(members, auth.Member{Principal: wire.Principal{Role: wire.RoleReplica, ID: uint32(r.ID)}, Key: r.Key})
	}
	for _, r := range c.Replicas {
		members = append(members, auth.Member{Principal: wire.Principal{Role: wire.RoleClient, ID: uint32(r.ID)}, Key: r.Key})
	}
	for _, g := range c.Clients {
		members = append(members, auth.Member{Principal: wire.Principal{Role: wire.RoleClient, ID: uint32(g.ID)}, Key: g.Key, Number: g.KeyNumber})
	}
	return members
}

// Keyring joins one member's private key with this cluster's public keys.
func (c *Cluster) Keyring(id auth.Identity) (*auth.Keyring, error) {
	if id.Cluster != c.ID {
		return nil, fmt.Errorf("the private key of %v is of cluster %v, this is cluster %v: use the key file made for this cluster",
			id.Principal, id.Cluster, c.ID)
	}
	return auth.NewKeyring(id, c.Members())
}

// ViewChangeTimeout is the time a request may wait before its primary is replaced.
func (t *Tunables) ViewChangeTimeout() time.Duration {
	return time.Duration(t.ViewChangeTimeoutMS) * time.Millisecond
}

// RequestTimeout is the time after which a client sends a request again.
func (t *Tunables) RequestTimeout() time.Duration {
	return time.Duration(t.RequestTimeoutMS) * time.Millisecond
}

// ClockSkew is how far the primary's time may be from a backup's.
func (t *Tunables) ClockSkew() time.Duration { return time.Duration(t.ClockSkewMS) * time.Millisecond }
