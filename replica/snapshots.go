package replica

import (
	"slices"
	"sync"

	"bfsd/replica/wire"
)

// snapshots keeps the frozen states that something may still need: those that undo tentative executions, those of
// checkpoints that are not stable yet, and the last stable ones.
//
// Peers restore from the latter two. Serving stable ones alone would not do: when f replicas are down and f more have
// lost their state, the f+1 that have a checkpoint cannot make it stable before somebody restores from it.
//
// The loop owns the undos; the others are shared with the links' readers, who serve FETCH.
type snapshots struct {
	undos []undo // ascending by after

	mu     sync.Mutex
	taken  map[uint64]*takenState // by the number of their TakeSnapshot
	pinned []pinnedState          // oldest first
}

// takenState is the state of a checkpoint that is not stable yet.
type takenState struct {
	state  Snapshot
	root   wire.Digest
	hashed bool // root is known
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
	s := &snapshots{taken: make(map[uint64]*takenState)}
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
func (s *snapshots) keep(id uint64, state Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[id] = &takenState{state: state}
}

// hashed records the root of a snapshot that was kept, from when on peers can fetch it.
func (s *snapshots) hashed(id uint64, root wire.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.taken[id]; t != nil {
		t.root, t.hashed = root, true
	}
}

// forget hands over the snapshot of a TakeSnapshot; nil if there is none.
func (s *snapshots) forget(id uint64) Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.taken[id]
	if t == nil {
		return nil
	}
	delete(s.taken, id)
	return t.state
}

// find returns the state with a root, if it is kept for peers. mu must be held, and for as long as the state is used.
func (s *snapshots) find(root wire.Digest) Snapshot {
	for _, p := range s.pinned {
		if p.at.Root == root {
			return p.state
		}
	}
	for _, t := range s.taken {
		if t.hashed && t.root == root {
			return t.state
		}
	}
	return nil
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

// serve answers a peer's FETCH: with the nodes it asks for, or, if the state is not kept, with the newest stable one.
func (s *snapshots) serve(n *Node, m *wire.Fetch) {
	s.mu.Lock()
	defer s.mu.Unlock() // held while encoding: a state is released only after it cannot be found any more
	to := wire.Principal{Role: wire.RoleReplica, ID: uint32(m.Replica)}
	state := s.find(m.Root)
	if state == nil {
		answer := &wire.MetaData{Replica: n.self, Root: m.Root}
		if k := len(s.pinned); k > 0 {
			answer.Stable = s.pinned[k-1].at
		}
		n.send(to, wire.Encode(answer))
		return
	}
	answer := &wire.Data{Replica: n.self, Root: m.Root}
	for _, d := range m.Digests {
		if node, ok := state.Node(d); ok {
			answer.Nodes = append(answer.Nodes, n.nodeData(node))
		}
	}
	n.send(to, wire.Encode(answer))
}
