package replica

import (
	"bytes"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// signer is a node and whose it is.
type signer struct {
	*Node

	identity auth.Identity
}

// certificate makes a node without links, and a certificate that it accepts.
func certificate(t testing.TB) (*signer, []byte) {
	t.Helper()
	addrs := make([]config.Addresses, 4)
	for i := range addrs {
		addrs[i].Peer = "127.0.0.1:" + string(rune('1'+i))
	}
	cluster, ids, err := config.Generate(config.Options{Replicas: addrs})
	if err != nil {
		t.Fatal(err)
	}
	var proof []*wire.Checkpoint
	var n *signer
	for i := range 3 {
		keys, err := cluster.Keyring(ids[i])
		if err != nil {
			t.Fatal(err)
		}
		verifier := auth.NewVerifier(keys.Self(), 4, keys)
		c := &wire.Checkpoint{Seq: 128, Root: wire.Digest{7}, Replica: wire.ReplicaID(i)}
		if _, err := verifier.Seal(c); err != nil {
			t.Fatal(err)
		}
		proof = append(proof, c)
		n = &signer{&Node{self: wire.ReplicaID(i), cluster: cluster, verifier: verifier}, ids[i]}
	}
	return n, encodeProof(proof)
}

func TestACertificateComesBackAndAChangedOneDoesNot(t *testing.T) {
	n, b := certificate(t)
	proof, err := n.decodeProof(b)
	if err != nil || len(proof) != 3 || proof[2].Seq != 128 {
		t.Fatalf("decoded %+v, %v", proof, err)
	}
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		proof, err := n.decodeProof(changed)
		if err == nil && !genuine(proof, b) {
			t.Errorf("with byte %d of %d changed, it is said to hold %+v", i, len(b), proof)
		}
	}
	for i := range b {
		for j := i + 1; j < len(b); j += 41 { // of two damaged signatures of three, or worse, nothing is left
			changed := bytes.Clone(b)
			changed[i] ^= 1
			changed[j] ^= 1
			if proof, err := n.decodeProof(changed); err == nil && !genuine(proof, b) {
				t.Errorf("with bytes %d and %d changed, it is said to hold %+v", i, j, proof)
			}
		}
	}
}

// genuine says whether what was decoded is enough, and part of what was encoded.
func genuine(proof []*wire.Checkpoint, b []byte) bool {
	for _, c := range proof {
		if !bytes.Contains(b, wire.Encode(c)) {
			return false
		}
	}
	return len(proof) >= 2
}

// The key of one who signed was replaced: his signature counts no more, but those of the others do.
func TestACertificateOutlivesTheKeyOfOneWhoSigned(t *testing.T) {
	n, b := certificate(t)
	n.cluster.Replicas[1].Key = auth.GenerateKey().Public()
	keys, err := n.cluster.Keyring(n.identity)
	if err != nil {
		t.Fatal(err)
	}
	n.verifier = auth.NewVerifier(keys.Self(), 4, keys)
	proof, err := n.decodeProof(b)
	if err != nil || len(proof) != 2 || proof[0].Replica != 0 || proof[1].Replica != 2 {
		t.Errorf("decoded %+v, %v", proof, err)
	}
	n.cluster.Replicas[0].Key = auth.GenerateKey().Public()
	if keys, err = n.cluster.Keyring(n.identity); err != nil {
		t.Fatal(err)
	}
	n.verifier = auth.NewVerifier(keys.Self(), 4, keys)
	if proof, err := n.decodeProof(b); err == nil {
		t.Errorf("one signature is enough: %+v", proof)
	}
}

func FuzzDecodeProof(f *testing.F) {
	n, b := certificate(f)
	f.Add(b)
	f.Add([]byte{0, 0, 0, 200, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		if proof, err := n.decodeProof(b); err == nil && !genuine(proof, b) {
			t.Errorf("%x decodes to %d messages, which are not in it, or too few", b, len(proof))
		}
	})
}
