package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bfsd/replica/wire"
)

func replicaP(id uint32) wire.Principal { return wire.Principal{Role: wire.RoleReplica, ID: id} }
func clientP(id uint32) wire.Principal  { return wire.Principal{Role: wire.RoleClient, ID: id} }

// fourAndAGateway makes the keyrings of replicas 0 to 3 (clients 0 to 3 too) and client 100.
func fourAndAGateway(t testing.TB, cluster ClusterID) (rings map[wire.Principal]*Keyring, members []Member) {
	t.Helper()
	keys := map[wire.Principal]*PrivateKey{}
	for i := range uint32(4) {
		keys[replicaP(i)] = GenerateKey()
		members = append(members, Member{Principal: replicaP(i), Key: keys[replicaP(i)].Public()}, Member{Principal: clientP(i), Key: keys[replicaP(i)].Public()})
	}
	keys[clientP(100)] = GenerateKey()
	members = append(members, Member{Principal: clientP(100), Key: keys[clientP(100)].Public()})
	rings = map[wire.Principal]*Keyring{}
	for p, key := range keys {
		ring, err := NewKeyring(Identity{Cluster: cluster, Principal: p, Key: key}, members)
		if err != nil {
			t.Fatal(err)
		}
		rings[p] = ring
	}
	return rings, members
}

func TestRequestMACAgreesBetweenClientAndReplicaAndDiffersElsewhere(t *testing.T) {
	rings, _ := fourAndAGateway(t, NewClusterID())
	d := wire.Digest{1, 2, 3}
	seen := map[[MACSize]byte]string{}
	for _, client := range []uint32{0, 1, 2, 3, 100} {
		owner := rings[clientP(client)]
		if owner == nil {
			owner = rings[replicaP(client)] // a replica's own client
		}
		for r := range uint32(4) {
			mac, ok := owner.RequestMAC(wire.ClientID(client), wire.ReplicaID(r), d)
			if !ok {
				t.Errorf("client %d has no MAC for replica %d", client, r)
			}
			theirs, ok := rings[replicaP(r)].RequestMAC(wire.ClientID(client), wire.ReplicaID(r), d)
			if !ok || theirs != mac {
				t.Errorf("client %d and replica %d disagree on the MAC (ok %v)", client, r, ok)
			}
			pair := clientP(client).String() + ", " + replicaP(r).String()
			if other := seen[mac]; other != "" {
				t.Errorf("(%s) and (%s) have the same MAC", other, pair)
			}
			seen[mac] = pair
		}
	}
}

func TestRequestMACDependsOnClusterAndDigest(t *testing.T) {
	keys := []*PrivateKey{GenerateKey(), GenerateKey()}
	members := []Member{{Principal: replicaP(0), Key: keys[0].Public()}, {Principal: clientP(100), Key: keys[1].Public()}}
	mac := func(cluster ClusterID, d wire.Digest) [MACSize]byte {
		ring, err := NewKeyring(Identity{Cluster: cluster, Principal: replicaP(0), Key: keys[0]}, members)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := ring.RequestMAC(100, 0, d)
		if !ok {
			t.Fatal("no MAC for a member")
		}
		return m
	}
	base := mac(ClusterID{1}, wire.Digest{1})
	if mac(ClusterID{2}, wire.Digest{1}) == base {
		t.Error("two clusters share a MAC key")
	}
	if mac(ClusterID{1}, wire.Digest{2}) == base {
		t.Error("two digests have one MAC")
	}
	if mac(ClusterID{1}, wire.Digest{1}) != base {
		t.Error("a MAC changed from one start to the next")
	}
}

func TestRequestMACRefusesWhatTheKeyringCannotKnow(t *testing.T) {
	rings, _ := fourAndAGateway(t, NewClusterID())
	for _, tc := range []struct {
		owner   wire.Principal
		client  wire.ClientID
		replica wire.ReplicaID
	}{
		{replicaP(1), 100, 2},          // between others
		{replicaP(1), 101, 1},          // no such client
		{clientP(100), 100, 4},         // no such replica
		{clientP(100), 100, 1<<32 - 1}, // nor such
		{clientP(100), 1, 100},         // a client is no replica
		{clientP(100), 1, 1},           // between others
	} {
		if _, ok := rings[tc.owner].RequestMAC(tc.client, tc.replica, wire.Digest{}); ok {
			t.Errorf("%v made a MAC between client %d and replica %d", tc.owner, tc.client, tc.replica)
		}
	}
}

// TestMACIsHMACSHA256 holds the two-block form against the standard library's.
func TestMACIsHMACSHA256(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, sha256.BlockSize).Draw(t, "key")
		d := wire.Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		h := hmac.New(sha256.New, key)
		h.Write(d[:])
		want := h.Sum(nil)[:MACSize]
		if got := expandMACKey(key).mac(d); !bytes.Equal(got[:], want) {
			t.Fatalf("got %x, crypto/hmac gives %x", got, want)
		}
	})
}

func TestSignaturesBindSignerClusterAndMessage(t *testing.T) {
	cluster := NewClusterID()
	rings, members := fourAndAGateway(t, cluster)
	msg := []byte("view-change")
	sig := rings[replicaP(1)].Sign(msg)
	for p, ring := range rings {
		if !ring.VerifySignature(replicaP(1), msg, sig) {
			t.Errorf("%v refuses replica 1's signature", p)
		}
	}
	ring := rings[replicaP(0)]
	flipped := bytes.Clone(sig)
	flipped[10] ^= 1
	for name, ok := range map[string]bool{
		"another replica":      ring.VerifySignature(replicaP(2), msg, sig),
		"the signer as client": ring.VerifySignature(clientP(1), msg, sig),
		"a stranger":           ring.VerifySignature(replicaP(9), msg, sig),
		"another message":      ring.VerifySignature(replicaP(1), []byte("view-changf"), sig),
		"a changed signature":  ring.VerifySignature(replicaP(1), msg, flipped),
		"a short signature":    ring.VerifySignature(replicaP(1), msg, sig[:63]),
		"no signature":         ring.VerifySignature(replicaP(1), msg, nil),
	} {
		if ok {
			t.Errorf("accepted as the signature of %s", name)
		}
	}
	elsewhere, err := NewKeyring(Identity{Cluster: NewClusterID(), Principal: replicaP(1), Key: rings[replicaP(1)].key}, members)
	if err != nil {
		t.Fatal(err)
	}
	if elsewhere.VerifySignature(replicaP(1), msg, sig) {
		t.Error("a signature counts in another cluster")
	}
}

func TestNewKeyringRefusesAMembershipThatCannotBe(t *testing.T) {
	key, other := GenerateKey(), GenerateKey()
	for _, tc := range []struct {
		name    string
		members []Member
		want    string
	}{
		{"twice", []Member{{Principal: replicaP(0), Key: key.Public()}, {Principal: replicaP(0), Key: key.Public()}}, "twice"},
		{"not a member", []Member{{Principal: replicaP(1), Key: key.Public()}}, "no such member"},
		{"another key", []Member{{Principal: replicaP(0), Key: other.Public()}}, "does not belong"},
		{"a gap", []Member{{Principal: replicaP(0), Key: key.Public()}, {Principal: replicaP(2), Key: other.Public()}}, "numbered from 0"},
		{"a weak key", []Member{{Principal: replicaP(0), Key: key.Public()}, {Principal: clientP(100), Key: PublicKey{}}}, "client 100"},
	} {
		_, err := NewKeyring(Identity{Principal: replicaP(0), Key: key}, tc.members)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one about %q", tc.name, err, tc.want)
		}
	}
}
