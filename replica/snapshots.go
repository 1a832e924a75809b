package replica

import (
	"slices"
	"sync"
	"time"

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

// pinnedState is a stable checkpoint, kept for who restores from it.
type pinnedState struct {
	at    wire.CheckpointRef
	proof []*wire.Checkpoint
	state Snapshot
	used  time.Time // when it was last asked for; zero: never
	aged  time.Time // when it ceased to be one of the newest; zero: it is
}

// The newest stable checkpoints are kept for peers, and some that somebody restores from just now: under load checkpoints
// follow each other faster than a large state is fetched, and a replica that began with one must be able to finish (the
// paper warns that its own may never, TOCS §6.2). What is kept costs the pages that have changed since.
const (
	statesPinned = 2                // of the newest
	statesLeased = 2                // older ones that are being fetched
	leaseIdle    = 15 * time.Second // a state nobody asked for in this time is not being fetched any more
	leaseLongest = time.Hour        // whoever has not finished by then begins anew
)

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

// find returns the state with a root, if it is kept for peers, and notes that it is being fetched.
func (s *snapshots) find(root wire.Digest, now time.Time) Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.pinned {
		if p := &s.pinned[i]; p.at.Root == root {
			p.used = now
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

// stable returns the newest stable checkpoint and its proof; the zero reference if there is none yet.
func (s *snapshots) stable() (wire.CheckpointRef, []*wire.Checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := len(s.pinned)
	if k == 0 {
		return wire.CheckpointRef{}, nil
	}
	return s.pinned[k-1].at, s.pinned[k-1].proof
}

// pin makes a stable state available to peers. It returns those that are not kept any longer.
func (s *snapshots) pin(p pinnedState, now time.Time) (dropped []Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = append(s.pinned, p)
	old := len(s.pinned) - statesPinned
	leased := 0
	for i := old - 1; i >= 0; i-- { // the newest have the first claim
		p := &s.pinned[i]
		if p.aged.IsZero() {
			p.aged = now
		}
		if leased < statesLeased && !p.used.IsZero() && now.Sub(p.used) < leaseIdle && now.Sub(p.aged) < leaseLongest {
			leased++
			continue
		}
		dropped = append(dropped, p.state)
		s.pinned = slices.Delete(s.pinned, i, i+1)
	}
	return dropped
}

// serve answers a peer's FETCH: with the nodes it asks for, or, if the state is not kept, with the newest stable one.
func (s *snapshots) serve(n *Node, m *wire.Fetch) {
	s.answer(n, wire.Principal{Role: wire.RoleReplica, ID: uint32(m.Replica)}, m.Root, m.Digests)
}

// serveClient answers a CLIENT-FETCH of a client that may copy the state: as serve does, or with the newest stable
// checkpoint, before which comes its proof.
func (s *snapshots) serveClient(n *Node, m *wire.ClientFetch) {
	to := wire.Principal{Role: wire.RoleClient, ID: uint32(m.Client)}
	if m.Root != (wire.Digest{}) {
		s.answer(n, to, m.Root, m.Digests)
		return
	}
	stable, proof := s.stable()
	for _, c := range proof {
		n.send(to, wire.Encode(c))
	}
	n.send(to, wire.Encode(&wire.MetaData{Replica: n.self, Stable: stable}))
}

func (s *snapshots) answer(n *Node, to wire.Principal, root wire.Digest, digests []wire.Digest) {
	state := s.find(root, time.Now())
	if state == nil {
		stable, _ := s.stable()
		n.send(to, wire.Encode(&wire.MetaData{Replica: n.self, Root: root, Stable: stable}))
		return
	}
	// The state may be released meanwhile; then it has no nodes any more, which the peer takes for what it is.
	data := &wire.Data{Replica: n.self, Root: root, Size: state.Size()}
	for _, d := range digests {
		if node, ok := state.Node(d); ok {
			data.Nodes = append(data.Nodes, n.nodeData(node))
		}
	}
	n.send(to, wire.Encode(data))
}
