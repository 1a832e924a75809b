package replica

import (
	"sync/atomic"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// KeyedService is a Service whose state says which keys clients have, in place of those that they were configured with: an
// order of an operator is an operation like any other, so a key is replaced at the same place of the order everywhere, and
// whoever loads or fetches the state has the keys of that state.
type KeyedService interface {
	Service
	// KeysVersion counts the orders; 0: none was executed.
	KeysVersion() uint64
	// Keys lists the clients that have a key by an order. Bytes that are no key it leaves out, and such a client has none.
	Keys() []auth.ClientKey
	// KeyNumber says which of its keys a client has by an order; false if it has the configured one.
	KeyNumber(c wire.ClientID) (uint32, bool)
	// RefuseKey is the result of an operation that is not executed because its client's key was replaced.
	RefuseKey(op []byte) []byte
}

// keys brings the keyring and the links to what the state says. The loop owns it.
//
// A request is authenticated where it arrives, with the key that is in force there then. That alone would not do: a replica
// that lags behind the order takes the old key for the one in force, and f+1 that vouch for a request replace everybody
// else's MACs, so f faulty replicas and one that lags would get the requests of who stole a key executed for as
// long as it lags. So it is decided at execution, from the state: the number of a request says with which of its client's
// keys it was made (wire.Request.KeyNumber), which every correct replica compares with its own idea before it
// vouches, and a request with another key than the state has for its client is not executed. This depends on the
// order alone.
type keys struct {
	service KeyedService // nil: the service has no keys
	ring    *auth.Keyring
	version uint64 // of the keys in the ring

	installed atomic.Pointer[installed] // for who asks
}

// installed is what is in the ring.
type installed struct {
	version  uint64
	replaced []auth.ClientKey
}

// install makes the keyring follow the state, if that has changed, and ends the links of old keys. always says that the
// version need not tell: the state was replaced or rolled back.
func (k *keys) install(n *Node, always bool) {
	if k.service == nil {
		return
	}
	version := k.service.KeysVersion()
	if version == k.version && (!always || version == 0) {
		return
	}
	k.version = version
	replaced := k.service.Keys()
	k.installed.Store(&installed{version, replaced})
	if err := k.ring.Replace(replaced); err != nil {
		n.log.Error("a client's key in the state is unusable, and the client is refused", "replica", n.self, "err", err)
	}
	if n.links != nil {
		n.links.Recheck()
	}
	n.log.Info("the state says which keys clients have", "replica", n.self, "version", version, "replaced", len(replaced))
}

// stale says whether a request was made with another key than the state has for its client.
func (k *keys) stale(r *wire.Request) bool {
	if k.service == nil {
		return false
	}
	number, ok := k.service.KeyNumber(r.Client)
	return ok && number != r.KeyNumber()
}

// count is how many clients have a key by an order.
func (k *keys) count() float64 {
	if now := k.installed.Load(); now != nil {
		return float64(len(now.replaced))
	}
	return 0
}

// KeyStatus says which clients' keys come from the state.
type KeyStatus struct {
	Version  uint64   `json:"version"`  // how many orders replaced one
	Replaced int      `json:"replaced"` // how many clients have one that an order gave them
	Outdated []uint32 `json:"outdated"` // of these, those for which this replica's cluster.toml has another; the state counts
}

// keyOutdatedMax bounds what is listed.
const keyOutdatedMax = 64

func (n *Node) keyStatus() *KeyStatus {
	now := n.keys.installed.Load()
	if now == nil || len(now.replaced) == 0 {
		return nil
	}
	configured := make(map[wire.ClientID]auth.PublicKey, len(n.cluster.Clients))
	for i := range n.cluster.Clients {
		configured[n.cluster.Clients[i].ID] = n.cluster.Clients[i].Key
	}
	s := &KeyStatus{Version: now.version, Replaced: len(now.replaced)}
	for _, k := range now.replaced {
		if configured[k.Client] != k.Key && len(s.Outdated) < keyOutdatedMax {
			s.Outdated = append(s.Outdated, uint32(k.Client))
		}
	}
	return s
}
