package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"bfsd/replica"
	"bfsd/replica/wire"
)

// kvService is a small replicated key-value store, cheap enough to run thousands of clusters. Its state is a fixed number of
// leaves under one root: the first kvLeaves/2 hold values, the others the client table. Leaves are immutable, so a snapshot
// is an array of pointers, and a root hashes only the leaves that are new.
//
// Operations: "g KEY" reads, "s KEY VALUE" sets and returns the old value, "t" returns the agreed time. Others fail.
type kvService struct {
	leaves [kvLeaves]*kvLeaf
	time   int64
}

const kvLeaves = 16

// kvLeaf is a sorted list of pairs. Whoever changes it makes a new one.
type kvLeaf struct {
	pairs  []kvPair
	node   []byte      // its encoding, once somebody asked
	digest wire.Digest // of node
}

type kvPair struct {
	key   string
	value []byte
}

// kvSkewMax is how far a proposed time may be from the local clock, in nanoseconds.
const kvSkewMax = int64(1e9)

var _ replica.Service = (*kvService)(nil)

func newKV() replica.Service {
	s := &kvService{}
	for i := range s.leaves {
		s.leaves[i] = &kvLeaf{}
	}
	return s
}

// Propose implements replica.Service.
func (s *kvService) Propose(now int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(now))
}

// Check implements replica.Service.
func (s *kvService) Check(choice []byte, now int64) error {
	proposed, ok := timeOf(choice)
	if !ok {
		return fmt.Errorf("checking the proposed time: %d bytes, want 8", len(choice))
	}
	if d := proposed - now; d > kvSkewMax || d < -kvSkewMax {
		return fmt.Errorf("checking the proposed time: %d ns from the local clock", d)
	}
	return nil
}

// Execute implements replica.Service.
func (s *kvService) Execute(_ wire.ClientID, op, choice []byte) []byte {
	t, _ := timeOf(choice)
	s.setTime(max(t, s.time+1))
	verb, key, value := parseKV(op)
	switch verb {
	case 'g':
		return s.get(valueLeaf(key), key)
	case 's':
		old := s.get(valueLeaf(key), key)
		s.put(valueLeaf(key), key, value)
		return old
	case 't':
		return binary.BigEndian.AppendUint64(nil, uint64(s.time))
	}
	return []byte("no such operation")
}

// Query implements replica.Service.
func (s *kvService) Query(_ wire.ClientID, op []byte) ([]byte, bool) {
	verb, key, _ := parseKV(op)
	if verb != 'g' {
		return nil, false
	}
	return s.get(valueLeaf(key), key), true
}

// parseKV splits "VERB KEY VALUE"; what does not parse has verb 0.
func parseKV(op []byte) (verb byte, key string, value []byte) {
	if len(op) == 0 {
		return 0, "", nil
	}
	if len(op) == 1 {
		return op[0], "", nil
	}
	rest := op[2:]
	for i, b := range rest {
		if b == ' ' {
			return op[0], string(rest[:i]), rest[i+1:]
		}
	}
	return op[0], string(rest), nil
}

func valueLeaf(key string) int {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return int(h % (kvLeaves / 2))
}

func replyLeaf(c wire.ClientID, slot wire.Slot) int {
	return kvLeaves/2 + int((uint32(c)*31+uint32(slot))%(kvLeaves/2))
}

func replyKey(c wire.ClientID, slot wire.Slot) string {
	return string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(c)), uint32(slot)))
}

func (s *kvService) get(leaf int, key string) []byte {
	l := s.leaves[leaf]
	if i, ok := l.find(key); ok {
		return l.pairs[i].value
	}
	return nil
}

func (s *kvService) put(leaf int, key string, value []byte) {
	l := s.leaves[leaf]
	i, found := l.find(key)
	fresh := &kvLeaf{pairs: make([]kvPair, 0, len(l.pairs)+1)}
	fresh.pairs = append(fresh.pairs, l.pairs[:i]...)
	fresh.pairs = append(fresh.pairs, kvPair{key, slices.Clone(value)})
	if found {
		i++
	}
	fresh.pairs = append(fresh.pairs, l.pairs[i:]...)
	s.leaves[leaf] = fresh
}

func (l *kvLeaf) find(key string) (int, bool) {
	return slices.BinarySearchFunc(l.pairs, key, func(p kvPair, key string) int {
		switch {
		case p.key < key:
			return -1
		case p.key > key:
			return 1
		}
		return 0
	})
}

// The time is replicated state as well; it is kept under a key that no operation reaches.
const timeKey = ""

func (s *kvService) setTime(t int64) {
	s.time = t
	s.put(0, timeKey, binary.BigEndian.AppendUint64(nil, uint64(t)))
}

func (s *kvService) readTime() { s.time, _ = timeOf(s.get(0, timeKey)) }

// SetReply implements replica.Service.
func (s *kvService) SetReply(c wire.ClientID, slot wire.Slot, number uint64, result []byte) {
	s.put(replyLeaf(c, slot), replyKey(c, slot), append(binary.BigEndian.AppendUint64(nil, number), result...))
}

// Replies implements replica.Service.
func (s *kvService) Replies(yield func(c wire.ClientID, slot wire.Slot, number uint64, result []byte) bool) {
	var all []kvPair
	for _, l := range s.leaves[kvLeaves/2:] {
		all = append(all, l.pairs...)
	}
	slices.SortFunc(all, func(a, b kvPair) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	for _, p := range all {
		k := []byte(p.key)
		if !yield(wire.ClientID(binary.BigEndian.Uint32(k)), wire.Slot(binary.BigEndian.Uint32(k[4:])), binary.BigEndian.Uint64(p.value), p.value[8:]) {
			return
		}
	}
}

// Load implements replica.Service.
func (s *kvService) Load(pairs func(yield func(key, value []byte) error) error) error {
	fresh := newKV().(*kvService)
	err := pairs(func(key, value []byte) error {
		if len(key) == 0 || key[0] >= kvLeaves {
			return fmt.Errorf("loading a pair: no leaf has key %x", key)
		}
		fresh.put(int(key[0]), string(key[1:]), value)
		return nil
	})
	if err != nil {
		return err
	}
	return s.become(fresh)
}

// become takes over another's content, if it is sound.
func (s *kvService) become(fresh *kvService) error {
	for _, l := range fresh.leaves[kvLeaves/2:] {
		for _, p := range l.pairs {
			if len(p.key) != 8 || len(p.value) < 8 {
				return errors.New("the state holds a malformed reply")
			}
		}
	}
	s.leaves = fresh.leaves
	s.readTime()
	return nil
}

// Snapshot implements replica.Service.
func (s *kvService) Snapshot() replica.Snapshot { return &kvSnapshot{leaves: s.leaves} }

// Rollback implements replica.Service.
func (s *kvService) Rollback(to replica.Snapshot) {
	s.leaves = to.(*kvSnapshot).leaves
	s.readTime()
}

// Restore implements replica.Service.
func (s *kvService) Restore(root wire.Digest, fetch replica.Fetch, _ func(uint64), each func(key, value []byte) error) error {
	nodes, err := fetch.All([]wire.Digest{root})
	if err != nil {
		return err
	}
	if wire.Digest(sha256.Sum256(nodes[0])) != root || len(nodes[0]) != kvLeaves*len(wire.Digest{}) {
		return errors.New("the root node is not the one asked for")
	}
	fresh := &kvService{leaves: s.leaves}
	var lack []wire.Digest
	var at []int
	for i := range fresh.leaves {
		if want := wire.Digest(nodes[0][i*32:]); fresh.leaves[i].sum() != want && !slices.Contains(lack, want) {
			lack = append(lack, want)
		}
		at = append(at, slices.Index(lack, wire.Digest(nodes[0][i*32:])))
	}
	if len(lack) > 0 {
		if nodes, err = fetch.All(lack); err != nil {
			return err
		}
	}
	for i, k := range at {
		if k < 0 {
			continue
		}
		if fresh.leaves[i], err = parseLeaf(nodes[k]); err != nil {
			return err
		}
		if fresh.leaves[i].sum() != lack[k] {
			return errors.New("a leaf is not the one asked for")
		}
	}
	if err := s.become(fresh); err != nil || each == nil {
		return err
	}
	return s.Snapshot().Diff(nil, each)
}

// encode gives the bytes of a leaf: pairs, each length 4 bytes big-endian.
func (l *kvLeaf) encode() []byte {
	if l.node == nil {
		b := []byte{0}
		for _, p := range l.pairs {
			b = binary.BigEndian.AppendUint32(b, uint32(len(p.key)))
			b = append(b, p.key...)
			b = binary.BigEndian.AppendUint32(b, uint32(len(p.value)))
			b = append(b, p.value...)
		}
		l.node, l.digest = b, sha256.Sum256(b)
	}
	return l.node
}

func (l *kvLeaf) sum() wire.Digest {
	l.encode()
	return l.digest
}

func parseLeaf(b []byte) (*kvLeaf, error) {
	malformed := errors.New("a leaf is malformed")
	if len(b) == 0 {
		return nil, malformed
	}
	l := &kvLeaf{}
	b = b[1:]
	field := func() ([]byte, bool) {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, false
		}
		size := binary.BigEndian.Uint32(b)
		f := b[4 : 4+size]
		b = b[4+size:]
		return f, true
	}
	for len(b) > 0 {
		key, ok := field()
		if !ok {
			return nil, malformed
		}
		value, ok := field()
		if !ok {
			return nil, malformed
		}
		l.pairs = append(l.pairs, kvPair{string(key), value})
	}
	return l, nil
}

// kvSnapshot is a frozen kvService.
type kvSnapshot struct {
	leaves [kvLeaves]*kvLeaf
	node   []byte
	root   wire.Digest
}

// Root implements replica.Snapshot.
func (k *kvSnapshot) Root() wire.Digest {
	if k.node == nil {
		k.node = make([]byte, 0, kvLeaves*len(wire.Digest{}))
		for _, l := range k.leaves {
			d := l.sum()
			k.node = append(k.node, d[:]...)
		}
		k.root = sha256.Sum256(k.node)
	}
	return k.root
}

// Node implements replica.Snapshot.
func (k *kvSnapshot) Node(d wire.Digest) ([]byte, bool) {
	if k.Root() == d {
		return k.node, true
	}
	for _, l := range k.leaves {
		if l.sum() == d {
			return l.encode(), true
		}
	}
	return nil, false
}

// Size implements replica.Snapshot.
func (k *kvSnapshot) Size() uint64 { return kvLeaves * uint64(len(wire.Digest{})) }

// Diff implements replica.Snapshot.
func (k *kvSnapshot) Diff(since replica.Snapshot, emit func(key, value []byte) error) error {
	var old kvSnapshot
	if since != nil {
		old = *since.(*kvSnapshot)
	}
	for i, l := range k.leaves {
		if l == old.leaves[i] {
			continue
		}
		for _, p := range l.pairs {
			if err := emit(append([]byte{byte(i)}, p.key...), p.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// Release implements replica.Snapshot: the garbage collector does it.
func (k *kvSnapshot) Release() {}
