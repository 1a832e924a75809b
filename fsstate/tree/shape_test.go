package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
)

// TestLeafHoldsExactlyLeafMax lets the content of one leaf grow and shrink across its bound.
func TestLeafHoldsExactlyLeafMax(t *testing.T) {
	at := func(n int) map[Key][]byte { // two pairs of n bytes together, encoded
		rest := n - 2*pairHead - 100
		return map[Key][]byte{{Lo: 1}: make([]byte, 100), {Lo: 2}: make([]byte, rest)}
	}
	for _, n := range []int{leafMax - 1, leafMax, leafMax + 1} {
		want := rebuilt(at(n), 1)
		for name, start := range map[string]int{"grown": 400, "shrunk": leafMax + 500} {
			tr := New()
			for k, v := range at(start) {
				tr.Put(k, v)
			}
			for k, v := range at(n) {
				tr.Put(k, v)
			}
			if err := audit(tr.root, Key{}, 0); err != nil || tr.Root() != want {
				t.Errorf("%s to %d bytes: another tree than built at that size (%v)", name, n, err)
			}
		}
		tr := New()
		for k, v := range at(n) {
			tr.Put(k, v)
		}
		tr.Put(Key{Lo: 3}, make([]byte, 50))
		tr.Delete(Key{Lo: 3})
		if err := audit(tr.root, Key{}, 0); err != nil || tr.Root() != want {
			t.Errorf("after a pair came and went at %d bytes: another tree (%v)", n, err)
		}
	}
}

// TestRestoreRefusesWhatIsNotCanonical offers trees whose digests are right but whose shape is not the content's.
func TestRestoreRefusesWhatIsNotCanonical(t *testing.T) {
	leaf := func(ps ...pair) []byte {
		b := []byte{tagLeaf}
		for _, p := range ps {
			b = appendPair(b, p.key, p.val)
		}
		return b
	}
	inner := func(k Key, depth byte, present uint16, kids ...[]byte) []byte {
		b := binary.BigEndian.AppendUint16(k.Append([]byte{tagInner, depth}), present)
		for _, kid := range kids {
			d := sha256.Sum256(kid)
			b = append(b, d[:]...)
		}
		return b
	}
	small := func(lo uint64) pair { return pair{Key{Lo: lo}, []byte("v")} }
	large := func(lo uint64) pair { return pair{Key{Lo: lo}, make([]byte, ValueMax)} }
	long := leaf(large(1))
	long[1+KeyLen], long[1+KeyLen+1] = 0x10, 0x01 // one more byte than a page
	for name, nodes := range map[string][][]byte{
		"no node":                {{}},
		"unknown tag":            {{3, 0, 0}},
		"cut pair head":          {leaf(small(1))[:10]},
		"cut value":              {leaf(large(1))[:100]},
		"value longer than page": {append(long, 0)},
		"unsorted leaf":          {leaf(small(2), small(1))},
		"key twice":              {leaf(small(1), small(1))},
		"overfull leaf":          {leaf(large(1), large(2))},
		"one child":              {inner(Key{}, 31, 0x0002, leaf(large(1))), leaf(large(1))},
		"missing digest":         {inner(Key{}, 31, 0x0006, leaf(large(1))), leaf(large(1))},
		"depth beyond the key":   {inner(Key{}, 32, 0x0006, leaf(large(1)), leaf(large(2))), leaf(large(1)), leaf(large(2))},
		"digits after the depth": {inner(Key{Lo: 1}, 31, 0x0006, leaf(large(1)), leaf(large(2))), leaf(large(1)), leaf(large(2))},
		"too small to be split":  {inner(Key{}, 31, 0x0006, leaf(small(1)), leaf(small(2))), leaf(small(1)), leaf(small(2))},
		"child elsewhere":        {inner(Key{}, 31, 0x0006, leaf(large(1)), leaf(large(3))), leaf(large(1)), leaf(large(3))},
		"children swapped":       {inner(Key{}, 31, 0x0006, leaf(large(2)), leaf(large(1))), leaf(large(1)), leaf(large(2))},
		"empty child":            {inner(Key{}, 31, 0x0006, leaf(large(1)), leaf()), leaf(large(1)), leaf()},
	} {
		tr := New()
		tr.Put(Key{Hi: 9}, []byte("before"))
		before := tr.Root()
		err := restoreFrom(tr, sha256.Sum256(nodes[0]), func(ds []Digest) ([][]byte, error) {
			var got [][]byte
			for _, d := range ds {
				for _, n := range nodes {
					if sha256.Sum256(n) == d {
						got = append(got, n)
						break
					}
				}
			}
			return got, nil
		})
		if !errors.Is(err, errMalformed) && !errors.Is(err, errShape) {
			t.Errorf("%s: error %v", name, err)
		}
		if tr.Root() != before {
			t.Errorf("%s: the old content is gone", name)
		}
	}
	good := [][]byte{inner(Key{}, 31, 0x0006, leaf(large(1)), leaf(large(2))), leaf(large(1)), leaf(large(2))}
	tr := New()
	if err := restoreFrom(tr, sha256.Sum256(good[0]), func(ds []Digest) ([][]byte, error) {
		if ds[0] == sha256.Sum256(good[0]) {
			return good[:1], nil
		}
		return [][]byte{good[2], good[1]}, nil // in any order
	}); err != nil {
		t.Errorf("the same with nothing wrong: %v", err)
	}
}

// TestRollbackRefusesForeignSnapshots: nodes of another tree may carry an epoch that is the writer's.
func TestRollbackRefusesForeignSnapshots(t *testing.T) {
	refused := func(tr *Tree, s *Snapshot) (v any) {
		defer func() { v = recover() }()
		tr.Rollback(s)
		return nil
	}
	older, younger := New(), New()
	for range 5 {
		younger.Snapshot()
	}
	younger.Put(Key{}, []byte("v"))
	s := younger.Snapshot()
	if refused(older, s) == nil {
		t.Error("rolled back to another tree's snapshot")
	}
	if v := refused(younger.Successor(), s); v != nil {
		t.Errorf("a successor refuses its predecessor's snapshot: %v", v)
	}
	s.Release()
	if refused(younger, s) == nil {
		t.Error("rolled back to a released snapshot")
	}
}
