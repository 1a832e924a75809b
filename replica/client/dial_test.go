package client

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"

	"go.uber.org/goleak"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a cluster whose replicas answer every request at once, over real links; nothing is ordered.
type site struct {
	cluster  *config.Cluster
	ids      []auth.Identity
	replicas []*transport.Transport
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func newSite(t testing.TB) *site {
	t.Helper()
	var o config.Options
	var sockets []net.Listener
	for range 4 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, l)
		o.Replicas = append(o.Replicas, config.Addresses{Peer: l.Addr().String()})
	}
	o.Gateways = []string{"gateway"}
	s := &site{}
	var err error
	if s.cluster, s.ids, err = config.Generate(o); err != nil {
		t.Fatal(err)
	}
	for i, socket := range sockets {
		s.replicas = append(s.replicas, s.serve(t, i, socket))
	}
	return s
}

// serve runs replica i: as soon as it has seen a request, it answers; the primary passes requests on as its pre-prepare.
func (s *site) serve(t testing.TB, i int, socket net.Listener) *transport.Transport {
	t.Helper()
	keys, err := s.cluster.Keyring(s.ids[i])
	if err != nil {
		t.Fatal(err)
	}
	self := wire.Principal{Role: wire.RoleReplica, ID: uint32(i)}
	verifier := auth.NewVerifier(self, s.cluster.N(), keys)
	var tr *transport.Transport
	tr, err = transport.New(transport.Config{
		Self: self, Keys: keys, Peers: transport.Peers(s.cluster, self), Listener: socket, Log: quiet,
		Handler: func(from wire.Principal, frame []byte) {
			v, err := verifier.Verify(from, frame)
			if err != nil {
				t.Errorf("replica %d: %v", i, err)
				return
			}
			r := v.Message().(*wire.Request)
			if i == 0 && from.Role == wire.RoleClient && !r.ReadOnly() {
				tr.Broadcast([]wire.Principal{{Role: wire.RoleReplica, ID: 1}, {Role: wire.RoleReplica, ID: 2}, {Role: wire.RoleReplica, ID: 3}}, frame)
			}
			result := fmt.Appendf(nil, "done: %s", r.Op)
			tr.Send(wire.Principal{Role: wire.RoleClient, ID: uint32(r.Client)}, wire.Encode(&wire.Reply{
				Client: r.Client, Slot: r.Slot, Number: r.Number, Replica: wire.ReplicaID(i), ReadOnly: r.ReadOnly(),
				Digest: wire.ResultDigest(result), Full: true, Result: result,
			}))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	tr.Start()
	return tr
}

func (s *site) dial(t testing.TB, member int) *Client {
	t.Helper()
	keys, err := s.cluster.Keyring(s.ids[member])
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(s.cluster, keys, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestDialReachesTheClusterOverRealLinks(t *testing.T) {
	s := newSite(t)
	c := s.dial(t, 4)
	expect(t, "ordered", mustInvoke(t, c, "a", false), "done: a")
	expect(t, "read", mustInvoke(t, c, "b", true), "done: b")
	if got := len(c.Transport().Stats().Peers); got != 4 {
		t.Errorf("the gateway has %d peers, want 4", got)
	}
}

func TestAReplicasOwnClientUsesItsReplicaWithinTheProcess(t *testing.T) {
	s := newSite(t)
	c := s.dial(t, 2)
	if err := transport.Join(s.replicas[2], c.Transport()); err != nil {
		t.Fatal(err)
	}
	expect(t, "ordered", mustInvoke(t, c, "a", false), "done: a")
	expect(t, "read", mustInvoke(t, c, "b", true), "done: b")
}

// BenchmarkInvoke is what the client and its links cost: the replicas behind them agree on nothing.
func BenchmarkInvoke(b *testing.B) {
	s := newSite(b)
	c := s.dial(b, 4)
	mustInvoke(b, c, "warm", true)
	for _, readOnly := range []bool{false, true} {
		for _, size := range []int{200, 64 << 10} {
			b.Run(fmt.Sprintf("readOnly=%v/%dB", readOnly, size), func(b *testing.B) {
				op := make([]byte, size)
				for b.Loop() {
					if _, err := c.Invoke(b.Context(), op, readOnly); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("parallel/200B", func(b *testing.B) {
		op := make([]byte, 200)
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Invoke(b.Context(), op, false); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	if s := c.Stats(); s.Retransmissions > 0 {
		b.Logf("%d retransmissions", s.Retransmissions)
	}
}
