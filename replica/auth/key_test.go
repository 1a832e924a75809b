package auth

import (
	"fmt"
	"strings"
	"testing"

	"bfsd/replica/wire"
)

func TestPublicKeyTextRoundTrip(t *testing.T) {
	want := GenerateKey().Public()
	var got PublicKey
	if err := got.UnmarshalText([]byte(want.String())); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("read %v, wrote %v", got, want)
	}
}

func TestPublicKeyTextRefusesEverySingleCharacterSlip(t *testing.T) {
	text := GenerateKey().Public().String()
	for i := range text {
		slip := []byte(text)
		slip[i] = 'A'
		if text[i] == 'A' {
			slip[i] = 'B'
		}
		var k PublicKey
		if err := k.UnmarshalText(slip); err == nil {
			t.Fatalf("character %d of %s changed, and it was accepted", i, text)
		}
	}
	var k PublicKey
	if err := k.UnmarshalText([]byte(text[:len(text)-4])); err == nil || !strings.Contains(err.Error(), "copied whole") {
		t.Fatalf("a truncated key gave error %v", err)
	}
}

func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	key := GenerateKey()
	secrets := []string{fmt.Sprintf("%x", key.raw()), fmt.Sprintf("%d", key.raw()), fmt.Sprintf("%d", key.sign.Seed()), fmt.Sprintf("%x", key.sign.Seed())}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		printed := fmt.Sprintf(verb, key)
		for _, secret := range secrets {
			if strings.Contains(printed, secret[1:len(secret)-1]) {
				t.Fatalf("%s prints the secret: %s", verb, printed)
			}
		}
	}
	if got := key.LogValue().String(); got != key.String() {
		t.Fatalf("logged as %q", got)
	}
}

func TestParsePrincipalAcceptsOnlyWhatStringWrites(t *testing.T) {
	for _, p := range []wire.Principal{
		{Role: wire.RoleReplica}, {Role: wire.RoleReplica, ID: 12}, {Role: wire.RoleClient, ID: 100}, {Role: wire.RoleClient, ID: 1<<32 - 1},
	} {
		got, err := ParsePrincipal(p.String())
		if err != nil || got != p {
			t.Errorf("ParsePrincipal(%q) = %v, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "replica", "replica ", "replica -1", "replica 01", "client +1", "client 4294967296", "Replica 1", "replica 1 ", " replica 1", "king 1", "principal 0/1"} {
		if got, err := ParsePrincipal(s); err == nil {
			t.Errorf("ParsePrincipal(%q) = %v, want an error", s, got)
		}
	}
}

func TestClusterIDText(t *testing.T) {
	id := NewClusterID()
	var got ClusterID
	if err := got.UnmarshalText([]byte(id.String())); err != nil || got != id {
		t.Fatalf("read back %v, %v, want %v", got, err, id)
	}
	for _, bad := range []string{"", "00", "zz34567890abcdef", id.String() + "00"} {
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("cluster id %q was accepted", bad)
		}
	}
}
