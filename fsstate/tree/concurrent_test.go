package tree

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestSnapshotsAreReadWhileTheWriterGoesOn hashes, exports, compares and releases snapshots on other goroutines while the
// writer changes its tree and takes roots of its own. The race detector watches.
func TestSnapshotsAreReadWhileTheWriterGoesOn(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	tr := New()
	value := make([]byte, 300)
	change := func() {
		for range 50 {
			k := Key{Hi: rnd.Uint64N(40), Lo: rnd.Uint64N(40)}
			binary.BigEndian.PutUint64(value, rnd.Uint64())
			if rnd.IntN(4) == 0 {
				tr.Delete(k)
			} else {
				tr.Put(k, value[:8+rnd.IntN(292)])
			}
		}
	}
	change()
	var all sync.WaitGroup
	before, beforeInUse := tr.Snapshot(), new(sync.WaitGroup)
	beforeInUse.Add(1)
	for range 60 {
		change()
		s, inUse := tr.Snapshot(), new(sync.WaitGroup)
		previous, previousInUse := before, beforeInUse
		before, beforeInUse = s, inUse
		roots := make(chan Digest, 3)
		inUse.Add(4) // by the three below, and by the next round's comparison
		for range 2 {
			all.Go(func() {
				defer inUse.Done()
				root := s.Root()
				roots <- root
				if _, ok := s.Node(root); !ok {
					t.Error("a snapshot does not have its own root")
				}
			})
		}
		all.Go(func() {
			defer inUse.Done()
			copied := New()
			_ = s.Diff(nil, func(k Key, v []byte) error {
				copied.Put(k, v)
				return nil
			})
			_ = s.Diff(previous, func(Key, []byte) error { return nil })
			previousInUse.Done()
			roots <- copied.Root()
			if a, b, c := <-roots, <-roots, <-roots; a != b || b != c {
				t.Errorf("roots %x, %x, %x", a[:4], b[:4], c[:4])
			}
		})
		all.Go(func() {
			previousInUse.Wait()
			previous.Release()
		})
		if rnd.IntN(3) == 0 {
			tr.Root()
		}
	}
	all.Wait()
}

// TestDistrustFindsAFlippedBit flips one bit of a page in memory, which no cached digest shows.
func TestDistrustFindsAFlippedBit(t *testing.T) {
	tr, peer := New(), New()
	for i := range uint64(200) {
		tr.Put(Key{Hi: 5, Lo: i}, make([]byte, ValueMax))
		peer.Put(Key{Hi: 5, Lo: i}, make([]byte, ValueMax))
	}
	good := peer.Snapshot()
	root := tr.Root()
	tr.Distrust()
	if tr.Root() != root {
		t.Fatal("nothing was wrong, yet the root changed")
	}
	page, _ := tr.Get(Key{Hi: 5, Lo: 77})
	page[99] ^= 4
	if tr.Root() != root {
		t.Fatal("the digests were not cached: nothing is tested")
	}
	tr.Distrust()
	if tr.Root() == root {
		t.Fatal("the flipped bit does not show")
	}
	fetched := 0
	if err := restoreFrom(tr, root, func(ds []Digest) ([][]byte, error) {
		var nodes [][]byte
		for _, d := range ds {
			n, _ := good.Node(d)
			nodes, fetched = append(nodes, n), fetched+1
		}
		return nodes, nil
	}); err != nil {
		t.Fatal(err)
	}
	if page, _ = tr.Get(Key{Hi: 5, Lo: 77}); page[99] != 0 || tr.Root() != root {
		t.Error("the page was not mended")
	}
	if fetched > 5 {
		t.Errorf("fetched %d nodes for one page", fetched)
	}
}
