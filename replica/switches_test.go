package replica

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/pbft"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

func TestEverySwitchReachesTheCore(t *testing.T) {
	g := &group{t: t}
	cluster, _, err := config.Generate(config.Options{Replicas: []config.Addresses{{Peer: "a:1"}, {Peer: "b:1"}, {Peer: "c:1"}, {Peer: "d:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	g.cluster = cluster
	core := func(off func(*config.Optimisations)) pbft.Config {
		cluster.Optimisations = config.AllOptimisations()
		off(&cluster.Optimisations)
		n := &Node{cluster: cluster}
		cfg := n.coreConfig()
		if _, err := newCore(cfg, pbft.Recovered{}); err != nil {
			t.Fatalf("%+v: %v", cluster.Optimisations, err)
		}
		return cfg
	}
	on := core(func(*config.Optimisations) {})
	if on.NoTentative || on.NoDigestReplies || on.NoReadOnly || on.NoPiggyback || on.BatchRequests != 64 || on.InlineBytes != 16<<10 {
		t.Errorf("with everything on the core is told %+v", on)
	}
	for _, tc := range []struct {
		name string
		off  func(*config.Optimisations)
		is   func(c *pbft.Config) bool
	}{
		{"tentative", func(o *config.Optimisations) { o.Tentative = false }, func(c *pbft.Config) bool { return c.NoTentative }},
		{"digest replies", func(o *config.Optimisations) { o.DigestReplies = false }, func(c *pbft.Config) bool { return c.NoDigestReplies }},
		{"read-only", func(o *config.Optimisations) { o.ReadOnly = false }, func(c *pbft.Config) bool { return c.NoReadOnly }},
		{"piggyback", func(o *config.Optimisations) { o.Piggyback = false }, func(c *pbft.Config) bool { return c.NoPiggyback }},
		{"batching", func(o *config.Optimisations) { o.Batching = false }, func(c *pbft.Config) bool { return c.BatchRequests == 1 }},
		{"large requests", func(o *config.Optimisations) { o.LargeRequests = false }, func(c *pbft.Config) bool { return c.InlineBytes >= wire.MaxOp }},
	} {
		if c := core(tc.off); !tc.is(&c) {
			t.Errorf("%s off: the core is told %+v", tc.name, c)
		}
	}
}

// With each switch off the group does the same in another way, which shows in its batches and on the client's links.
func TestAGroupWorksWithEachOptimisationOff(t *testing.T) {
	for _, tc := range []struct {
		name  string
		off   func(*config.Optimisations)
		check func(t *testing.T, g *group, c *client.Client)
	}{
		{"none", func(*config.Optimisations) {}, func(t *testing.T, g *group, c *client.Client) {
			if n := batchesOf(g, func() { invoke(t, c, "?", true) }); n != 0 {
				t.Errorf("a read took %d batches", n)
			}
			large := strings.Repeat("l", 32<<10)
			sent := meter(c, func(s *transport.PeerStats) uint64 { return s.BytesOut })
			invoke(t, c, large, false)
			await(t, "large request at every replica", func() bool { return slices.Min(sent()) >= uint64(len(large)) })
		}},
		{"MACs", func(o *config.Optimisations) { o.MACs = false }, func(t *testing.T, g *group, c *client.Client) {
			c.Close()
			g.cluster.Optimisations.MACs = true // for a client with another copy of the file
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if result, err := g.client().Invoke(ctx, []byte("op"), false); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a request with MACs got %q, %v; want no answer", result, err)
			}
		}},
		{"batching", func(o *config.Optimisations) { o.Batching = false }, func(t *testing.T, g *group, c *client.Client) {
			if n := batchesOf(g, func() { g.append(c, "op", 80) }); n != 80 {
				t.Errorf("80 operations took %d batches", n)
			}
		}},
		{"digest replies", func(o *config.Optimisations) { o.DigestReplies = false }, func(t *testing.T, g *group, c *client.Client) {
			op := strings.Repeat("w", 3000)
			got := meter(c, func(s *transport.PeerStats) uint64 { return s.BytesIn })
			invoke(t, c, op, false)
			await(t, "result from every replica", func() bool { return slices.Min(got()) >= uint64(len(op)) })
		}},
		{"tentative execution", func(o *config.Optimisations) { o.Tentative = false }, nil},
		{"reading without order", func(o *config.Optimisations) { o.ReadOnly = false }, func(t *testing.T, g *group, c *client.Client) {
			if n := batchesOf(g, func() { invoke(t, c, "?", true) }); n != 1 {
				t.Errorf("a read took %d batches; want it ordered", n)
			}
		}},
		{"large requests", func(o *config.Optimisations) { o.LargeRequests = false }, func(t *testing.T, g *group, c *client.Client) {
			large := strings.Repeat("l", 32<<10)
			sent := meter(c, func(s *transport.PeerStats) uint64 { return s.BytesOut })
			invoke(t, c, large, false)
			g.awaitEqual()
			if bytes := sent(); slices.Max(bytes[1:]) != 0 {
				t.Errorf("of a large request %v bytes went to the replicas; want it at the primary alone", bytes)
			}
		}},
		{"piggy-backed commits", func(o *config.Optimisations) { o.Piggyback = false }, nil},
		{"everything", func(o *config.Optimisations) { *o = config.Optimisations{} }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGroupOf(t, config.Memory, 16, func(c *config.Cluster) {
				tc.off(&c.Optimisations)
				c.Tunables.RequestTimeoutMS, c.Tunables.ViewChangeTimeoutMS = 60_000, 60_000 // nothing is sent twice
			})
			c := g.client()
			await(t, "links to all replicas", func() bool {
				for _, p := range c.Transport().Stats().Peers {
					if !p.Connected {
						return false
					}
				}
				return true
			})
			g.append(c, "op", 60)
			if got := invoke(t, c, "?", true); got != "60" {
				t.Errorf("after 60 operations the state has %s", got)
			}
			if s := g.awaitEqual(); s.Stable == 0 && s.Executed >= 16 {
				t.Errorf("after %d batches there is no stable checkpoint", s.Executed)
			}
			if tc.check != nil {
				tc.check(t, g, c)
			}
		})
	}
}

// batchesOf counts the batches that something takes.
func batchesOf(g *group, do func()) uint64 {
	before := g.awaitEqual().Executed
	do()
	return g.awaitEqual().Executed - before
}

// meter gives by how much a counter of the client's links has grown since, by replica.
func meter(c *client.Client, counter func(*transport.PeerStats) uint64) func() []uint64 {
	read := func() []uint64 {
		peers := c.Transport().Stats().Peers
		counts := make([]uint64, len(peers))
		for i := range peers {
			counts[i] = counter(&peers[i])
		}
		return counts
	}
	before := read()
	return func() []uint64 {
		counts := read()
		for i := range counts {
			counts[i] -= before[i]
		}
		return counts
	}
}

// await waits for something that happens on other goroutines, which tell nobody.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !is() {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline.C:
			t.Fatalf("there is no %s", what)
		}
	}
}
