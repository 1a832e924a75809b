package replica

import (
	"bytes"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// certificate makes a node without links, and a certificate that it accepts.
func certificate(t testing.TB) (*Node, []byte) {
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
	var n *Node
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
		n = &Node{self: wire.ReplicaID(i), cluster: cluster, verifier: verifier}
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
		if _, err := n.decodeProof(changed); err == nil {
			t.Errorf("a certificate with byte %d of %d changed was accepted", i, len(b))
		}
	}
}

func FuzzDecodeProof(f *testing.F) {
	n, b := certificate(f)
	f.Add(b)
	f.Add([]byte{0, 0, 0, 200, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		proof, err := n.decodeProof(b)
		if err == nil && !bytes.Equal(encodeProof(proof), b) {
			t.Errorf("%x decodes to %d messages, which encode otherwise", b, len(proof))
		}
	})
}
