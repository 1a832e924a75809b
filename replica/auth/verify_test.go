package auth_test

import (
	"errors"
	"strings"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

const client = wire.ClientID(100)

// cluster has four replicas and two clients.
func cluster(t *testing.T) *authtest.Cluster { return authtest.New(t, 4, client, 101) }

func replica(i int) wire.Principal { return authtest.Replica(wire.ReplicaID(i)) }

// breakMAC spoils the MAC for one replica.
func breakMAC(r *wire.Request, victim int) *wire.Request {
	auths := append([]wire.MAC(nil), r.Auth...)
	auths[victim][0] ^= 1
	r.Auth = auths
	return r
}

func TestVerifyAccepts(t *testing.T) {
	c := cluster(t)
	r := c.Request(client, 1, 1, 0, 0, []byte("op"))
	vc := &wire.ViewChange{View: 1, Replica: 2}
	c.Sealed(replica(2), vc)
	for _, tc := range []struct {
		name        string
		maker, link wire.Principal
		m           wire.Message
	}{
		{"a request from its client", authtest.Client(client), authtest.Client(client), r},
		{"a request relayed by a replica", authtest.Client(client), replica(3), r},
		{"a prepare over its sender's link", replica(2), replica(2), &wire.Prepare{Replica: 2}},
		{"a checkpoint", replica(2), replica(2), &wire.Checkpoint{Replica: 2}},
		{"a view change relayed by another replica", replica(2), replica(3), &wire.ViewChange{View: 1, Replica: 2}},
		{"a client's fetch over its link", authtest.Client(client), authtest.Client(client), &wire.ClientFetch{Client: client}},
		{"a new view with the view change of another", replica(1), replica(1), &wire.NewView{View: 1, Replica: 1, ViewChanges: []*wire.ViewChange{vc}}},
	} {
		v := c.Verified(tc.maker, tc.link, replica(0), tc.m)
		if v.From() != tc.link || v.Message().Kind() != tc.m.Kind() || len(v.Raw()) == 0 {
			t.Errorf("%s: got %v of %d bytes from %v", tc.name, v.Message().Kind(), len(v.Raw()), v.From())
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	c := cluster(t)
	seal := func(by int, m wire.Message) []byte { return c.Sealed(replica(by), m).Raw() }
	forged := seal(2, &wire.Checkpoint{Seq: 128, Replica: 2})
	forged[6] ^= 1 // the sequence number: the signature does not cover this one
	stolen := &wire.ViewChange{View: 1, Replica: 3}
	wire.Sign(stolen, c.Keyring(replica(2)).Sign)
	good := c.Request(client, 1, 1, 0, 0, []byte("op"))
	short := c.Request(client, 1, 1, 0, 0, []byte("op"))
	short.Auth = short.Auth[:1]
	for _, tc := range []struct {
		name  string
		link  wire.Principal
		frame []byte
		want  string
	}{
		{"a prepare over another's link", replica(3), seal(2, &wire.Prepare{Replica: 2}), "claims to be from replica 2"},
		{"a prepare from a client", authtest.Client(2), seal(2, &wire.Prepare{Replica: 2}), "claims to be from replica 2"},
		{"a replica that does not exist", replica(9), wire.Encode(&wire.Commit{Replica: 9}), "no replica 9"},
		{"a changed checkpoint", replica(2), forged, "signature of replica 2 is wrong"},
		{"a view change in another's name", replica(2), wire.Encode(stolen), "signature of replica 3 is wrong"},
		{"a new view with a stolen view change", replica(1), seal(1, &wire.NewView{View: 1, Replica: 1, ViewChanges: []*wire.ViewChange{stolen}}), "view change inside"},
		{"a checkpoint from a client", authtest.Client(client), seal(2, &wire.Checkpoint{Replica: 2}), "only replicas relay"},
		{"another client's fetch", authtest.Client(101), wire.Encode(&wire.ClientFetch{Client: client}), "claims to be from client 100"},
		{"a client's fetch from a replica", replica(2), wire.Encode(&wire.ClientFetch{Client: 2}), "claims to be from client 2"},
		{"another client's request", authtest.Client(101), wire.Encode(good), "claims to be from client 100"},
		{"a request with a wrong MAC for me", authtest.Client(client), wire.Encode(breakMAC(c.Request(client, 1, 1, 0, 0, nil), 1)), "missing or wrong"},
		{"a request without a MAC for me", authtest.Client(client), wire.Encode(short), "missing or wrong"},
		{"a request of an unknown client", replica(2), wire.Encode(wire.NewRequest(999, 0, 1, 0, 0, nil)), "missing or wrong"},
	} {
		_, err := c.Verifier(replica(1)).Verify(tc.link, tc.frame)
		if !errors.Is(err, auth.ErrUnverified) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v; want a refusal with %q", tc.name, err, tc.want)
		}
	}
	if _, err := c.Verifier(replica(1)).Verify(replica(2), []byte{1, 2, 3}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("garbage: got %v, want wire.ErrMalformed", err)
	}
}

// One request that a backup cannot authenticate must not sink the batch it is in (TOCS §4.3).
func TestUnauthenticRequestsInABatchAreMarkedNotRefused(t *testing.T) {
	c := cluster(t)
	good, bad := c.Request(client, 1, 1, 0, 0, []byte("good")), breakMAC(c.Request(client, 2, 1, 0, 0, []byte("bad")), 1)
	pp := wire.NewPrePrepare(0, 1, 0, nil, []*wire.Request{good, bad, good}, []bool{true, true, false})
	for to, want := range map[int][3]bool{1: {true, false, false}, 2: {true, true, false}} {
		v := c.Verified(replica(0), replica(0), replica(to), pp)
		got := [3]bool{v.Authentic(0), v.Authentic(1), v.Authentic(2)}
		if got != want {
			t.Errorf("replica %d authenticates %v, want %v (the third travels by digest)", to, got, want)
		}
	}
	body := wire.NewRequestBody(2, []*wire.Request{bad, good}, nil)
	v := c.Verified(replica(2), replica(2), replica(1), body)
	if v.Authentic(0) || !v.Authentic(1) || v.Authentic(2) {
		t.Errorf("fetched bodies: authentic %v %v, want false true", v.Authentic(0), v.Authentic(1))
	}
}

func TestSealRefusesAnothersName(t *testing.T) {
	c := cluster(t)
	if _, err := c.Verifier(replica(1)).Seal(&wire.Commit{Replica: 2}); err == nil {
		t.Error("replica 1 sealed a commit of replica 2")
	}
}

func FuzzVerify(f *testing.F) {
	c := authtest.New(f, 4, client)
	r := c.Request(client, 1, 1, 0, 0, []byte("op"))
	f.Add(wire.Encode(r))
	f.Add(wire.Encode(wire.NewPrePrepare(0, 1, 0, nil, []*wire.Request{r}, []bool{true})))
	f.Add(c.Sealed(replica(0), &wire.Checkpoint{Seq: 1}).Raw())
	f.Add(wire.Encode(&wire.Prepare{Replica: 0}))
	v := c.Verifier(replica(1))
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, err := v.Verify(replica(0), frame)
		if err != nil {
			return
		}
		if s, ok := got.Message().(wire.Sent); ok {
			if _, signed := s.(wire.SignedMessage); !signed && s.Sender() != 0 {
				t.Fatalf("accepted %v of replica %d over the link of replica 0", s.Kind(), s.Sender())
			}
		}
	})
}
