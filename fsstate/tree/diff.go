package tree

import "bytes"

// Diff calls emit for every pair in which this snapshot differs from an earlier one of the same tree (nil: from the empty
// state), in key order; a nil value means the key is gone. Subtrees that the two share are not visited, so it costs what
// has changed between them. It stops at emit's first error and returns it.
func (s *Snapshot) Diff(since *Snapshot, emit func(k Key, val []byte) error) error {
	var before *node
	if since != nil {
		before = since.root.Load()
	}
	d := differ{emit: emit}
	return d.nodes(before, s.root.Load())
}

type differ struct {
	emit func(k Key, val []byte) error
}

// changed emits what became of a pair: a nil value stands for no pair, as no stored value is nil.
func (d *differ) changed(k Key, before, after []byte) error {
	if before != nil && after != nil && bytes.Equal(before, after) {
		return nil
	}
	return d.emit(k, after)
}

// nodes emits the difference between two subtrees, either of which may be nil.
func (d *differ) nodes(a, b *node) error {
	switch {
	case a == b || a.sameDigest(b):
		return nil
	case a == nil:
		return d.all(b, func(k Key, val []byte) error { return d.emit(k, val) })
	case b == nil:
		return d.all(a, func(k Key, _ []byte) error { return d.emit(k, nil) })
	case a.kind != inner:
		return d.leaf(a, b, func(k Key, leaf, other []byte) error { return d.changed(k, leaf, other) })
	case b.kind != inner:
		return d.leaf(b, a, func(k Key, leaf, other []byte) error { return d.changed(k, other, leaf) })
	}
	return d.inners(a, b)
}

func (n *node) sameDigest(m *node) bool {
	return n != nil && m != nil && n.state.Load() == hashed && m.state.Load() == hashed && n.digest == m.digest
}

// inners emits the difference between two inner nodes, whose prefixes may differ.
func (d *differ) inners(a, b *node) error {
	shared := min(a.key.common(b.key), int(a.depth), int(b.depth))
	aEnds, bEnds := shared == int(a.depth), shared == int(b.depth) // whose prefix holds all of the other's
	switch {
	case !aEnds && !bEnds: // disjoint
		if a.key.Compare(b.key) < 0 {
			if err := d.nodes(a, nil); err != nil {
				return err
			}
			return d.nodes(nil, b)
		}
		if err := d.nodes(nil, b); err != nil {
			return err
		}
		return d.nodes(a, nil)
	case aEnds && bEnds:
		for i := range 16 {
			if err := d.nodes(a.kids[i], b.kids[i]); err != nil {
				return err
			}
		}
	case aEnds: // all of b is below one digit of a
		for i := range 16 {
			var below *node
			if i == b.key.nibble(shared) {
				below = b
			}
			if err := d.nodes(a.kids[i], below); err != nil {
				return err
			}
		}
	default:
		for i := range 16 {
			var below *node
			if i == a.key.nibble(shared) {
				below = a
			}
			if err := d.nodes(below, b.kids[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaf merges the pairs of a leaf with those of any other subtree.
func (d *differ) leaf(leaf, other *node, emit func(k Key, leaf, other []byte) error) error {
	ps := leaf.appendPairs(nil)
	err := d.all(other, func(k Key, val []byte) error {
		for len(ps) > 0 && ps[0].key.Compare(k) < 0 {
			if err := emit(ps[0].key, ps[0].val, nil); err != nil {
				return err
			}
			ps = ps[1:]
		}
		if len(ps) > 0 && ps[0].key == k {
			p := ps[0]
			ps = ps[1:]
			return emit(k, p.val, val)
		}
		return emit(k, nil, val)
	})
	for _, p := range ps {
		if err != nil {
			return err
		}
		err = emit(p.key, p.val, nil)
	}
	return err
}

// all calls emit for every pair below n, in order.
func (d *differ) all(n *node, emit func(k Key, val []byte) error) error {
	var err error
	n.scan(Key{}, Key{}.last(0), func(k Key, val []byte) bool {
		err = emit(k, val)
		return err == nil
	})
	return err
}
