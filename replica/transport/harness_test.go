package transport

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func replicaP(id uint32) wire.Principal { return wire.Principal{Role: wire.RoleReplica, ID: id} }
func clientP(id uint32) wire.Principal  { return wire.Principal{Role: wire.RoleClient, ID: id} }

// patience is how long a test waits for what must happen soon; only a failing test waits so long.
const patience = 20 * time.Second

// eventually waits for a condition that some goroutine will make true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// group is a cluster's keys and a place to listen for each replica; transports come and go.
type group struct {
	cluster *config.Cluster
	sockets map[uint32]net.Listener // opened early, so that no other test gets the port; taken by the first transport
	ids     map[wire.Principal]auth.Identity
	quick   func(*Config) // changes every transport's configuration; may be nil
}

func newGroup(t testing.TB, replicas int, gateways ...string) *group {
	t.Helper()
	o := config.Options{Gateways: gateways}
	sockets := make(map[uint32]net.Listener)
	for i := range uint32(replicas) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		sockets[i] = l
		o.Replicas = append(o.Replicas, config.Addresses{Peer: l.Addr().String()})
	}
	c, ids, err := config.Generate(o)
	if err != nil {
		t.Fatal(err)
	}
	g := &group{cluster: c, sockets: sockets, ids: make(map[wire.Principal]auth.Identity)}
	for _, id := range ids {
		g.ids[id.Principal] = id
	}
	return g
}

// keys gives a principal's keyring; a replica's own client shares the replica's.
func (g *group) keys(t testing.TB, p wire.Principal) *auth.Keyring {
	t.Helper()
	id, ok := g.ids[p]
	if !ok {
		id = g.ids[replicaP(p.ID)]
	}
	ring, err := g.cluster.Keyring(id)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// make makes a transport without starting it.
func (g *group) make(t testing.TB, p wire.Principal, handler Handler) *Transport {
	t.Helper()
	cfg := Config{
		Self: p, Keys: g.keys(t, p), Peers: Peers(g.cluster, p), Handler: handler,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond,
	}
	if p.Role == wire.RoleReplica {
		cfg.Listener = g.listen(t, p.ID)
	}
	if g.quick != nil {
		g.quick(&cfg)
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// listen gives the socket of a replica, a new one at the same address if the first was used.
func (g *group) listen(t testing.TB, id uint32) net.Listener {
	t.Helper()
	if l := g.sockets[id]; l != nil {
		delete(g.sockets, id)
		return l
	}
	l, err := net.Listen("tcp", g.cluster.Replicas[id].Peer)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (g *group) start(t testing.TB, p wire.Principal, handler Handler) *Transport {
	t.Helper()
	tr := g.make(t, p, handler)
	tr.Start()
	return tr
}

// inbox is a Handler that keeps what it gets.
type inbox struct {
	mu  sync.Mutex
	got map[wire.Principal][]string
}

func (in *inbox) handle(from wire.Principal, frame []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.got == nil {
		in.got = make(map[wire.Principal][]string)
	}
	in.got[from] = append(in.got[from], string(frame))
}

func (in *inbox) from(p wire.Principal) []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]string(nil), in.got[p]...)
}

func (in *inbox) has(p wire.Principal, frame string) bool {
	for _, f := range in.from(p) {
		if f == frame {
			return true
		}
	}
	return false
}

func ignore(wire.Principal, []byte) {}

// peerStats finds the counters of one peer.
func peerStats(t testing.TB, tr *Transport, p wire.Principal) PeerStats {
	t.Helper()
	for _, s := range tr.Stats().Peers {
		if s.Peer == p {
			return s
		}
	}
	t.Fatalf("%v is no peer of %v", p, tr.cfg.Self)
	return PeerStats{}
}

func connected(t testing.TB, tr *Transport, p wire.Principal) func() bool {
	return func() bool { return peerStats(t, tr, p).Connected }
}

func numbered(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("frame %d", i)
	}
	return s
}
