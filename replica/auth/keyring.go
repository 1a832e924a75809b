package auth

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"bfsd/replica/wire"
)

// Member is a principal of the cluster and its public key.
type Member struct {
	Principal wire.Principal
	Key       PublicKey
	Number    uint32 // of a client's key: how often it was replaced
}

// Keyring is one principal's secrets and everybody's public keys. It is safe for concurrent use: messages are verified in
// parallel. Of a replica's, the keys of clients may change (Replace); nothing else does.
//
// A replica is also a client (its own NFS front end), under its own number and with the same keys.
type Keyring struct {
	self     wire.Principal
	cluster  ClusterID
	key      *PrivateKey
	number   uint32    // of that key
	asClient []*macKey // by replica: requests this principal makes

	members []Member // as configured
	others  atomic.Pointer[others]
}

// NewKeyring computes the pairwise MAC keys of one principal. Members must list every replica, numbered from 0 without
// gaps, and every client; id must be one of them.
func NewKeyring(id Identity, members []Member) (*Keyring, error) {
	k := &Keyring{self: id.Principal, cluster: id.Cluster, key: id.Key, number: id.Number, members: slices.Clone(members)}
	replicas, own := 0, -1
	listed := make(map[wire.Principal]bool, len(members))
	for i, m := range members {
		if listed[m.Principal] {
			return nil, fmt.Errorf("making the keyring of %v: %v is listed twice", id.Principal, m.Principal)
		}
		listed[m.Principal] = true
		if m.Principal.Role == wire.RoleReplica {
			replicas++
		}
		if m.Principal == id.Principal {
			own = i
		}
	}
	if own < 0 {
		return nil, fmt.Errorf("making the keyring of %v: the cluster has no such member", id.Principal)
	}
	if err := k.settleOwn(&k.members[own]); err != nil {
		return nil, fmt.Errorf("making the keyring of %v: %w", id.Principal, err)
	}
	if err := k.deriveMACKeys(replicas); err != nil {
		return nil, fmt.Errorf("making the keyring of %v: %w", id.Principal, err)
	}
	return k, nil
}

// settleOwn compares this principal's private key with what the cluster is configured to have for it. A client's key that
// has a higher number replaced that one by an order, which the replicas know and the configuration need not.
func (k *Keyring) settleOwn(m *Member) error {
	switch public := k.key.Public(); {
	case k.number > m.Number && m.Principal.Role == wire.RoleClient:
		m.Key, m.Number = public, k.number
	case k.number < m.Number:
		return fmt.Errorf("its private key was replaced: it has the number %d, and the cluster has the one of number %d for it", k.number, m.Number)
	case m.Key != public:
		return errors.New("its private key does not belong to the public key the cluster has for it; the key file is of another cluster or was replaced")
	}
	return nil
}

func (k *Keyring) deriveMACKeys(replicas int) error {
	k.asClient = make([]*macKey, replicas)
	for _, m := range k.members {
		if m.Principal.Role != wire.RoleReplica {
			continue
		}
		if int(m.Principal.ID) >= replicas {
			return fmt.Errorf("%v is listed, but there are %d replicas, numbered from 0", m.Principal, replicas)
		}
		var err error
		k.asClient[m.Principal.ID], err = newMACKey(k.key.exchange, m.Key.Exchange, k.cluster, wire.ClientID(k.self.ID), wire.ReplicaID(m.Principal.ID))
		if err != nil {
			return fmt.Errorf("with %v: %w", m.Principal, err)
		}
	}
	o, err := k.othersOf(nil)
	k.others.Store(o)
	return err
}

// Self is the principal whose secrets these are.
func (k *Keyring) Self() wire.Principal { return k.self }

// PublicKey gives a member's public key.
func (k *Keyring) PublicKey(p wire.Principal) (PublicKey, bool) {
	pub, ok := k.others.Load().public[p]
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
		key = k.others.Load().clients[client].mac
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
	pub, ok := k.PublicKey(p)
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
