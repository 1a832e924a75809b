package replica

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// StoreOwner is what a replica writes into its store, so that the store of another cluster or replica is refused.
func StoreOwner(cluster *config.Cluster, id wire.ReplicaID) []byte {
	return fmt.Appendf(nil, "cluster %v replica %d", cluster.ID, id)
}

// openStore opens the store and brings the service and the core back to where they were (TOCS §4.6): the checkpoint's
// pages, compared with its root; its certificate, verified again, since a disk may lie; and the log's records. A store that
// is damaged is set aside, and the replica begins with a new one, in doubt: everything can be had from the others, but what
// it said can be had from nobody (pbft, rejoin.go).
func (n *Node) openStore(o Options) (rec pbft.Recovered, stable *pinnedState, err error) {
	if n.cluster.Durability == config.Memory {
		if n.cluster.Genesis != nil {
			return n.begin(o.Genesis)
		}
		return pbft.Recovered{}, nil, nil
	}
	so := store.Options{
		Dir: o.StoreDir, Durability: store.Durability(n.cluster.Durability), Owner: StoreOwner(n.cluster, n.self), FS: o.StoreFS,
		Log: n.log, Fatal: func(err error) {
			n.storeFailed(err)
			select {} // who called must not go on as if it had written
		},
	}
	if n.cluster.Genesis != nil {
		so.Lost = missingGenesis(o.Genesis)
	}
	empty := n.service.Snapshot()
	defer empty.Release()
	rec, stable, err = n.readStore(so, o.Genesis)
	var damage *store.DamageError
	if !errors.As(err, &damage) {
		return rec, stable, err
	}
	aside, err := store.SetAside(o.StoreFS, o.StoreDir)
	if err != nil {
		return rec, nil, errors.Join(fmt.Errorf("replica %d: %s is %w", n.self, o.StoreDir, damage), err)
	}
	n.log.Error("the store is damaged and was set aside; everything is fetched from the other replicas",
		"replica", n.self, "dir", o.StoreDir, "aside", aside, "damage", damage.What)
	n.damage = append(n.damage, *damage)
	n.service.Rollback(empty)
	so.Lost = damage
	return n.readStore(so, o.Genesis)
}

// readStore opens a store and takes everything out of it that a start needs. The error is a *store.DamageError if a new store
// would do better.
func (n *Node) readStore(so store.Options, genesis string) (rec pbft.Recovered, stable *pinnedState, err error) {
	if n.store, err = store.Open(so); err != nil {
		return rec, nil, fmt.Errorf("replica %d: what %s holds cannot be used: %w; if that cannot be mended, "+
			"move that directory away to let the replica fetch everything from the others", n.self, so.Dir, err)
	}
	if rec, stable, err = n.recoverState(genesis); err == nil {
		err = n.store.Serve()
	}
	if err != nil {
		return rec, nil, errors.Join(fmt.Errorf("replica %d: %w", n.self, err), n.store.Close())
	}
	c := n.store.Condition()
	if c.Doubtful() {
		rec.Doubt = &pbft.Doubt{Nonce: c.Nonce, New: c.New, View: c.View, ViewKnown: c.ViewKnown}
	}
	if c.Lost != "" {
		n.log.Error("the replica may have forgotten what it said; it votes again when the others have a later checkpoint",
			"replica", n.self, "dir", so.Dir, "lost", c.Lost)
		n.damage = append(n.damage, store.DamageError{Kind: c.Kind, What: c.Lost})
	}
	return rec, stable, nil
}

func (n *Node) recoverState(genesis string) (rec pbft.Recovered, stable *pinnedState, err error) {
	if rec.Records, err = n.store.Records(); err != nil {
		return rec, nil, err
	}
	meta, ok, err := n.store.Meta()
	if err == nil && !ok && n.cluster.Genesis != nil && n.store.Condition().Lost == "" {
		return n.begin(genesis)
	}
	if err != nil || !ok {
		return rec, nil, err
	}
	rec.Stable = wire.CheckpointRef{Seq: meta.Seq, Root: meta.Root}
	if rec.Proof, err = n.decodeProof(meta.Certificate); err != nil {
		return rec, nil, n.store.Unusable("the certificate of checkpoint %d: %w", meta.Seq, err)
	}
	for _, c := range rec.Proof { // they say the same, all of them
		if c.Seq != meta.Seq || c.Root != meta.Root {
			return rec, nil, n.store.Unusable("the certificate of checkpoint %d is that of checkpoint %d with root %x", meta.Seq, c.Seq, c.Root[:])
		}
	}
	n.loading.begin(RejoinLoading, meta.Size)
	if err := n.service.Load(n.loading.pages(n.store.Pages)); err != nil {
		return rec, nil, n.store.Unusable("the pages of checkpoint %d: %w", meta.Seq, err)
	}
	n.loading.begin(RejoinChecking, 0)
	s := n.service.Snapshot()
	if root := s.Root(); root != meta.Root {
		return rec, nil, n.store.Unusable("the pages of checkpoint %d: their root is %x, the certificate says %x: the disk has changed them", meta.Seq, root[:], meta.Root[:])
	}
	rec.Replies = clientTable(n.service)
	return rec, &pinnedState{at: rec.Stable, proof: rec.Proof, state: s}, nil
}

// encodeProof encodes a checkpoint's certificate: each CHECKPOINT's frame behind its length, 4 bytes, big-endian.
func encodeProof(proof []*wire.Checkpoint) []byte {
	var b []byte
	for _, c := range proof {
		frame := wire.Encode(c)
		b = binary.BigEndian.AppendUint32(b, uint32(len(frame)))
		b = append(b, frame...)
	}
	return b
}

// decodeProof is the inverse of encodeProof, and verifies the signatures. One that does not verify is left out: a replica
// whose key was replaced has signed with the one before. f+1 must remain; one of them is a correct replica's.
func (n *Node) decodeProof(b []byte) ([]*wire.Checkpoint, error) {
	frames, err := splitProof(b)
	if err != nil {
		return nil, err
	}
	var proof []*wire.Checkpoint
	var unverified error
	for _, frame := range frames {
		v, err := n.verifier.Verify(replicaPrincipal(n.self), frame)
		if errors.Is(err, auth.ErrUnverified) {
			unverified = err
			continue
		}
		if err != nil {
			return nil, err
		}
		c, ok := v.Message().(*wire.Checkpoint)
		if !ok {
			return nil, fmt.Errorf("it holds a %v", v.Message().Kind())
		}
		for _, other := range proof {
			if other.Replica == c.Replica || other.Seq != c.Seq || other.Root != c.Root {
				return nil, fmt.Errorf("it holds signatures of replicas %d and %d that do not go together", other.Replica, c.Replica)
			}
		}
		proof = append(proof, c)
	}
	if len(proof) <= n.cluster.F() {
		return nil, errors.Join(fmt.Errorf("it holds %d signatures that are right, %d are needed", len(proof), n.cluster.F()+1), unverified)
	}
	return proof, nil
}
