//go:build !byzantine

package replica

import (
	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// misbehaviour is nothing at all: a build with the tag byzantine has replicas that can be told to be faulty, for tests
// (byzantine.go). No such code is in a build without it.
type misbehaviour struct{}

func newMisbehaviour(wire.ReplicaID) (misbehaviour, error) { return misbehaviour{}, nil }

// emit lets a message leave.
func (n *Node) emit(to wire.Principal, m wire.Message) { n.out.frame(to, wire.Encode(m)) }

// emitAll lets a message leave to all other replicas; they share its bytes.
func (n *Node) emitAll(m auth.Verified) {
	for _, peer := range n.peers {
		n.out.frame(peer, m.Raw())
	}
}

// nodeData is what a DATA carries of the state's nodes.
func (n *Node) nodeData(node []byte) []byte { return node }
