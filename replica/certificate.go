package replica

import (
	"bytes"
	"fmt"

	"bfsd/replica/auth"
	"bfsd/replica/config"
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
// (TOCS §4.4). It needs the cluster's public keys alone, and returns who signed.
func VerifyCertificate(cluster *config.Cluster, at wire.CheckpointRef, frames [][]byte) ([]wire.ReplicaID, error) {
	if len(frames) > wire.MaxReplicas {
		return nil, fmt.Errorf("the certificate of checkpoint %d holds %d signatures, at most %d make sense", at.Seq, len(frames), wire.MaxReplicas)
	}
	var signers []wire.ReplicaID
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
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is about checkpoint %d with root %x, not %x", at.Seq, i, c.Seq, c.Root, at.Root)
		case int64(c.Replica) >= int64(cluster.N()) || signed[c.Replica]:
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is of replica %d, which is none or signed already", at.Seq, i, c.Replica)
		case !auth.VerifySignature(cluster.ID, replicaPrincipal(c.Replica), cluster.Replicas[c.Replica].Key, c.SignedBytes(), c.SignatureBytes()):
			return nil, fmt.Errorf("the certificate of checkpoint %d: the signature of replica %d is wrong", at.Seq, c.Replica)
		case !bytes.Equal(wire.Encode(c), frame):
			return nil, fmt.Errorf("the certificate of checkpoint %d: signature %d is not encoded as it should be", at.Seq, i)
		}
		signed[c.Replica] = true
		signers = append(signers, c.Replica)
	}
	if len(signers) <= cluster.F() {
		return nil, fmt.Errorf("the certificate of checkpoint %d holds %d signatures, %d are needed", at.Seq, len(signers), cluster.F()+1)
	}
	return signers, nil
}

func replicaPrincipal(id wire.ReplicaID) wire.Principal {
	return wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}
}
