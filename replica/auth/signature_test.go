package auth_test

import (
	"errors"
	"strings"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

// signed is a request of a client's, signed by whose keys are given.
func signed(t testing.TB, c *authtest.Cluster, id wire.ClientID, by wire.Principal, op string) *wire.Request {
	t.Helper()
	r := wire.NewRequest(id, 1, 1, 0, 0, []byte(op))
	if err := auth.SignRequest(c.Keyring(by), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASignedRequestConvincesEveryReplica(t *testing.T) {
	c := cluster(t)
	for id, by := range map[wire.ClientID]wire.Principal{client: authtest.Client(client), 2: replica(2)} { // 2: the client inside replica 2
		frame := wire.Encode(signed(t, c, id, by, "op"))
		for to := range 4 {
			for _, link := range []wire.Principal{authtest.Client(id), replica(3)} {
				if _, err := c.Verifier(replica(to)).ExpectSignatures().Verify(link, frame); err != nil {
					t.Errorf("replica %d refuses a signed request of client %d from %v: %v", to, id, link, err)
				}
			}
		}
	}
}

func TestSignedRequestsThatProveNothingAreRefused(t *testing.T) {
	c := cluster(t)
	good := signed(t, c, client, authtest.Client(client), "op")
	flipped := breakMAC(signed(t, c, client, authtest.Client(client), "op"), 3)
	other := wire.NewRequest(client, 1, 1, 0, 0, []byte("another operation"))
	other.Auth = good.Auth
	short := signed(t, c, client, authtest.Client(client), "op")
	short.Auth = short.Auth[:3]
	for _, tc := range []struct {
		name string
		r    *wire.Request
		want string
	}{
		{"a changed signature", flipped, "is wrong"},
		{"the signature of another operation", other, "is wrong"},
		{"half a signature", short, "is missing"},
		{"another client's signature", signed(t, c, client, authtest.Client(101), "op"), "is wrong"},
		{"a replica's signature", signed(t, c, client, replica(2), "op"), "is wrong"},
		{"a client's signature for a replica's own client", signed(t, c, 2, authtest.Client(client), "op"), "is wrong"},
		{"MACs where a signature is wanted", c.Request(client, 1, 1, 0, 0, []byte("op")), "is wrong"},
		{"a client that does not exist", signed(t, c, 999, authtest.Client(client), "op"), "is wrong"},
	} {
		_, err := c.Verifier(replica(1)).ExpectSignatures().Verify(replica(0), wire.Encode(tc.r))
		if !errors.Is(err, auth.ErrUnverified) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v; want a refusal with %q", tc.name, err, tc.want)
		}
	}
	if _, err := c.Verifier(replica(1)).Verify(replica(0), wire.Encode(good)); !errors.Is(err, auth.ErrUnverified) {
		t.Errorf("a signature where a MAC is wanted: got %v, want a refusal", err)
	}
}

// A signature over a CHECKPOINT says nothing about a request whose digest has the same bytes, and the other way round.
func TestASignedMessageIsNoSignedRequest(t *testing.T) {
	c := cluster(t)
	r := signed(t, c, 2, replica(2), "op")
	digest := r.Digest()
	if sig := c.Keyring(replica(2)).Sign(digest[:]); !c.Keyring(replica(1)).VerifySignature(replica(2), digest[:], sig) {
		t.Fatal("the plain signature should verify as such")
	} else {
		for i := range r.Auth {
			copy(r.Auth[i][:], sig[i*wire.MACSize:])
		}
	}
	if _, err := c.Verifier(replica(1)).ExpectSignatures().Verify(replica(0), wire.Encode(r)); !errors.Is(err, auth.ErrUnverified) {
		t.Errorf("got %v, want a refusal: the signature lacks the request's domain", err)
	}
}

func TestUnsignedRequestsInABatchAreMarkedNotRefused(t *testing.T) {
	c := cluster(t)
	good, bad := signed(t, c, client, authtest.Client(client), "good"), signed(t, c, client, authtest.Client(101), "bad")
	pp := wire.NewPrePrepare(0, 1, 0, nil, []*wire.Request{good, bad}, []bool{true, true})
	v, err := c.Verifier(replica(1)).ExpectSignatures().Verify(replica(0), wire.Encode(pp))
	if err != nil {
		t.Fatal(err)
	}
	if !v.Authentic(0) || v.Authentic(1) {
		t.Errorf("authentic: %v, %v; want true, false", v.Authentic(0), v.Authentic(1))
	}
}

func FuzzVerifySigned(f *testing.F) {
	c := authtest.New(f, 4, client)
	good := signed(f, c, client, authtest.Client(client), "op")
	f.Add(wire.Encode(good))
	f.Add(wire.Encode(wire.NewPrePrepare(0, 1, 0, nil, []*wire.Request{good}, []bool{true})))
	f.Add(wire.Encode(c.Request(client, 1, 1, 0, 0, []byte("op"))))
	v := c.Verifier(replica(1)).ExpectSignatures()
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, err := v.Verify(replica(0), frame)
		if err != nil {
			return
		}
		if r, ok := got.Message().(*wire.Request); ok && r.Digest() != good.Digest() {
			t.Fatalf("accepted a request that nobody signed: %+v", r)
		}
	})
}
