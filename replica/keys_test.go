package replica

import (
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// keyedToy is a toyService with keys: the operation "key N" gives client 100 its key of number N.
type keyedToy struct {
	*toyService
	public map[uint32]auth.PublicKey
}

func (s *keyedToy) number() (number uint32) {
	for _, op := range s.ops {
		if text, ok := strings.CutPrefix(op, "key "); ok {
			n, _ := strconv.ParseUint(text, 10, 32)
			number = uint32(n)
		}
	}
	return number
}

func (s *keyedToy) KeysVersion() uint64 { return uint64(s.number()) }

func (s *keyedToy) Keys() []auth.ClientKey {
	if s.number() == 0 {
		return nil
	}
	return []auth.ClientKey{{Client: 100, Number: s.number(), Key: s.public[s.number()]}}
}

func (s *keyedToy) KeyNumber(c wire.ClientID) (uint32, bool) {
	return s.number(), c == 100 && s.number() > 0
}
func (s *keyedToy) RefuseKey([]byte) []byte { return []byte("refused") }

// keyedNode is what of a node executes and rolls back, with a client 100 and an operator 101.
func keyedNode(t *testing.T) (*Node, *keyedToy) {
	t.Helper()
	cluster, ids, err := config.Generate(config.Options{
		Replicas: []config.Addresses{{Peer: "127.0.0.1:1"}}, Gateways: []string{"gateway"}, Operators: []string{"operator"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := cluster.Keyring(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	s := &keyedToy{newToyService(), map[uint32]auth.PublicKey{1: auth.GenerateKey().Public(), 2: auth.GenerateKey().Public()}}
	n := &Node{cluster: cluster, service: s, metrics: newMetrics(), snaps: newSnapshots(nil), log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	n.keys.ring, n.keys.service, n.fetch = ring, s, newFetcher(n)
	return n, s
}

func keyedRequest(t *testing.T, client wire.ClientID, key uint32, op string) *wire.Request {
	t.Helper()
	numbers, err := wire.NumbersOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return wire.NewRequest(client, 0, numbers.At(1e18), 0, 0, []byte(op))
}

// ran executes a batch and gives the results.
func (n *Node) ran(seq wire.Seq, requests ...*wire.Request) (results []string) {
	n.pending = nil
	n.execute(pbft.Execute{Seq: seq, Tentative: true, Requests: requests})
	for _, r := range n.pending[0].(pbft.Executed).Results {
		results = append(results, string(r))
	}
	return results
}

// A replica that lags takes an old key for the one in force, and with f faulty ones can have its requests ordered: they are
// refused at execution, from the very place of the order on at which the key was replaced.
func TestTheOrderDecidesWhichKeyIsInForce(t *testing.T) {
	n, s := keyedNode(t)
	configured, _ := n.keys.ring.PublicKey(clientPrincipal(100))
	inForce := func(want auth.PublicKey, number uint32) {
		t.Helper()
		if got, _ := n.keys.ring.PublicKey(clientPrincipal(100)); got != want || n.keys.ring.KeyNumber(100) != number {
			t.Errorf("the keyring has a key of number %d, want %d (the same key: %v)", n.keys.ring.KeyNumber(100), number, got == want)
		}
	}
	old, next, other := keyedRequest(t, 100, 0, "old"), keyedRequest(t, 100, 1, "next"), keyedRequest(t, 101, 0, "other")
	order := func(number string) *wire.Request { return keyedRequest(t, 101, 0, "key "+number) }

	// With the configured key nothing is checked: a cluster file may give it any number.
	if got := n.ran(1, old, next); !slices.Equal(got, []string{"1: old", "2: next"}) {
		t.Errorf("before any order: %q", got)
	}
	got := n.ran(2, old, order("1"), old, next, other)
	if !slices.Equal(got, []string{"3: old", "4: key 1", "refused", "5: next", "6: other"}) {
		t.Errorf("in the batch with the order: %q", got)
	}
	inForce(s.public[1], 1)
	if got := n.ran(3, old, next); !slices.Equal(got, []string{"refused", "7: next"}) {
		t.Errorf("afterwards: %q", got)
	}
	got = n.ran(4, order("2"), next, old, keyedRequest(t, 100, 2, "last"))
	if !slices.Equal(got, []string{"8: key 2", "refused", "refused", "9: last"}) {
		t.Errorf("after another order: %q", got)
	}
	inForce(s.public[2], 2)

	for read, want := range map[*wire.Request]string{keyedRequest(t, 100, 1, "?"): "refused", keyedRequest(t, 100, 2, "?"): "9", keyedRequest(t, 101, 0, "?"): "9"} {
		if a := n.answer(pbft.Query{Request: read}); !a.OK || string(a.Result) != want {
			t.Errorf("a read with key %d of client %d: %q, %v, want %q", read.KeyNumber(), read.Client, a.Result, a.OK, want)
		}
	}

	// What was executed tentatively and is undone takes the keys back with it.
	n.rollback(pbft.Rollback{ToSeq: 3})
	inForce(s.public[1], 1)
	if got := n.ran(4, next, old); !slices.Equal(got, []string{"8: next", "refused"}) {
		t.Errorf("after the rollback of the second order: %q", got)
	}
	n.rollback(pbft.Rollback{ToSeq: 1})
	inForce(configured, 0)
	if got := n.ran(2, old); !slices.Equal(got, []string{"3: old"}) {
		t.Errorf("after the rollback of both: %q", got)
	}
}
