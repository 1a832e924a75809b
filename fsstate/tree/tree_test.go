package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// keys draws keys that collide in prefixes at many depths.
func keys() *rapid.Generator[Key] {
	part := rapid.OneOf(
		rapid.Uint64Range(0, 3),
		rapid.Uint64Range(0, 300),
		rapid.SampledFrom([]uint64{1 << 63, 1<<63 + 1, 1 << 32, 1<<40 + 7, ^uint64(0)}),
		rapid.Uint64(),
	)
	return rapid.Custom(func(t *rapid.T) Key { return Key{part.Draw(t, "hi"), part.Draw(t, "lo")} })
}

// filled is a value that prints shortly: n times b.
type filled struct {
	n int
	b byte
}

func (f filled) bytes() []byte { return bytes.Repeat([]byte{f.b}, f.n) }

// values draws values of the lengths at which shapes change.
func values() *rapid.Generator[filled] {
	return rapid.Custom(func(t *rapid.T) filled {
		n := rapid.OneOf(
			rapid.IntRange(0, 40),
			rapid.IntRange(0, ValueMax),
			rapid.SampledFrom([]int{0, leafMax - pairHead, leafMax - pairHead + 1, ValueMax}),
		).Draw(t, "len")
		return filled{n, rapid.Byte().Draw(t, "byte")}
	})
}

// rebuilt returns the root of a tree that was given the content of m alone, in an order of its own.
func rebuilt(m map[Key][]byte, seed uint64) Digest {
	t := New()
	ks := slices.SortedFunc(maps.Keys(m), Key.Compare)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(ks), func(i, j int) { ks[i], ks[j] = ks[j], ks[i] })
	for _, k := range ks {
		t.Put(k, m[k])
	}
	return t.Root()
}

// audit verifies every rule of the package comment below n.
func audit(n *node, prefix Key, digits int) error {
	ps := n.appendPairs(nil)
	var size uint64
	for i, p := range ps {
		size += pairSize(p.val)
		if p.key.first(digits) != prefix {
			return fmt.Errorf("key %x is not below %x/%d", p.key, prefix, digits)
		}
		if i > 0 && ps[i-1].key.Compare(p.key) >= 0 {
			return fmt.Errorf("keys %x and %x out of order", ps[i-1].key, p.key)
		}
	}
	if n.count != uint64(len(ps)) || n.size != size {
		return fmt.Errorf("counts %d pairs of %d bytes, holds %d of %d", n.count, n.size, len(ps), size)
	}
	switch {
	case len(ps) == 0:
		return errors.New("a node without pairs")
	case (n.kind == single) != (len(ps) == 1):
		return fmt.Errorf("kind %d with %d pairs", n.kind, len(ps))
	case len(ps) > 1 && (n.kind == bucket) != (size <= leafMax):
		return fmt.Errorf("kind %d with %d bytes", n.kind, size)
	}
	if n.kind != inner {
		return nil
	}
	if depth := ps[0].key.common(ps[len(ps)-1].key); depth != int(n.depth) || n.key != ps[0].key.first(depth) {
		return fmt.Errorf("inner node at %x/%d, should be at depth %d", n.key, n.depth, depth)
	}
	for i, kid := range n.kids {
		if kid == nil {
			continue
		}
		if kid.epoch > n.epoch {
			return fmt.Errorf("child of epoch %d below epoch %d", kid.epoch, n.epoch)
		}
		if err := audit(kid, n.key.child(int(n.depth), i), int(n.depth)+1); err != nil {
			return err
		}
	}
	return nil
}

func contents(r Reader) map[Key][]byte {
	m := map[Key][]byte{}
	r.Scan(Key{}, Key{^uint64(0), ^uint64(0)}, func(k Key, v []byte) bool {
		m[k] = bytes.Clone(v)
		return true
	})
	return m
}

func equal(a, b map[Key][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// frozen is a snapshot with what it must hold for ever.
type frozen struct {
	snap *Snapshot
	want map[Key][]byte
	root Digest
}

// TestTreeBehavesAsAMap drives a tree and a plain map through the same random history, with snapshots, rollbacks and
// roots taken anywhere in it.
func TestTreeBehavesAsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr, model := New(), map[Key][]byte{}
		var snaps []frozen
		key := rapid.OneOf(keys(), rapid.Custom(func(t *rapid.T) Key {
			ks := slices.SortedFunc(maps.Keys(model), Key.Compare)
			if len(ks) == 0 {
				return keys().Draw(t, "new")
			}
			return rapid.SampledFrom(ks).Draw(t, "existing")
		}))
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), values().Draw(t, "value").bytes()
				tr.Put(k, v)
				model[k] = v
			},
			"put run": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), values().Draw(t, "value").bytes()
				for i := range rapid.Uint64Range(1, 40).Draw(t, "n") {
					l := Key{k.Hi, k.Lo + i}
					tr.Put(l, v)
					model[l] = v
				}
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				_, had := model[k]
				delete(model, k)
				if tr.Delete(k) != had {
					t.Fatalf("Delete(%x) = %v", k, !had)
				}
			},
			"delete range": func(t *rapid.T) {
				lo, hi := key.Draw(t, "lo"), key.Draw(t, "hi")
				before := len(model)
				maps.DeleteFunc(model, func(k Key, _ []byte) bool { return lo.Compare(k) <= 0 && k.Compare(hi) <= 0 })
				if n := tr.DeleteRange(lo, hi); n != uint64(before-len(model)) {
					t.Fatalf("DeleteRange removed %d, want %d", n, before-len(model))
				}
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				want, had := model[k]
				if v, ok := tr.Get(k); ok != had || !bytes.Equal(v, want) {
					t.Fatalf("Get(%x) = %d bytes, %v; want %d, %v", k, len(v), ok, len(want), had)
				}
			},
			"scan": func(t *rapid.T) {
				lo, hi := key.Draw(t, "lo"), key.Draw(t, "hi")
				limit := rapid.IntRange(1, 20).Draw(t, "limit")
				var got, want []Key
				tr.Reader().Scan(lo, hi, func(k Key, v []byte) bool {
					got = append(got, k)
					if !bytes.Equal(v, model[k]) {
						t.Fatalf("scan gave another value for %x", k)
					}
					return len(got) < limit
				})
				for _, k := range slices.SortedFunc(maps.Keys(model), Key.Compare) {
					if lo.Compare(k) <= 0 && k.Compare(hi) <= 0 && len(want) < limit {
						want = append(want, k)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("scan gave %x, want %x", got, want)
				}
			},
			"snapshot": func(t *rapid.T) {
				f := frozen{snap: tr.Snapshot(), want: maps.Clone(model), root: rebuilt(model, 7)}
				if rapid.Bool().Draw(t, "hash now") && f.snap.Root() != f.root {
					t.Fatal("root of a snapshot depends on its history")
				}
				snaps = append(snaps, f)
			},
			"rollback": func(t *rapid.T) {
				if len(snaps) == 0 {
					return
				}
				f := snaps[rapid.IntRange(0, len(snaps)-1).Draw(t, "snapshot")]
				tr.Rollback(f.snap)
				model = maps.Clone(f.want)
			},
			"fork": func(t *rapid.T) {
				if len(snaps) == 0 {
					return
				}
				f := snaps[rapid.IntRange(0, len(snaps)-1).Draw(t, "snapshot")]
				fork, want := f.snap.Fork(), maps.Clone(f.want)
				for range rapid.IntRange(0, 5).Draw(t, "changes") {
					k, v := key.Draw(t, "key"), values().Draw(t, "value").bytes()
					fork.Put(k, v)
					want[k] = v
				}
				s := fork.Snapshot()
				fork.DeleteRange(Key{}, Key{}.last(0))
				if !equal(contents(s.Reader()), want) || s.Root() != rebuilt(want, 11) {
					t.Fatal("a fork is not its snapshot with the changes made to it")
				}
			},
			"root": func(t *rapid.T) {
				if tr.Root() != rebuilt(model, 3) {
					t.Fatal("root depends on the history")
				}
			},
			"": func(t *rapid.T) {
				if tr.root != nil {
					if err := audit(tr.root, Key{}, 0); err != nil {
						t.Fatal(err)
					}
				}
				if tr.Reader().Len() != uint64(len(model)) {
					t.Fatalf("Len = %d, want %d", tr.Reader().Len(), len(model))
				}
			},
		})
		if !equal(contents(tr.Reader()), model) {
			t.Fatal("contents differ from the map's")
		}
		checkSnapshots(t, append(snaps, frozen{tr.Snapshot(), model, rebuilt(model, 5)}))
	})
}

// checkSnapshots verifies that every snapshot is what it was, that the differences between any two lead from one to the
// other, and that each can be restored on top of another.
func checkSnapshots(t *rapid.T, snaps []frozen) {
	for _, f := range snaps {
		if !equal(contents(f.snap.Reader()), f.want) {
			t.Fatal("a snapshot changed")
		}
	}
	which := rapid.IntRange(0, len(snaps)-1)
	a, b := snaps[which.Draw(t, "from")], snaps[which.Draw(t, "to")]
	got := maps.Clone(a.want)
	var last *Key
	if err := b.snap.Diff(a.snap, func(k Key, v []byte) error {
		if last != nil && last.Compare(k) >= 0 {
			t.Fatalf("difference out of order: %x after %x", k, *last)
		}
		last = &k
		if v == nil {
			if _, had := got[k]; !had {
				t.Fatalf("%x is gone but never was", k)
			}
			delete(got, k)
			return nil
		}
		if old, had := got[k]; had && bytes.Equal(old, v) {
			t.Fatalf("%x did not change", k)
		}
		got[k] = bytes.Clone(v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !equal(got, b.want) {
		t.Fatal("the differences do not lead from one snapshot to the other")
	}
	for _, f := range snaps {
		if f.snap.Root() != f.root {
			t.Fatal("root of a snapshot depends on its history")
		}
	}
	restore(t, a, b)
}

// restoreFrom restores a tree from who knows all nodes, but gives half of those that are asked for at a time, in any order; and
// looks whether all pairs are told, in order.
func restoreFrom(tr *Tree, root Digest, source func([]Digest) ([][]byte, error)) error {
	var owed []Node
	rng := rand.New(rand.NewPCG(1, 2))
	var told []pair
	err := tr.Restore(root, func(more []Digest) ([]Node, error) {
		var got [][]byte
		var err error
		if len(more) > 0 {
			got, err = source(more)
		}
		for _, n := range got {
			owed = append(owed, Node{sha256.Sum256(n), n})
		}
		rng.Shuffle(len(owed), func(i, j int) { owed[i], owed[j] = owed[j], owed[i] })
		nodes := owed[:(len(owed)+1)/2]
		owed = owed[len(nodes):]
		return nodes, err
	}, func(uint64) {}, func(k Key, val []byte) error {
		told = append(told, pair{k, val})
		return nil
	})
	if err != nil {
		return err
	}
	_ = tr.Snapshot().Diff(nil, func(k Key, val []byte) error {
		if len(told) == 0 || told[0].key != k || !bytes.Equal(told[0].val, val) {
			err = fmt.Errorf("the pair of %v was not told in its turn, but %v", k, told[:min(1, len(told))])
			return err
		}
		told = told[1:]
		return nil
	})
	if err == nil && len(told) > 0 {
		err = fmt.Errorf("%d pairs were told that there are not", len(told))
	}
	return err
}

func restore(t *rapid.T, a, b frozen) {
	tr := New()
	for k, v := range a.want {
		tr.Put(k, v)
	}
	tr.Root()
	fetched := 0
	if rapid.Bool().Draw(t, "distrust") {
		tr.Distrust()
	}
	if err := restoreFrom(tr, b.root, func(ds []Digest) ([][]byte, error) {
		var nodes [][]byte
		for _, d := range ds {
			fetched++
			n, ok := b.snap.Node(d)
			if !ok {
				return nil, errors.New("the source does not have it")
			}
			nodes = append(nodes, n)
		}
		return nodes, nil
	}); err != nil {
		t.Fatal(err)
	}
	if tr.Root() != b.root || !equal(contents(tr.Reader()), b.want) {
		t.Fatal("restored something else")
	}
	if tr.root != nil {
		if err := audit(tr.root, Key{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if a.root == b.root && fetched != 0 {
		t.Fatalf("fetched %d nodes it had", fetched)
	}
	tr.Put(Key{1, 1}, []byte("on"))
	want := maps.Clone(b.want)
	want[Key{1, 1}] = []byte("on")
	if tr.Root() != rebuilt(want, 9) {
		t.Fatal("a restored tree does not go on as any other")
	}
}

// TestNodesAreFoundInAnyOrder asks for the nodes of one snapshot from the leaves upwards.
func TestNodesAreFoundInAnyOrder(t *testing.T) {
	tr := New()
	for i := range uint64(500) {
		tr.Put(Key{Hi: i % 7, Lo: i}, make([]byte, i))
	}
	s := tr.Snapshot()
	var digests []Digest
	fresh := New()
	if err := restoreFrom(fresh, s.Root(), func(ds []Digest) ([][]byte, error) {
		var nodes [][]byte
		for _, d := range ds {
			n, _ := s.Node(d)
			nodes = append(nodes, n)
		}
		digests = append(digests, ds...)
		return nodes, nil
	}); err != nil {
		t.Fatal(err)
	}
	again := tr.Snapshot()
	for _, d := range slices.Backward(digests) {
		want, _ := s.Node(d)
		if got, ok := again.Node(d); !ok || !bytes.Equal(got, want) || sha256.Sum256(got) != d {
			t.Fatalf("node %x: found %v", d[:4], ok)
		}
	}
	if _, ok := again.Node(Digest{1}); ok {
		t.Error("found a node that there is not")
	}
	again.Release()
	if _, ok := again.Node(digests[0]); ok {
		t.Error("a released snapshot still gives nodes")
	}
}

func TestReleaseFreesMemory(t *testing.T) {
	tr := New()
	page := make([]byte, ValueMax)
	fill := func() {
		for i := range uint64(2000) { // 8 MB
			page[0]++
			tr.Put(Key{Lo: i}, page)
		}
	}
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	fill()
	empty := used()
	var snaps []*Snapshot
	for range 5 {
		snaps = append(snaps, tr.Snapshot())
		fill()
	}
	if full := used(); full < empty+30<<20 {
		t.Fatalf("five snapshots of 8 MB each hold %d bytes: they share what has changed", full-empty)
	}
	for _, s := range snaps {
		s.Release()
	}
	if after := used(); after > empty+2<<20 {
		t.Errorf("%d bytes are still held", after-empty)
	}
	runtime.KeepAlive(tr)
}
