package auth

import (
	"crypto/ed25519"
	"fmt"

	"bfsd/replica/wire"
)

// Member is a principal of the cluster and its public key.
type Member struct {
	Principal wire.Principal
	Key       PublicKey
}

// Keyring is one principal's secrets and everybody's public keys. It never changes after NewKeyring and is safe for
// concurrent use: messages are verified in parallel.
//
// A replica is also a client (its own NFS front end), under its own number and with the same keys.
type Keyring struct {
	self      wire.Principal
	cluster   ClusterID
	key       *PrivateKey
	public    map[wire.Principal]PublicKey
	asClient  []*macKey                 // by replica: requests this principal makes
	asReplica map[wire.ClientID]*macKey // by client: requests this principal receives; nil unless it is a replica
}

// NewKeyring computes the pairwise MAC keys of one principal. Members must list every replica, numbered from 0 without
// gaps, and every client; id must be one of them.
func NewKeyring(id Identity, members []Member) (*Keyring, error) {
	k := &Keyring{self: id.Principal, cluster: id.Cluster, key: id.Key, public: make(map[wire.Principal]PublicKey, len(members))}
	replicas := 0
	for _, m := range members {
		if _, twice := k.public[m.Principal]; twice {
			return nil, fmt.Errorf("making the keyring of %v: %v is listed twice", id.Principal, m.Principal)
		}
		k.public[m.Principal] = m.Key
		if m.Principal.Role == wire.RoleReplica {
			replicas++
		}
	}
	own, ok := k.public[id.Principal]
	if !ok {
		return nil, fmt.Errorf("making the keyring of %v: the cluster has no such member", id.Principal)
	}
	if own != id.Key.Public() {
		return nil, fmt.Errorf("making the keyring of %v: its private key does not belong to the public key the cluster has for it; "+
			"the key file is of another cluster or was replaced", id.Principal)
	}
	if err := k.deriveMACKeys(members, replicas); err != nil {
		return nil, fmt.Errorf("making the keyring of %v: %w", id.Principal, err)
	}
	return k, nil
}

func (k *Keyring) deriveMACKeys(members []Member, replicas int) error {
	k.asClient = make([]*macKey, replicas)
	if k.self.Role == wire.RoleReplica {
		k.asReplica = make(map[wire.ClientID]*macKey, len(members)-replicas)
	}
	for _, m := range members {
		var err error
		switch {
		case m.Principal.Role == wire.RoleReplica:
			if int(m.Principal.ID) >= replicas {
				return fmt.Errorf("%v is listed, but there are %d replicas, numbered from 0", m.Principal, replicas)
			}
			k.asClient[m.Principal.ID], err = newMACKey(k.key.exchange, m.Key.Exchange, k.cluster, wire.ClientID(k.self.ID), wire.ReplicaID(m.Principal.ID))
		case k.asReplica != nil:
			c := wire.ClientID(m.Principal.ID)
			k.asReplica[c], err = newMACKey(k.key.exchange, m.Key.Exchange, k.cluster, c, wire.ReplicaID(k.self.ID))
		}
		if err != nil {
			return fmt.Errorf("with %v: %w", m.Principal, err)
		}
	}
	return nil
}

// Self is the principal whose secrets these are.
func (k *Keyring) Self() wire.Principal { return k.self }

// PublicKey gives a member's public key.
func (k *Keyring) PublicKey(p wire.Principal) (PublicKey, bool) {
	pub, ok := k.public[p]
	return pub, ok
}

// TLSKey is the private key that identifies this principal on its links.
func (k *Keyring) TLSKey() ed25519.PrivateKey { return k.key.sign }

// RequestMAC is the MAC of a request's digest between a client and a replica. ok is false if this keyring's owner is
// neither of them, or one of them is not in the cluster.
func (k *Keyring) RequestMAC(client wire.ClientID, replica wire.ReplicaID, digest wire.Digest) (mac [MACSize]byte, ok bool) {
	var key *macKey
	switch {
	case k.self.Role == wire.RoleReplica && uint32(replica) == k.self.ID:
		key = k.asReplica[client]
	case uint32(client) == k.self.ID && int64(replica) < int64(len(k.asClient)):
		key = k.asClient[replica]
	}
	if key == nil {
		return mac, false
	}
	return key.mac(digest), true
}

// Sign signs a message as this principal, with Ed25519ctx (RFC 8032 section 5.1): the context names the cluster and the
// signer, so a signature says nothing in another cluster, in another principal's name, or in a TLS handshake.
func (k *Keyring) Sign(msg []byte) []byte {
	sig, err := k.key.sign.Sign(nil, msg, signatureOptions(k.cluster, k.self))
	if err != nil {
		panic(fmt.Sprintf("signing %d bytes as %v: %v", len(msg), k.self, err)) // no input makes it fail
	}
	return sig
}

// VerifySignature says whether p, a member, signed msg.
func (k *Keyring) VerifySignature(p wire.Principal, msg, sig []byte) bool {
	pub, ok := k.public[p]
	return ok && VerifySignature(k.cluster, p, pub, msg, sig)
}

// VerifySignature says whether the bearer of a public key signed msg as a principal of a cluster, for who has no keys of
// that cluster himself.
func VerifySignature(cluster ClusterID, signer wire.Principal, key PublicKey, msg, sig []byte) bool {
	return ed25519.VerifyWithOptions(key.Sign[:], msg, sig, signatureOptions(cluster, signer)) == nil
}

func signatureOptions(cluster ClusterID, signer wire.Principal) *ed25519.Options {
	return &ed25519.Options{Context: "bfsd message v1, cluster " + cluster.String() + ", " + signer.String()}
}
