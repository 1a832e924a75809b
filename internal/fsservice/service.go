// Package fsservice joins the two halves that must not know each other: it makes an fsstate.FS a replica.Service. What
// is not deterministic about a file system is the time, so a batch's choice is a time: the primary proposes its clock,
// a backup vetoes one too far from its own, and the state makes sure that it never goes back (TOCS §4.6).
package fsservice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"bfsd/fsstate"
	"bfsd/replica"
	"bfsd/replica/wire"
)

// Service is a replicated file system.
type Service struct {
	fs      *fsstate.FS
	maxSkew time.Duration
}

var _ replica.KeyedService = (*Service)(nil)

// New makes fs a replicated service, which owns fs from here on. maxSkew is how far the primary's proposed time may be
// from a backup's clock before the backup refuses it: by how much a lying primary can shift timestamps, and how badly
// clocks may be set before the group changes primaries.
func New(fs *fsstate.FS, maxSkew time.Duration) *Service { return &Service{fs, maxSkew} }

// Propose implements replica.Service: the choice is now, as 8 bytes, big-endian.
func (s *Service) Propose(now int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(now))
}

// Check implements replica.Service.
func (s *Service) Check(choice []byte, now int64) error {
	if len(choice) != 8 {
		return fmt.Errorf("checking the proposed time: %d bytes, want 8", len(choice))
	}
	proposed := int64(binary.BigEndian.Uint64(choice))
	if skew := time.Duration(proposed - now); proposed < 0 || skew > s.maxSkew || skew < -s.maxSkew {
		return fmt.Errorf("checking the proposed time %d: %v from the local clock, at most %v allowed; set the machines' clocks (NTP)", proposed, skew, s.maxSkew)
	}
	return nil
}

// Execute implements replica.Service. A choice that is not a time can only be the empty one of a null request, which
// the protocol makes by itself in a view change; the state then takes the next time after its last.
func (s *Service) Execute(c wire.ClientID, op, choice []byte) []byte {
	var now fsstate.Time
	if len(choice) == 8 {
		now = fsstate.Time(binary.BigEndian.Uint64(choice))
	}
	return s.fs.ExecuteFrom(fsstate.FrontEnd(c), op, now)
}

// Query implements replica.Service.
func (s *Service) Query(c wire.ClientID, op []byte) ([]byte, bool) {
	return s.fs.QueryFrom(fsstate.FrontEnd(c), op)
}

// SetReply implements replica.Service.
func (s *Service) SetReply(c wire.ClientID, slot wire.Slot, number uint64, result []byte) {
	s.fs.SetSession(uint32(c), uint32(slot), number, result)
}

// Replies implements replica.Service.
func (s *Service) Replies(yield func(c wire.ClientID, slot wire.Slot, number uint64, result []byte) bool) {
	s.fs.Sessions(func(c, slot uint32, number uint64, result []byte) bool {
		return yield(wire.ClientID(c), wire.Slot(slot), number, result)
	})
}

// Load implements replica.Service.
func (s *Service) Load(pairs func(yield func(key, value []byte) error) error) error {
	var readErr error
	err := s.fs.Load(func(yield func(key, value []byte) bool) {
		stopped := errors.New("the file system wants no more")
		readErr = pairs(func(key, value []byte) error {
			if !yield(key, value) {
				return stopped
			}
			return nil
		})
		if errors.Is(readErr, stopped) {
			readErr = nil
		}
	})
	return errors.Join(readErr, err)
}

// Snapshot implements replica.Service.
func (s *Service) Snapshot() replica.Snapshot { return snapshot{s.fs.Snapshot()} }

// Rollback implements replica.Service.
func (s *Service) Rollback(to replica.Snapshot) { s.fs.Rollback(to.(snapshot).s) }

// Restore implements replica.Service.
func (s *Service) Restore(root wire.Digest, fetch replica.Fetch, kept func(bytes uint64), each func(key, value []byte) error) error {
	var wanted []wire.Digest
	var nodes []fsstate.Node
	return s.fs.Restore(root, func(more [][32]byte) ([]fsstate.Node, error) {
		wanted, nodes = wanted[:0], nodes[:0]
		for _, d := range more {
			wanted = append(wanted, d)
		}
		got, err := fetch(wanted)
		for _, n := range got {
			nodes = append(nodes, fsstate.Node{Digest: n.Digest, Encoding: n.Encoding})
		}
		return nodes, err
	}, kept, each)
}

// snapshot is fsstate's snapshot under replica's types.
type snapshot struct{ s *fsstate.Snapshot }

func (s snapshot) Root() wire.Digest                 { return s.s.Root() }
func (s snapshot) Node(d wire.Digest) ([]byte, bool) { return s.s.Node(d) }
func (s snapshot) Size() uint64                      { return s.s.Size() }
func (s snapshot) Release()                          { s.s.Release() }
func (s snapshot) Diff(since replica.Snapshot, emit func(key, value []byte) error) error {
	var from *fsstate.Snapshot
	if since != nil {
		from = since.(snapshot).s
	}
	return s.s.Diff(from, emit)
}
