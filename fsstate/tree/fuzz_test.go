package tree

import (
	"crypto/sha256"
	"errors"
	"testing"
)

// FuzzRestore offers any bytes as the root node, all of whose children are one leaf or missing.
func FuzzRestore(f *testing.F) {
	tr := New()
	f.Add([]byte{tagLeaf}, []byte{})
	for i := range uint64(100) {
		tr.Put(Key{Hi: 1, Lo: i}, make([]byte, 40*i))
		if i == 3 || i == 20 || i == 99 {
			s := tr.Snapshot()
			b, _ := s.Node(s.Root())
			leaf, _ := s.Node(s.root.Load().children()[0].digest)
			f.Add(b, leaf)
		}
	}
	f.Fuzz(func(t *testing.T, root, leaf []byte) {
		tr := New()
		tr.Put(Key{Hi: 7}, []byte("before"))
		before := tr.Root()
		err := restoreFrom(tr, sha256.Sum256(root), func(ds []Digest) ([][]byte, error) {
			var nodes [][]byte
			for _, d := range ds {
				switch d {
				case sha256.Sum256(root):
					nodes = append(nodes, root)
				case sha256.Sum256(leaf):
					nodes = append(nodes, leaf)
				default:
					return nil, errors.New("no such node")
				}
			}
			return nodes, nil
		})
		if err != nil {
			if tr.Root() != before {
				t.Fatal("a failed restore changed the tree")
			}
			return
		}
		if tr.Root() != sha256.Sum256(root) {
			t.Fatal("restored another root")
		}
		if tr.root != nil {
			if err := audit(tr.root, Key{}, 0); err != nil {
				t.Fatalf("restored what is not canonical: %v", err)
			}
		}
	})
}

// children returns the children of an inner node, or the leaf itself.
func (n *node) children() []*node {
	if n.kind != inner {
		return []*node{n}
	}
	var ks []*node
	for _, k := range n.kids {
		if k != nil {
			ks = append(ks, k)
		}
	}
	return ks
}
