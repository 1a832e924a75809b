package auth

import (
	"crypto/ecdh"
	"errors"
	"fmt"

	"bfsd/replica/wire"
)

// The keys of clients that a replica has configured can be replaced while it runs: the replicated state says by which
// (package replica, keys.go). The old key is worth nothing from then on: its links are refused and the MACs made with it
// are wrong.

// ClientKey is the key that a client has in place of the configured one.
type ClientKey struct {
	Client wire.ClientID
	Number uint32 // which of the client's keys it is; the configured one has a lower number
	Key    PublicKey
}

// others is what a keyring knows of everybody at one time. It never changes.
type others struct {
	public  map[wire.Principal]PublicKey
	clients map[wire.ClientID]clientMAC // those whose requests this principal receives; none unless it is a replica
}

// clientMAC is a client's key as one who receives its requests uses it.
type clientMAC struct {
	public PublicKey
	number uint32
	mac    *macKey
}

// Replace puts the given keys in the place of those that the clients were configured with; clients that are not among them
// have the configured ones, whatever they had before. It is for a replica's keyring. A client whose key is unusable has
// none: it is refused until it has another one, and the error tells.
func (k *Keyring) Replace(keys []ClientKey) error {
	if k.self.Role != wire.RoleReplica {
		return fmt.Errorf("replacing clients' keys: this is the keyring of %v, not of a replica", k.self)
	}
	o, err := k.othersOf(keys)
	k.others.Store(o)
	if err != nil {
		return fmt.Errorf("replacing clients' keys: %w", err)
	}
	return nil
}

// KeyNumber says which of its keys a client has, as far as this principal has to know.
func (k *Keyring) KeyNumber(client wire.ClientID) uint32 {
	if k.self.Role == wire.RoleReplica {
		return k.others.Load().clients[client].number
	}
	if uint32(client) == k.self.ID {
		return k.number
	}
	return 0
}

// othersOf makes the table of everybody's keys, with those given in the place of the configured ones.
func (k *Keyring) othersOf(keys []ClientKey) (*others, error) {
	before := k.others.Load()
	o := &others{public: make(map[wire.Principal]PublicKey, len(k.members))}
	if k.self.Role == wire.RoleReplica {
		o.clients = make(map[wire.ClientID]clientMAC, len(k.members))
	}
	replaced := make(map[wire.ClientID]ClientKey, len(keys))
	for _, r := range keys {
		replaced[r.Client] = r
	}
	var unusable error
	for _, m := range k.members {
		if m.Principal.Role == wire.RoleReplica {
			o.public[m.Principal] = m.Key
			continue
		}
		c := wire.ClientID(m.Principal.ID)
		if r, ok := replaced[c]; ok {
			m.Key, m.Number = r.Key, r.Number
		}
		if o.clients != nil {
			entry := clientMAC{public: m.Key, number: m.Number}
			if before != nil && before.clients[c].public == m.Key {
				entry.mac = before.clients[c].mac
			}
			if entry.mac == nil {
				var err error
				if entry.mac, err = newMACKey(k.key.exchange, m.Key.Exchange, k.cluster, c, wire.ReplicaID(k.self.ID)); err != nil {
					unusable = errors.Join(unusable, fmt.Errorf("with %v: %w", m.Principal, err))
					continue
				}
			}
			o.clients[c] = entry
		}
		o.public[m.Principal] = m.Key
	}
	return o, unusable
}

// Bytes is a public key in 64 bytes: the Ed25519 key, then the X25519 key.
func (k PublicKey) Bytes() []byte { return append(k.Sign[:], k.Exchange[:]...) }

// ParsePublicKey is the inverse of PublicKey.Bytes. It refuses what could not be used: with an exchange key of small order
// (RFC 7748 section 6.1) everybody would share the same secret. It is a function of the bytes alone.
func ParsePublicKey(b []byte) (PublicKey, error) {
	var k PublicKey
	if len(b) != len(k.Sign)+len(k.Exchange) {
		return k, fmt.Errorf("a public key is %d bytes, this one %d", len(k.Sign)+len(k.Exchange), len(b))
	}
	copy(k.Sign[:], b)
	copy(k.Exchange[:], b[len(k.Sign):])
	theirs, err := ecdh.X25519().NewPublicKey(k.Exchange[:])
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading an X25519 public key: %w", err)
	}
	// Whether the order is small shows with every private key alike, since all are multiples of the cofactor.
	probe, err := ecdh.X25519().NewPrivateKey(append(make([]byte, 31), 1))
	if err != nil {
		return PublicKey{}, fmt.Errorf("checking an X25519 public key: %w", err)
	}
	if _, err := probe.ECDH(theirs); err != nil {
		return PublicKey{}, fmt.Errorf("checking an X25519 public key: %w", err)
	}
	if k.Sign == [32]byte{} {
		return PublicKey{}, errors.New("the Ed25519 public key is missing")
	}
	return k, nil
}
