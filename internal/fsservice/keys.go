package fsservice

import (
	"slices"

	"bfsd/fsstate"
	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// KeysVersion implements replica.KeyedService.
func (s *Service) KeysVersion() uint64 {
	version, _ := s.fs.MemberKeys()
	return version
}

// Keys implements replica.KeyedService.
func (s *Service) Keys() []auth.ClientKey {
	_, members := s.fs.MemberKeys()
	keys := make([]auth.ClientKey, len(members))
	for i, m := range members {
		key, err := auth.ParsePublicKey(m.Key)
		if err != nil {
			key = auth.PublicKey{} // which nobody has
		}
		keys[i] = auth.ClientKey{Client: wire.ClientID(m.Member), Number: m.Number, Key: key}
	}
	return keys
}

// KeyNumber implements replica.KeyedService.
func (s *Service) KeyNumber(c wire.ClientID) (uint32, bool) {
	m, ok := s.fs.MemberKey(fsstate.FrontEnd(c))
	return m.Number, ok
}

// RefuseKey implements replica.KeyedService.
func (*Service) RefuseKey(op []byte) []byte { return fsstate.RefuseOp(op, fsstate.EACCES) }

// Orders judges operators' orders for a cluster: what fsstate, which knows neither members nor what a key is, has to be
// told. Both are functions of who the members and operators are, and of their arguments.
func Orders(cluster *config.Cluster) (signed func(fsstate.MemberKeys, []byte, []byte) bool, mayHave func(fsstate.MemberKeys, fsstate.FrontEnd, []byte) fsstate.Status) {
	o := orders{cluster}
	return o.signed, o.mayHave
}

type orders struct{ cluster *config.Cluster }

// keyOf is the key that a client has.
func (o orders) keyOf(keys fsstate.MemberKeys, c *config.Client) (auth.PublicKey, bool) {
	if m, ok := keys(fsstate.FrontEnd(c.ID)); ok {
		key, err := auth.ParsePublicKey(m.Key)
		return key, err == nil
	}
	return c.Key, true
}

// signed says whether an operator signed a message, with the key that it has now.
func (o orders) signed(keys fsstate.MemberKeys, message, signature []byte) bool {
	return slices.ContainsFunc(o.cluster.Clients, func(c config.Client) bool {
		if !c.Operator {
			return false
		}
		key, ok := o.keyOf(keys, &c)
		return ok && auth.VerifySignature(o.cluster.ID, wire.Principal{Role: wire.RoleClient, ID: uint32(c.ID)}, key, message, signature)
	})
}

// mayHave judges a key for a member: nobody may have it by an order before. The configured keys are left out of it: once there
// are orders, replicas' files may differ in them, and all must judge alike. (Who orders compares with his own: bfsd key.)
func (o orders) mayHave(keys fsstate.MemberKeys, member fsstate.FrontEnd, b []byte) fsstate.Status {
	if member < fsstate.FrontEnd(config.FirstGateway) {
		return fsstate.ENOTSUPP // the client inside a replica has the replica's keys
	}
	if !slices.ContainsFunc(o.cluster.Clients, func(c config.Client) bool { return fsstate.FrontEnd(c.ID) == member }) {
		return fsstate.ENOENT
	}
	key, err := auth.ParsePublicKey(b)
	if err != nil {
		return fsstate.EINVAL
	}
	for i := range o.cluster.Clients {
		m, ok := keys(fsstate.FrontEnd(o.cluster.Clients[i].ID))
		if !ok {
			continue
		}
		if other, err := auth.ParsePublicKey(m.Key); err == nil && (other.Sign == key.Sign || other.Exchange == key.Exchange) {
			return fsstate.EEXIST
		}
	}
	return fsstate.OK
}
