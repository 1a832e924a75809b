package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"bfsd/replica"
	"bfsd/replica/wire"
)

func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	for _, seed := range []uint64{1, 2, 30} {
		trace := func() []byte {
			var b bytes.Buffer
			if _, f := Run(Options{Seed: seed, Scenario: KV(), Trace: &b}); f != nil {
				t.Fatal(f)
			}
			return b.Bytes()
		}
		first, second := trace(), trace()
		if !bytes.Equal(first, second) {
			t.Errorf("seed %d: two traces of %d and %d bytes differ", seed, len(first), len(second))
		}
		if lines := bytes.Count(first, []byte("\n")); lines < 500 {
			t.Errorf("seed %d: a trace of %d lines: not much happened", seed, lines)
		}
	}
}

func TestTracingChangesNothing(t *testing.T) {
	var b bytes.Buffer
	traced, f := Run(Options{Seed: 7, Scenario: KV(), Trace: &b})
	if f != nil {
		t.Fatal(f)
	}
	quiet, f := Run(Options{Seed: 7, Scenario: KV()})
	if f != nil {
		t.Fatal(f)
	}
	if traced != quiet {
		t.Errorf("with a trace %+v, without %+v", traced, quiet)
	}
}

// Safety and liveness over a fixed set of seeds, which must also have seen each kind of trouble.
func TestSeeds(t *testing.T) {
	seeds := uint64(90)
	if testing.Short() {
		seeds = 20
	}
	sum := Many(context.Background(), Options{Seed: 1, Scenario: KV()}, seeds, 0, func(f *Failure) {
		if f != nil {
			t.Error(f)
		}
	})
	if uint64(sum.Runs) != seeds {
		t.Fatalf("%d runs of %d", sum.Runs, seeds)
	}
	s := sum.Stats
	for what, count := range map[string]int64{
		"requests": s.Requests, "reads": s.Reads, "new views": s.NewViews, "rollbacks": s.Rollbacks, "abandoned proposals": s.Abandoned,
		"checkpoints": s.Checkpoints, "state transfers": s.Transfers, "crashes": s.Crashes, "refused messages": s.Refused,
		"rejoins": s.Rejoins,
	} {
		if count == 0 {
			t.Errorf("in %d runs there were no %s", seeds, what)
		}
	}
	t.Logf("%+v", s)
}

// forgetter breaks the service of one replica in a way that only shows later: it loses a write now and then.
type forgetter struct {
	replica.Service
	writes int
}

func (f *forgetter) Execute(c wire.ClientID, op, choice []byte) []byte {
	if f.writes++; f.writes == 20 && len(op) > 0 && op[0] == 's' {
		return f.Service.Execute(c, []byte("g k0"), choice)
	}
	return f.Service.Execute(c, op, choice)
}

func TestAServiceThatDivergesIsCaught(t *testing.T) {
	broken := KV()
	made := 0
	broken.New = func() replica.Service {
		made++
		if made%5 == 2 { // the first is the model; then the replicas' in turn
			return &forgetter{Service: newKV()}
		}
		return newKV()
	}
	for seed := range uint64(20) {
		made = 0
		_, f := Run(Options{Seed: seed, F: 1, Scenario: broken})
		if f != nil {
			t.Logf("caught: %s", f.Reason)
			return
		}
	}
	t.Error("20 seeds did not notice that one replica's service loses a write")
}

// outdated answers reads from the initial state.
type outdated struct {
	replica.Service
	old replica.Service
}

func (s *outdated) Query(c wire.ClientID, op []byte) ([]byte, bool) { return s.old.Query(c, op) }

func TestStaleReadsAreCaught(t *testing.T) {
	broken := KV()
	broken.New = func() replica.Service { return &outdated{Service: newKV(), old: newKV()} }
	for seed := range uint64(20) {
		_, f := Run(Options{Seed: seed, F: 1, Scenario: broken})
		if f != nil {
			if !strings.Contains(f.Reason, "linearizable") {
				t.Fatalf("seed %d failed for another reason: %v", seed, f)
			}
			return
		}
	}
	t.Error("20 seeds did not notice that reads answer from the initial state")
}

func TestTheRegisterCheckerSeesAStaleRead(t *testing.T) {
	set := Operation{Client: 100, Op: []byte("s k 1"), Done: true, Invoked: 1, Returned: 2}
	get := Operation{Client: 101, Op: []byte("g k"), Result: []byte("1"), Done: true, Invoked: 3, Returned: 4}
	if wrong := checkKV([]Operation{set, get}); wrong != "" {
		t.Errorf("a sound history: %s", wrong)
	}
	get.Result = nil
	if wrong := checkKV([]Operation{set, get}); wrong == "" {
		t.Error("a read that misses a completed write was accepted")
	}
	get.Invoked = 1
	if wrong := checkKV([]Operation{set, get}); wrong != "" {
		t.Errorf("a read that overlaps the write may miss it: %s", wrong)
	}
}

func TestKeysConvinceOnlyTheRightReceiver(t *testing.T) {
	clients := []wire.ClientID{100, 101}
	key := func(p wire.Principal) *keys { return &keys{self: p, world: 5, replicas: 4, clients: clients} }
	digest := wire.ResultDigest([]byte("request"))
	mac, ok := key(clientPrincipal(100)).RequestMAC(100, 2, digest)
	if want, known := key(replicaPrincipal(2)).RequestMAC(100, 2, digest); !ok || !known || mac != want {
		t.Fatalf("client %x, %t; replica %x, %t", mac, ok, want, known)
	}
	for _, p := range []wire.Principal{clientPrincipal(101), replicaPrincipal(1)} {
		if _, ok := key(p).RequestMAC(100, 2, digest); ok {
			t.Errorf("%v can make the MAC of client 100 for replica 2", p)
		}
	}
	if other, _ := key(clientPrincipal(101)).RequestMAC(101, 2, digest); other == mac {
		t.Error("two clients have one MAC")
	}
	if other, _ := key(clientPrincipal(100)).RequestMAC(100, 3, digest); other == mac {
		t.Error("two replicas have one MAC")
	}
	sig := key(replicaPrincipal(0)).Sign([]byte("message"))
	if k := key(replicaPrincipal(3)); !k.VerifySignature(replicaPrincipal(0), []byte("message"), sig) ||
		k.VerifySignature(replicaPrincipal(1), []byte("message"), sig) || k.VerifySignature(replicaPrincipal(0), []byte("massage"), sig) {
		t.Error("a signature convinces of the wrong signer or message, or not of the right one")
	}
}

func TestTheStoreCanBeRestoredAndLoaded(t *testing.T) {
	full := newKV().(*kvService)
	choice := binary.BigEndian.AppendUint64(nil, 1000)
	for i := range 40 {
		op := []byte{'s', ' ', 'a' + byte(i%20), ' ', byte(i)}
		full.SetReply(100, wire.Slot(i%3), uint64(i), full.Execute(100, op, choice))
	}
	frozen := full.Snapshot()
	full.Execute(100, []byte("s later x"), choice)
	fetched := newKV()
	nodes := func(digests []wire.Digest) (list []replica.StateNode, err error) {
		for _, d := range digests {
			node, ok := frozen.Node(d)
			if !ok {
				t.Fatalf("no node %v", d)
			}
			list = append(list, replica.StateNode{Digest: d, Encoding: node})
		}
		return list, nil
	}
	if err := fetched.Restore(frozen.Root(), nodes, func(uint64) {}, nil); err != nil {
		t.Fatal(err)
	}
	loaded := newKV()
	if err := loaded.Load(func(yield func(key, value []byte) error) error { return frozen.Diff(nil, yield) }); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]replica.Service{"restored": fetched, "loaded": loaded} {
		if got := s.Snapshot().Root(); got != frozen.Root() {
			t.Errorf("%s: root %v, want %v", name, got, frozen.Root())
		}
		if got := len(clientTable(s)); got != 3 {
			t.Errorf("%s: %d replies, want 3", name, got)
		}
	}
	for lie := range 2 { // in the root, in a leaf
		asked := 0
		if err := newKV().Restore(frozen.Root(), func(digests []wire.Digest) ([]replica.StateNode, error) {
			list, err := nodes(digests)
			if asked++; asked == lie+1 {
				changed := bytes.Clone(list[0].Encoding)
				changed[len(changed)-1] ^= 1
				list[0].Encoding = changed
			}
			return list, err
		}, func(uint64) {}, nil); err == nil {
			t.Errorf("a changed node was accepted, in answer %d", lie+1)
		}
	}
}
