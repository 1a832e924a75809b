package replica

import (
	"slices"
	"sync"

	"bfsd/replica/wire"
)

// snapshots keeps the frozen states that something may still need: those that undo tentative executions, those whose
// checkpoint is not stable yet, and the last stable ones, from which peers restore.
//
// The loop owns the first two; the stable ones are shared with the links' readers, who serve FETCH.
type snapshots struct {
	undos      []undo // ascending by after
	checkpoint map[uint64]Snapshot

	mu     sync.Mutex
	pinned []pinnedState // oldest first
}

// undo is the state after a batch, kept while a later one may be rolled back.
type undo struct {
	after wire.Seq
	state Snapshot
}

// pinnedState is a stable checkpoint.
type pinnedState struct {
	at    wire.CheckpointRef
	state Snapshot
}

// statesPinned is how many stable checkpoints are kept for peers: one that began to fetch the last but one can finish
// under load, as long as that takes less than a checkpoint interval.
const statesPinned = 2

func newSnapshots(stable *pinnedState) *snapshots {
	s := &snapshots{checkpoint: make(map[uint64]Snapshot)}
	if stable != nil {
		s.pinned = []pinnedState{*stable}
	}
	return s
}

// keepUndo freezes the state after batch seq unless that was done.
func (s *snapshots) keepUndo(seq wire.Seq, service Service) {
	if k := len(s.undos); k > 0 && s.undos[k-1].after >= seq {
		return
	}
	s.undos = append(s.undos, undo{seq, service.Snapshot()})
}

// committed drops what is not needed once everything up to seq has committed.
func (s *snapshots) committed(seq wire.Seq) {
	k := 0
	for k < len(s.undos) && s.undos[k].after < seq {
		s.undos[k].state.Release()
		k++
	}
	s.undos = slices.Delete(s.undos, 0, k)
}

// undo returns the oldest state that is not older than after batch to, and forgets it and all later ones; nil if there is
// none.
func (s *snapshots) undo(to wire.Seq) Snapshot {
	for i, u := range s.undos {
		if u.after >= to {
			for _, later := range s.undos[i+1:] {
				later.state.Release()
			}
			s.undos = slices.Delete(s.undos, i, len(s.undos))
			return u.state
		}
	}
	return nil
}

// keep remembers the snapshot of a TakeSnapshot.
func (s *snapshots) keep(id uint64, state Snapshot) { s.checkpoint[id] = state }

// forget hands over the snapshot of a TakeSnapshot.
func (s *snapshots) forget(id uint64) Snapshot {
	state := s.checkpoint[id]
	delete(s.checkpoint, id)
	return state
}

// pin makes a stable state available to peers. It returns the one that is not kept any longer, or nil.
func (s *snapshots) pin(at wire.CheckpointRef, state Snapshot) (dropped Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = append(s.pinned, pinnedState{at, state})
	if len(s.pinned) <= statesPinned {
		return nil
	}
	dropped = s.pinned[0].state
	s.pinned = slices.Delete(s.pinned, 0, 1)
	return dropped
}

// serve answers a peer's FETCH: with the nodes it asks for, or, if the state is not kept any longer, with the newest one
// that is.
func (s *snapshots) serve(n *Node, m *wire.Fetch) {
	s.mu.Lock()
	defer s.mu.Unlock() // held while encoding: a pinned state is released only after it was unpinned
	to := wire.Principal{Role: wire.RoleReplica, ID: uint32(m.Replica)}
	for _, p := range s.pinned {
		if p.at.Root != m.Root {
			continue
		}
		answer := &wire.Data{Replica: n.self, Root: m.Root}
		for _, d := range m.Digests {
			if node, ok := p.state.Node(d); ok {
				answer.Nodes = append(answer.Nodes, n.nodeData(node))
			}
		}
		n.send(to, wire.Encode(answer))
		return
	}
	answer := &wire.MetaData{Replica: n.self, Root: m.Root}
	if k := len(s.pinned); k > 0 {
		answer.Stable = s.pinned[k-1].at
	}
	n.send(to, wire.Encode(answer))
}
