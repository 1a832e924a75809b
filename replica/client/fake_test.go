package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bfsd/replica/auth/authtest"
	"bfsd/replica/wire"
)

const gateway wire.ClientID = 100

// group is a group of replicas as a client sees it, in memory and inside a synctest bubble: frames take time, replicas
// check authenticators, order requests, execute each number of a slot once, and answer. How they agree among themselves
// is not shown: the primary's word counts, and a backup that is asked while the primary is mute makes itself the primary.
// Any replica's replies can be changed on their way out.
type group struct {
	t    testing.TB
	n    int
	keys *authtest.Cluster

	lie    map[wire.ReplicaID]func(*wire.Reply) []*wire.Reply // what leaves a replica instead of its reply
	lose   func(to wire.ReplicaID, r *wire.Request) bool      // requests that the network loses
	delay  func() time.Duration
	query  func(op []byte, at wire.ReplicaID) ([]byte, bool) // answers readings
	signed bool                                              // requests are signed
	relays bool                                              // backups tell the primary of what they get; of a large request only when it is sent again

	mu       sync.Mutex
	client   *Client
	mute     map[wire.ReplicaID]bool
	view     wire.View
	history  []string // operations in the order of their execution
	last     map[wire.Slot]executed
	requests []arrival
}

type executed struct {
	number uint64
	result []byte
}

// arrival is a request as a replica saw it.
type arrival struct {
	to wire.ReplicaID
	r  *wire.Request
}

func newGroup(t testing.TB, n int) *group {
	g := &group{
		t: t, n: n, keys: authtest.New(t, n, gateway),
		lie: map[wire.ReplicaID]func(*wire.Reply) []*wire.Reply{}, mute: map[wire.ReplicaID]bool{}, last: map[wire.Slot]executed{},
		lose:  func(wire.ReplicaID, *wire.Request) bool { return false },
		delay: func() time.Duration { return time.Millisecond },
		query: func(op []byte, _ wire.ReplicaID) ([]byte, bool) { return append([]byte("read "), op...), true },
	}
	return g
}

// connect makes the group's client, with a change to its configuration.
func (g *group) connect(change func(*Config)) *Client {
	g.t.Helper()
	cfg := Config{
		ID: gateway, N: g.n, Keys: g.keys.Keyring(authtest.Client(gateway)), Send: g.send,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), RequestTimeout: 100 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.client = c
	return c
}

// send is the network towards the replicas.
func (g *group) send(to wire.Principal, frame []byte) bool {
	frame = bytes.Clone(frame)
	time.AfterFunc(g.delay(), func() { g.arrive(wire.ReplicaID(to.ID), frame) })
	return true
}

func (g *group) arrive(at wire.ReplicaID, frame []byte) {
	verifier := g.keys.Verifier(authtest.Replica(at))
	if g.signed {
		verifier = verifier.ExpectSignatures()
	}
	v, err := verifier.Verify(authtest.Client(gateway), frame)
	if err != nil {
		g.t.Errorf("replica %d refuses a request: %v", at, err)
		return
	}
	r := v.Message().(*wire.Request)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lose(at, r) {
		return
	}
	g.requests = append(g.requests, arrival{at, r})
	if g.mute[at] {
		return
	}
	if r.ReadOnly() {
		if result, ok := g.query(r.Op, at); ok {
			g.reply(at, r, result, true)
			return
		}
	}
	g.order(at, r)
}

// order has a request executed, if this replica is the primary, or the primary is gone.
func (g *group) order(at wire.ReplicaID, r *wire.Request) {
	last := g.last[r.Slot]
	switch {
	case r.Number < last.number:
		return
	case r.Number == last.number:
		g.reply(at, r, last.result, false)
		return
	}
	primary := wire.ReplicaID(uint64(g.view) % uint64(g.n))
	if g.mute[primary] {
		g.view++
		primary = wire.ReplicaID(uint64(g.view) % uint64(g.n))
	}
	if at != primary && (!g.relays || !r.Full() && r.Large(16<<10)) {
		return
	}
	g.history = append(g.history, string(r.Op))
	last = executed{r.Number, fmt.Appendf(nil, "%s was operation %d", r.Op, len(g.history))}
	g.last[r.Slot] = last
	for i := range wire.ReplicaID(g.n) {
		if !g.mute[i] {
			g.reply(i, r, last.result, false)
		}
	}
}

func (g *group) reply(from wire.ReplicaID, r *wire.Request, result []byte, read bool) {
	m := &wire.Reply{
		View: g.view, Client: r.Client, Slot: r.Slot, Number: r.Number, Replica: from, Tentative: !read, ReadOnly: read,
		Digest: wire.ResultDigest(result),
	}
	if r.Full() || r.Replier == from {
		m.Full, m.Result = true, result
	}
	replies := []*wire.Reply{m}
	if lie := g.lie[from]; lie != nil {
		replies = lie(m)
	}
	for _, m := range replies {
		g.deliver(from, wire.Encode(m))
	}
}

// deliver is the network towards the client.
func (g *group) deliver(from wire.ReplicaID, frame []byte) {
	c := g.client
	time.AfterFunc(g.delay(), func() { c.Receive(authtest.Replica(from), frame) })
}

// arrivals counts the requests that a replica got.
func (g *group) arrivals(at wire.ReplicaID) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	count := 0
	for _, a := range g.requests {
		if a.to == at {
			count++
		}
	}
	return count
}

func (g *group) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = nil
}

func (g *group) executions() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.history...)
}

func mustInvoke(t testing.TB, c *Client, op string, readOnly bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := c.Invoke(ctx, []byte(op), readOnly)
	if err != nil {
		t.Fatalf("invoking %q: %v", op, err)
	}
	return string(result)
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// falsely replaces a reply's result by another, with the right digest for it.
func falsely(result string) func(*wire.Reply) []*wire.Reply {
	return func(r *wire.Reply) []*wire.Reply {
		m := *r
		m.Full, m.Result, m.Digest, m.Tentative = true, []byte(result), wire.ResultDigest([]byte(result)), false
		return []*wire.Reply{&m}
	}
}

func nothing(*wire.Reply) []*wire.Reply { return nil }

// withoutResult sends the digest alone, even when the result is asked for.
func withoutResult(r *wire.Reply) []*wire.Reply {
	m := *r
	m.Full, m.Result = false, nil
	return []*wire.Reply{&m}
}

func random(low, high time.Duration) func() time.Duration {
	return func() time.Duration { return low + rand.N(high-low) }
}
