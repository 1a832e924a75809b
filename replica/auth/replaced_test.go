package auth

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bfsd/replica/wire"
)

// A replica's keyring follows the state: the client's new key counts and the old one does not; without it, the configured one
// is back.
func TestAClientsKeyIsReplaced(t *testing.T) {
	cluster := NewClusterID()
	rings, members := fourAndAGateway(t, cluster)
	next := GenerateKey()
	after, err := NewKeyring(Identity{Cluster: cluster, Principal: clientP(100), Key: next, Number: 3}, members)
	if err != nil {
		t.Fatalf("a key of a higher number than the configured one: %v", err)
	}
	replica, before := rings[replicaP(2)], rings[clientP(100)]
	d := wire.Digest{5}
	agree := func(client *Keyring) bool {
		a, _ := client.RequestMAC(100, 2, d)
		b, ok := replica.RequestMAC(100, 2, d)
		public, _ := replica.PublicKey(clientP(100))
		signed := replica.VerifySignature(clientP(100), []byte("m"), client.Sign([]byte("m")))
		if is := public == client.key.Public(); is != signed || is != (ok && a == b) || is != (replica.KeyNumber(100) == client.KeyNumber(100)) {
			t.Errorf("the MAC, the signature, the public key and its number do not go together")
		}
		return signed
	}
	if !agree(before) || agree(after) {
		t.Error("at first the configured key must count")
	}
	if err := replica.Replace([]ClientKey{{100, 3, next.Public()}}); err != nil {
		t.Fatal(err)
	}
	if agree(before) || !agree(after) {
		t.Error("then the new key must count, and it alone")
	}
	for p, ring := range rings {
		if p.Role == wire.RoleReplica {
			continue
		}
		if err := ring.Replace(nil); err == nil {
			t.Errorf("the keyring of %v took replaced keys", p)
		}
	}
	if err := replica.Replace(nil); err != nil || !agree(before) || agree(after) {
		t.Errorf("at last the configured key must count again: %v", err)
	}
	if other, ok := replica.RequestMAC(1, 2, d); !ok || other == (wire.MAC{}) {
		t.Error("another client lost its key")
	}
}

// A key that cannot be used leaves its client without any, and nobody else.
func TestAnUnusableKeyShutsOutItsClientAlone(t *testing.T) {
	rings, _ := fourAndAGateway(t, NewClusterID())
	replica := rings[replicaP(0)]
	if err := replica.Replace([]ClientKey{{100, 1, PublicKey{}}}); err == nil || !strings.Contains(err.Error(), "client 100") {
		t.Errorf("an empty key gave %v", err)
	}
	if _, ok := replica.RequestMAC(100, 0, wire.Digest{}); ok {
		t.Error("there is a MAC")
	}
	if _, ok := replica.PublicKey(clientP(100)); ok {
		t.Error("there is a public key")
	}
	if _, ok := replica.RequestMAC(1, 0, wire.Digest{}); !ok {
		t.Error("another client has no MAC")
	}
}

// A request says with which key it was made, and is refused if that is not the one in force, whatever its MAC.
func TestARequestOfAnotherKeyIsRefused(t *testing.T) {
	cluster := NewClusterID()
	rings, members := fourAndAGateway(t, cluster)
	next := GenerateKey()
	after, err := NewKeyring(Identity{Cluster: cluster, Principal: clientP(100), Key: next, Number: 1}, members)
	if err != nil {
		t.Fatal(err)
	}
	replica := rings[replicaP(2)]
	v := NewVerifier(replicaP(2), 4, replica)
	for _, signed := range []bool{false, true} {
		if signed {
			v = v.ExpectSignatures()
		}
		takes := func(client *Keyring, key uint32) bool {
			numbers, err := wire.NumbersOf(key)
			if err != nil {
				t.Fatal(err)
			}
			r := wire.NewRequest(100, 0, numbers.At(1e18), 0, 0, []byte("op"))
			if signed {
				err = SignRequest(client, r)
			} else {
				err = Authenticate(client, r, 4)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Verify(clientP(100), wire.Encode(r))
			return err == nil
		}
		if err := replica.Replace(nil); err != nil {
			t.Fatal(err)
		}
		if !takes(rings[clientP(100)], 0) || takes(rings[clientP(100)], 1) || takes(after, 1) || takes(after, 0) {
			t.Errorf("signed %v: before, only the first key's own numbers are right", signed)
		}
		if err := replica.Replace([]ClientKey{{100, 1, next.Public()}}); err != nil {
			t.Fatal(err)
		}
		if takes(rings[clientP(100)], 0) || takes(rings[clientP(100)], 1) || !takes(after, 1) || takes(after, 0) || takes(after, 2) {
			t.Errorf("signed %v: after, only the new key's own numbers are right", signed)
		}
	}
}

func TestAKeyringNeedsTheNewestKeyThatItKnowsOf(t *testing.T) {
	replica, first, second := GenerateKey(), GenerateKey(), GenerateKey()
	members := []Member{{Principal: replicaP(0), Key: replica.Public()}, {Principal: clientP(100), Key: second.Public(), Number: 1}}
	for _, tc := range []struct {
		id   Identity
		want string
	}{
		{Identity{Principal: clientP(100), Key: second, Number: 1}, ""},
		{Identity{Principal: clientP(100), Key: first}, "was replaced"},
		{Identity{Principal: clientP(100), Key: first, Number: 1}, "does not belong"},
		{Identity{Principal: clientP(100), Key: first, Number: 2}, ""},
		{Identity{Principal: replicaP(0), Key: first, Number: 2}, "does not belong"},
	} {
		_, err := NewKeyring(tc.id, members)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("the key of number %d of %v: %v, want %q", tc.id.Number, tc.id.Principal, err, tc.want)
		}
	}
}

func TestAKeyFileSaysWhichKeyItIs(t *testing.T) {
	for _, passphrase := range [][]byte{nil, []byte("secret")} {
		id := Identity{Cluster: NewClusterID(), Principal: clientP(100), Key: GenerateKey(), Number: 7}
		data, err := EncodeKeyFile(id, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		open := func() ([]byte, error) { return passphrase, nil }
		if got, err := DecodeKeyFile(data, open); err != nil || !sameIdentity(got, id) || got.Number != 7 {
			t.Errorf("%+v, %v", got, err)
		}
		changed := bytes.Replace(data, []byte("number = 7"), []byte("number = 8"), 1)
		if _, err := DecodeKeyFile(changed, open); (err == nil) != (passphrase == nil) {
			t.Errorf("a sealed file with another number: %v", err)
		}
		for old, other := range map[string]string{"number = 7": "number = 3073", "'client 100'": "'replica 1'"} {
			if _, err := DecodeKeyFile(bytes.Replace(data, []byte(old), []byte(other), 1), open); err == nil || !strings.Contains(err.Error(), "number") {
				t.Errorf("%s: %v", other, err)
			}
		}
	}
}

// Whatever bytes are ordered as a key, all replicas judge them alike, and what they take can be used.
func FuzzParsePublicKey(f *testing.F) {
	f.Add(GenerateKey().Public().Bytes())
	f.Add(make([]byte, 64))
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Add(append(bytes.Repeat([]byte{1}, 32), make([]byte, 32)...))
	own := GenerateKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := ParsePublicKey(b)
		if err != nil {
			return
		}
		if !bytes.Equal(key.Bytes(), b) {
			t.Errorf("%x became %x", b, key.Bytes())
		}
		if _, err := newMACKey(own.exchange, key.Exchange, ClusterID{}, 100, 0); err != nil {
			t.Errorf("%x was taken and cannot be used: %v", b, err)
		}
	})
}

func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	good := GenerateKey().Public()
	for name, u := range map[string][]byte{
		"0": {0}, "1": {1},
		"order 8": {
			0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
			0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
		},
		"p": append([]byte{0xed}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...),
	} {
		key := good
		key.Exchange = [32]byte{}
		copy(key.Exchange[:], u)
		if _, err := ParsePublicKey(key.Bytes()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if b := rapid.SliceOfN(rapid.Byte(), 0, 130).Draw(t, "bytes"); len(b) != 64 {
			if _, err := ParsePublicKey(b); err == nil {
				t.Fatalf("%d bytes were taken", len(b))
			}
		}
	})
	if got, err := ParsePublicKey(good.Bytes()); err != nil || got != good {
		t.Errorf("a good key: %v", err)
	}
}
