package tree

// Delete removes k and reports whether it was there.
func (t *Tree) Delete(k Key) bool { return t.DeleteRange(k, k) == 1 }

// DeleteRange removes every key from lo to hi, both included, and returns how many there were. It costs what the edges of
// the range cost, not what is inside.
func (t *Tree) DeleteRange(lo, hi Key) uint64 {
	if t.root == nil || lo.Compare(hi) > 0 {
		return 0
	}
	before := t.root.count
	t.root = t.cut(t.root, lo, hi)
	if t.root == nil {
		return before
	}
	return before - t.root.count
}

// cut returns n without the keys from lo to hi; n itself if it has none of them.
func (t *Tree) cut(n *node, lo, hi Key) *node {
	switch n.kind {
	case single:
		if lo.Compare(n.key) <= 0 && n.key.Compare(hi) <= 0 {
			return nil
		}
		return n
	case bucket:
		return t.cutBucket(n, lo, hi)
	case inner:
	}
	depth := int(n.depth)
	first, last := n.key, n.key.last(depth)
	if last.Compare(lo) < 0 || first.Compare(hi) > 0 {
		return n
	}
	if lo.Compare(first) <= 0 && last.Compare(hi) <= 0 {
		return nil
	}
	from, to := 0, 15
	if lo.Compare(first) > 0 {
		from = lo.nibble(depth)
	}
	if hi.Compare(last) < 0 {
		to = hi.nibble(depth)
	}
	changed := false
	for i := from; i <= to; i++ {
		kid := n.kids[i]
		if kid == nil {
			continue
		}
		size, count := kid.size, kid.count
		after := t.cut(kid, lo, hi)
		if after != nil && after.count == count {
			continue
		}
		n = t.ownInner(n)
		changed = true
		n.kids[i] = after
		n.size, n.count = n.size-size, n.count-count
		if after != nil {
			n.size, n.count = n.size+after.size, n.count+after.count
		}
	}
	if !changed {
		return n
	}
	return t.settle(n)
}

func (t *Tree) cutBucket(n *node, lo, hi Key) *node {
	from, _ := seek(n.data, lo)
	to, gone := from, uint64(0)
	for to < len(n.data) {
		k, _, next := pairAt(n.data, to)
		if k.Compare(hi) > 0 {
			break
		}
		to, gone = next, gone+1
	}
	switch n.count - gone {
	case n.count:
		return n
	case 0:
		return nil
	case 1:
		at := 0
		if from == 0 {
			at = to
		}
		k, val, _ := pairAt(n.data, at)
		return newSingle(t.epoch, k, val)
	}
	size := n.size - uint64(to-from)
	if !t.own(n) {
		data := append(bytesFor(int(size)), n.data[:from]...)
		return &node{kind: bucket, epoch: t.epoch, count: n.count - gone, size: size, data: append(data, n.data[to:]...)}
	}
	n.data = append(n.data[:from], n.data[to:]...)
	n.size, n.count = size, n.count-gone
	return n
}
