package tree

// Reader reads one state. Values alias the tree and must not be changed.
type Reader struct{ root *node }

// Get returns the value of k.
func (r Reader) Get(k Key) ([]byte, bool) {
	n := r.root
	for n != nil {
		switch n.kind {
		case single:
			if n.key != k {
				return nil, false
			}
			return n.data, true
		case bucket:
			at, found := seek(n.data, k)
			if !found {
				return nil, false
			}
			_, val, _ := pairAt(n.data, at)
			return val, true
		case inner:
			n = n.kids[k.nibble(int(n.depth))] // a key that parts above n differs from every key below as well
		}
	}
	return nil, false
}

// Scan calls yield for every pair from lo to hi, both included, in key order, until it returns false.
func (r Reader) Scan(lo, hi Key, yield func(k Key, val []byte) bool) {
	if r.root != nil && lo.Compare(hi) <= 0 {
		r.root.scan(lo, hi, yield)
	}
}

func (n *node) scan(lo, hi Key, yield func(Key, []byte) bool) bool {
	switch n.kind {
	case single:
		if lo.Compare(n.key) <= 0 && n.key.Compare(hi) <= 0 {
			return yield(n.key, n.data)
		}
		return true
	case bucket:
		at, _ := seek(n.data, lo)
		for at < len(n.data) {
			k, val, next := pairAt(n.data, at)
			if k.Compare(hi) > 0 {
				return false
			}
			if !yield(k, val) {
				return false
			}
			at = next
		}
		return true
	case inner:
	}
	depth := int(n.depth)
	first, last := n.key, n.key.last(depth)
	if last.Compare(lo) < 0 {
		return true
	}
	if first.Compare(hi) > 0 {
		return false
	}
	from, to := 0, 15
	if lo.Compare(first) > 0 {
		from = lo.nibble(depth)
	}
	if hi.Compare(last) < 0 {
		to = hi.nibble(depth)
	}
	for _, kid := range n.kids[from : to+1] {
		if kid != nil && !kid.scan(lo, hi, yield) {
			return false
		}
	}
	return true
}

// Len returns the number of pairs.
func (r Reader) Len() uint64 {
	if r.root == nil {
		return 0
	}
	return r.root.count
}

// Size returns the bytes of all encoded pairs.
func (r Reader) Size() uint64 {
	if r.root == nil {
		return 0
	}
	return r.root.size
}
