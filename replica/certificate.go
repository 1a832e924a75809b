package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// EncodeCertificate gives a checkpoint's certificate as frames, for VerifyCertificate to read anywhere.
func EncodeCertificate(proof []*wire.Checkpoint) [][]byte {
	frames := make([][]byte, len(proof))
	for i, c := range proof {
		frames[i] = wire.Encode(c)
	}
	return frames
}

// VerifyCertificate checks that the frames prove a checkpoint of the cluster: that f+1 of its replicas, one of whom is
// correct, signed that everything up to its sequence number committed and that its root is that of the state
// (TOCS §4.4). It needs the cluster's public keys alone, and returns what they signed. A signature that is wrong does not
// count, and does no harm: the key of who signed may have been replaced.
func VerifyCertificate(cluster *config.Cluster, at wire.CheckpointRef, frames [][]byte) ([]*wire.Checkpoint, error) {
	if len(frames) > wire.MaxReplicas {
		return nil, fmt.Errorf("the certificate of checkpoint %d holds %d signatures, at most %d make sense", at.Seq, len(frames), wire.MaxReplicas)
	}
	var proof []*wire.Checkpoint
	signed := make(map[wire.ReplicaID]bool)
	for i, frame := range frames {
		m, err := wire.Decode(frame)
		if err != nil {
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d: %w", at.Seq, i, err)
		}
		c, ok := m.(*wire.Checkpoint)
		switch {
		case !ok:
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is a %v", at.Seq, i, m.Kind())
		case c.Seq != at.Seq || c.Root != at.Root:
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is about checkpoint %d with root %x, not %x", at.Seq, i, c.Seq, c.Root[:], at.Root[:])
		case int64(c.Replica) >= int64(cluster.N()) || signed[c.Replica]:
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is of replica %d, which is none or signed already", at.Seq, i, c.Replica)
		case !bytes.Equal(wire.Encode(c), frame):
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is not encoded as it should be", at.Seq, i)
		}
		signed[c.Replica] = true
		if auth.VerifySignature(cluster.ID, replicaPrincipal(c.Replica), cluster.Replicas[c.Replica].Key, c.SignedBytes(), c.SignatureBytes()) {
			proof = append(proof, c)
		}
	}
	if len(proof) <= cluster.F() {
		return nil, fmt.Errorf("the certificate of checkpoint %d holds %d signatures, of which %d are right; %d are needed", at.Seq, len(frames), len(proof), cluster.F()+1)
	}
	return proof, nil
}

func replicaPrincipal(id wire.ReplicaID) wire.Principal {
	return wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}
}

func clientPrincipal(id wire.ClientID) wire.Principal {
	return wire.Principal{Role: wire.RoleClient, ID: uint32(id)}
}

// ReadCheckpoint loads a service from the checkpoint in the store of one of the cluster's replicas, and checks it against
// its certificate.
func ReadCheckpoint(cluster *config.Cluster, s *store.Store, service Service) (at wire.CheckpointRef, frames [][]byte, err error) {
	meta, ok, err := s.Meta()
	if err != nil {
		return at, nil, err
	}
	if !ok {
		return at, nil, errors.New("there is no checkpoint yet; all that happened is in the log, which the replica replays when it starts")
	}
	at = wire.CheckpointRef{Seq: meta.Seq, Root: meta.Root}
	if frames, err = splitProof(meta.Certificate); err != nil {
		return at, nil, fmt.Errorf("the certificate of checkpoint %d: %w", at.Seq, err)
	}
	proof, err := VerifyCertificate(cluster, at, frames)
	if err != nil {
		return at, nil, err
	}
	if err := service.Load(s.Pages); err != nil {
		return at, nil, fmt.Errorf("reading the pages of checkpoint %d: %w", at.Seq, err)
	}
	state := service.Snapshot()
	defer state.Release()
	if root := state.Root(); root != at.Root {
		return at, nil, fmt.Errorf("checkpoint %d: the pages' root is %x, the certificate's %x: the disk has changed them", at.Seq, root[:], at.Root[:])
	}
	return at, EncodeCertificate(proof), nil
}

// splitProof gives the frames that encodeProof put together.
func splitProof(b []byte) ([][]byte, error) {
	var frames [][]byte
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, errors.New("it ends within a length")
		}
		size := binary.BigEndian.Uint32(b)
		b = b[4:]
		if uint64(size) > uint64(len(b)) || len(frames) == wire.MaxReplicas {
			return nil, fmt.Errorf("a message of %d bytes, after %d others, does not fit", size, len(frames))
		}
		frames = append(frames, b[:size:size])
		b = b[size:]
	}
	return frames, nil
}
