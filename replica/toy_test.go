package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"bfsd/replica/wire"
)

// toyService is a small deterministic service: operations are strings, the state is the list of those executed and the
// reply table. The operation "?" reads how many there are, "null" does nothing. Its tree is one node.
type toyService struct {
	ops     []string
	replies map[toySlot]toyReply
}

type toySlot struct {
	client wire.ClientID
	slot   wire.Slot
}

type toyReply struct {
	number uint64
	result []byte
}

func newToyService() *toyService { return &toyService{replies: map[toySlot]toyReply{}} }

func (s *toyService) Propose(now int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(now))
}

func (s *toyService) Check(choice []byte, _ int64) error {
	if len(choice) != 8 {
		return errors.New("a choice is 8 bytes")
	}
	return nil
}

func (s *toyService) Execute(_ wire.ClientID, op, _ []byte) []byte {
	switch string(op) {
	case "?":
		return fmt.Append(nil, len(s.ops))
	case "null":
		return nil
	}
	if len(op) >= 4096 { // for benchmarks: an argument that is not kept
		return nil
	}
	s.ops = append(s.ops[:len(s.ops):len(s.ops)], string(op))
	return fmt.Appendf(nil, "%d: %s", len(s.ops), op)
}

func (s *toyService) Query(_ wire.ClientID, op []byte) ([]byte, bool) {
	if string(op) != "?" {
		return nil, false
	}
	return fmt.Append(nil, len(s.ops)), true
}

func (s *toyService) SetReply(c wire.ClientID, slot wire.Slot, number uint64, result []byte) {
	s.replies[toySlot{c, slot}] = toyReply{number, result}
}

func (s *toyService) Replies(yield func(wire.ClientID, wire.Slot, uint64, []byte) bool) {
	for _, key := range slices.SortedFunc(maps.Keys(s.replies), func(a, b toySlot) int {
		return bytes.Compare(fmt.Appendf(nil, "%08x%08x", a.client, a.slot), fmt.Appendf(nil, "%08x%08x", b.client, b.slot))
	}) {
		if r := s.replies[key]; !yield(key.client, key.slot, r.number, r.result) {
			return
		}
	}
}

func (s *toyService) Snapshot() Snapshot {
	return &toySnapshot{ops: s.ops, replies: maps.Clone(s.replies)}
}

func (s *toyService) Rollback(to Snapshot) {
	t := to.(*toySnapshot)
	s.ops, s.replies = t.ops, maps.Clone(t.replies)
}

func (s *toyService) Restore(root wire.Digest, fetch Fetch, _ func(uint64), each func(key, value []byte) error) error {
	nodes, err := fetch.All([]wire.Digest{root})
	if err != nil {
		return err
	}
	if wire.ResultDigest(nodes[0]) != root {
		return errors.New("the node does not match the root")
	}
	if err := s.decode(nodes[0]); err != nil || each == nil {
		return err
	}
	return s.Snapshot().Diff(nil, each)
}

func (s *toyService) Load(pairs func(func(key, value []byte) error) error) error {
	return pairs(func(_, value []byte) error { return s.decode(value) })
}

func (s *toyService) decode(node []byte) error {
	fresh := newToyService()
	for line := range bytes.Lines(node) {
		var key toySlot
		var r toyReply
		line = bytes.TrimSuffix(line, []byte("\n"))
		if op, ok := bytes.CutPrefix(line, []byte("op ")); ok {
			fresh.ops = append(fresh.ops, string(op))
		} else if _, err := fmt.Sscanf(string(line), "reply %d %d %d %x", &key.client, &key.slot, &r.number, &r.result); err == nil {
			fresh.replies[key] = r
		} else {
			return fmt.Errorf("line %q of the state: %w", line, err)
		}
	}
	*s = *fresh
	return nil
}

type toySnapshot struct {
	ops     []string
	replies map[toySlot]toyReply
}

func (t *toySnapshot) encode() []byte {
	var b []byte
	for _, op := range t.ops {
		b = fmt.Appendf(b, "op %s\n", op)
	}
	s := &toyService{ops: t.ops, replies: t.replies}
	s.Replies(func(c wire.ClientID, slot wire.Slot, number uint64, result []byte) bool {
		b = fmt.Appendf(b, "reply %d %d %d %x\n", c, slot, number, result)
		return true
	})
	return b
}

func (t *toySnapshot) Root() wire.Digest { return wire.ResultDigest(t.encode()) }

func (t *toySnapshot) Node(d wire.Digest) ([]byte, bool) { return t.encode(), d == t.Root() }

func (t *toySnapshot) Size() uint64 { return uint64(len(t.encode())) }

func (t *toySnapshot) Diff(_ Snapshot, emit func(key, value []byte) error) error {
	return emit([]byte("state"), t.encode())
}

func (t *toySnapshot) Release() {}
