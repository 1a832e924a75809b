package fsservice

import (
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// keyed is a service of a new cluster, and the private keys of its members.
func keyed(t *testing.T) (*config.Cluster, *Service, map[wire.Principal]auth.Identity) {
	t.Helper()
	cluster, ids, err := config.Generate(config.Options{
		Replicas: []config.Addresses{{Peer: "127.0.0.1:1"}}, Gateways: []string{"gateway", "second"}, Operators: []string{"operator"},
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[wire.Principal]auth.Identity{}
	for _, id := range ids {
		keys[id.Principal] = id
	}
	return cluster, serviceOf(cluster), keys
}

func serviceOf(cluster *config.Cluster) *Service {
	var c fsstate.Config
	c.Signed, c.MayHave = Orders(cluster)
	return New(fsstate.New(c), time.Second)
}

// order gives a key to a member, signed by who has an identity.
func order(t *testing.T, cluster *config.Cluster, s *Service, by auth.Identity, member wire.ClientID, number uint32, key []byte) *fsstate.SetKeyResult {
	t.Helper()
	ring, err := cluster.Keyring(by)
	if err != nil {
		t.Fatal(err)
	}
	o := fsstate.EncodeKeyOrder(&fsstate.KeyOrder{Replaces: s.KeysVersion(), Member: fsstate.FrontEnd(member), Number: number, Key: key})
	op := &fsstate.Op{Args: &fsstate.SetKey{Order: o, Signature: ring.Sign(append([]byte(fsstate.KeyOrderDomain), o...))}}
	r, err := fsstate.DecodeResult(fsstate.KindSetKey, s.Execute(100, fsstate.EncodeOp(op), s.Propose(1)))
	if err != nil {
		t.Fatal(err)
	}
	return r.(*fsstate.SetKeyResult)
}

func client(id uint32) wire.Principal { return wire.Principal{Role: wire.RoleClient, ID: id} }

func TestOrdersOfKeysAreJudged(t *testing.T) {
	cluster, s, ids := keyed(t)
	operator, gateway := ids[client(102)], ids[client(100)]
	first, second := auth.GenerateKey(), auth.GenerateKey()
	for _, tc := range []struct {
		name   string
		by     auth.Identity
		member wire.ClientID
		number uint32
		key    []byte
		want   fsstate.Status
	}{
		{"by who is no operator", gateway, 100, 1, first.Public().Bytes(), fsstate.EPERM},
		{"for a replica", operator, 0, 1, first.Public().Bytes(), fsstate.ENOTSUPP},
		{"for nobody", operator, 103, 1, first.Public().Bytes(), fsstate.ENOENT},
		{"a short key", operator, 100, 1, first.Public().Bytes()[:63], fsstate.EINVAL},
		{"a key that everybody could use", operator, 100, 1, append(make([]byte, 63), 1), fsstate.EINVAL},
		{"good", operator, 100, 1, first.Public().Bytes(), fsstate.OK},
		{"the same for another", operator, 101, 1, first.Public().Bytes(), fsstate.EEXIST},
		{"half of it", operator, 101, 1, append(second.Public().Bytes()[:32], first.Public().Bytes()[32:]...), fsstate.EEXIST},
		{"good again", operator, 100, 2, second.Public().Bytes(), fsstate.OK},
	} {
		if r := order(t, cluster, s, tc.by, tc.member, tc.number, tc.key); r.Status != tc.want {
			t.Errorf("%s: %+v, want status %d", tc.name, r, tc.want)
		}
	}
	if got := s.Keys(); len(got) != 1 || got[0] != (auth.ClientKey{Client: 100, Number: 2, Key: second.Public()}) || s.KeysVersion() != 2 {
		t.Errorf("the keys are %+v", got)
	}
	if n, ok := s.KeyNumber(100); n != 2 || !ok {
		t.Errorf("client 100 has its key of number %d, %v", n, ok)
	}
	if _, ok := s.KeyNumber(101); ok {
		t.Error("client 101 has a key by an order")
	}
	refused := s.RefuseKey(fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.GetAttr{}}))
	if r, err := fsstate.DecodeResult(fsstate.KindGetAttr, refused); err != nil || r.Code() != fsstate.EACCES {
		t.Errorf("what is refused is answered with %v, %v", r, err)
	}
}

// Once an operator's own key was replaced, it signs orders with the new one, and nobody with the old.
func TestAnOperatorsOldKeySignsNothing(t *testing.T) {
	cluster, s, ids := keyed(t)
	before := ids[client(102)]
	after := auth.Identity{Cluster: cluster.ID, Principal: client(102), Key: auth.GenerateKey(), Number: 1}
	if r := order(t, cluster, s, before, 102, 1, after.Key.Public().Bytes()); r.Status != fsstate.OK {
		t.Fatalf("%+v", r)
	}
	key := auth.GenerateKey().Public().Bytes()
	if r := order(t, cluster, s, before, 100, 1, key); r.Status != fsstate.EPERM {
		t.Errorf("with the old key: %+v", r)
	}
	if r := order(t, cluster, s, after, 100, 1, key); r.Status != fsstate.OK {
		t.Errorf("with the new key: %+v", r)
	}
}

// Replicas whose cluster.toml have different keys for clients, since one was given a new file and another was not, judge
// orders alike: their states stay equal.
func TestOrdersAreJudgedAlikeWithAnOldClusterFile(t *testing.T) {
	cluster, s, ids := keyed(t)
	newer := *cluster
	newer.Clients = append([]config.Client(nil), cluster.Clients...)
	first := auth.Identity{Cluster: cluster.ID, Principal: client(102), Key: auth.GenerateKey(), Number: 1}
	newer.Clients[2].Key, newer.Clients[2].KeyNumber = first.Key.Public(), 1
	other := serviceOf(&newer)
	// The order after which the file was renewed; the other replica gets it with the state.
	if r := order(t, cluster, s, ids[client(102)], 102, 1, first.Key.Public().Bytes()); r.Status != fsstate.OK {
		t.Fatalf("%+v", r)
	}
	from := s.Snapshot()
	if err := other.Load(func(yield func(key, value []byte) error) error { return from.Diff(nil, yield) }); err != nil {
		t.Fatal(err)
	}
	for i, key := range [][]byte{cluster.Clients[2].Key.Bytes(), newer.Clients[2].Key.Bytes(), cluster.Clients[0].Key.Bytes(), auth.GenerateKey().Public().Bytes()} {
		a, b := order(t, cluster, s, first, 100, uint32(i+1), key), order(t, cluster, other, first, 100, uint32(i+1), key)
		if *a != *b || s.Snapshot().Root() != other.Snapshot().Root() {
			t.Errorf("key %d: one says %+v, the other %+v", i, a, b)
		}
	}
}
