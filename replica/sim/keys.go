package sim

import (
	"encoding/binary"
	"math/bits"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// keys stand in for one principal's auth.Keyring, at a hundredth of the price: a MAC or signature is a mix of the bytes
// with a secret. A traitor holds only its own keys, so it cannot make anybody else's; that nobody computes a secret from a
// MAC is all that cryptography would add here.
type keys struct {
	self     wire.Principal
	world    uint64 // the secret that all others come from
	replicas int
	clients  []wire.ClientID
}

var _ auth.Keys = (*keys)(nil)

// RequestMAC implements auth.Keys.
func (k *keys) RequestMAC(c wire.ClientID, r wire.ReplicaID, d wire.Digest) (mac [auth.MACSize]byte, ok bool) {
	own := k.self == clientPrincipal(c) || k.self == replicaPrincipal(r)
	if !own || int(r) >= k.replicas || !k.knows(c) {
		return mac, false
	}
	secret := mix(k.world^uint64(c)<<32, uint64(r)+1)
	a := mix(secret^binary.LittleEndian.Uint64(d[0:]), binary.LittleEndian.Uint64(d[8:])|1)
	b := mix(a^binary.LittleEndian.Uint64(d[16:]), binary.LittleEndian.Uint64(d[24:])|1)
	binary.LittleEndian.PutUint64(mac[0:], a)
	binary.LittleEndian.PutUint64(mac[8:], b)
	return mac, true
}

// KeyNumber implements auth.Keys: everybody keeps the first key.
func (*keys) KeyNumber(wire.ClientID) uint32 { return 0 }

func (k *keys) knows(c wire.ClientID) bool {
	for _, id := range k.clients {
		if id == c {
			return true
		}
	}
	return false
}

// Sign implements auth.Keys.
func (k *keys) Sign(msg []byte) []byte { return k.signature(k.self, msg) }

// VerifySignature implements auth.Keys.
func (k *keys) VerifySignature(p wire.Principal, msg, sig []byte) bool {
	return string(k.signature(p, msg)) == string(sig)
}

func (k *keys) signature(p wire.Principal, msg []byte) []byte {
	h := mix(k.world^uint64(p.Role)<<56, uint64(p.ID)+uint64(len(msg))<<32)
	for len(msg) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(msg), 0x9e3779b97f4a7c15)
		msg = msg[8:]
	}
	for _, b := range msg {
		h = mix(h^uint64(b), 0x9e3779b97f4a7c15)
	}
	sig := make([]byte, wire.SignatureSize)
	for i := 0; i < len(sig); i += 8 {
		binary.LittleEndian.PutUint64(sig[i:], h)
		h = mix(h, uint64(i)+1)
	}
	return sig
}

// mix folds two words into one so that each bit of the result depends on all of both.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

func replicaPrincipal(id wire.ReplicaID) wire.Principal {
	return wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}
}

func clientPrincipal(id wire.ClientID) wire.Principal {
	return wire.Principal{Role: wire.RoleClient, ID: uint32(id)}
}
