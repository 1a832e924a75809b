package replica

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// A cluster may begin with a state, a backup's, instead of an empty one. That state counts as its first stable checkpoint,
// with a certificate that all replicas signed, so that from there on nothing about it is special: it is loaded like a
// checkpoint, and a replica without it fetches it, or a later one, from the others. cluster.toml names its root: a replica
// that has nothing yet begins with that state or does not begin.
//
// The file with it is the same for all replicas: genesisMagic; how many signatures there are (4 bytes, big-endian as all
// numbers) and each CHECKPOINT's frame behind its length (4 bytes); then the pairs of the state, each as the length of its
// key and that of its value (4 bytes each), key, value; a key's length of 2^32-1 ends them.
const (
	genesisMagic = "bfsd genesis 1\n"
	genesisEnd   = ^uint32(0)

	genesisKeyMax   = 1 << 10
	genesisValueMax = wire.MaxNode
)

// GenesisRef is the place in the order that the first state of a cluster gets.
func GenesisRef(cluster *config.Cluster, root wire.Digest) wire.CheckpointRef {
	return wire.CheckpointRef{Seq: wire.Seq(cluster.Tunables.CheckpointInterval), Root: root}
}

// SignGenesis makes the certificate of a cluster's first state, for who has just made the private keys of its replicas.
func SignGenesis(cluster *config.Cluster, ids []auth.Identity, at wire.CheckpointRef) ([]*wire.Checkpoint, error) {
	var proof []*wire.Checkpoint
	for _, id := range ids {
		if id.Principal.Role != wire.RoleReplica {
			continue
		}
		keys, err := cluster.Keyring(id)
		if err != nil {
			return nil, fmt.Errorf("signing the first state of a cluster: %w", err)
		}
		c := &wire.Checkpoint{Seq: at.Seq, Root: at.Root, Replica: wire.ReplicaID(id.Principal.ID)}
		if _, err := auth.NewVerifier(id.Principal, cluster.N(), keys).Seal(c); err != nil {
			return nil, fmt.Errorf("signing the first state of a cluster: %w", err)
		}
		proof = append(proof, c)
	}
	return proof, nil
}

// WriteGenesis writes the file that a new cluster's replicas begin with.
func WriteGenesis(w io.Writer, proof []*wire.Checkpoint, state Snapshot) error {
	out := bufio.NewWriterSize(w, 1<<20)
	head := binary.BigEndian.AppendUint32([]byte(genesisMagic), uint32(len(proof)))
	for _, frame := range EncodeCertificate(proof) {
		head = append(binary.BigEndian.AppendUint32(head, uint32(len(frame))), frame...)
	}
	if _, err := out.Write(head); err != nil {
		return fmt.Errorf("writing the first state of a cluster: %w", err)
	}
	var lengths [8]byte
	err := state.Diff(nil, func(key, value []byte) error {
		binary.BigEndian.PutUint32(lengths[:], uint32(len(key)))
		binary.BigEndian.PutUint32(lengths[4:], uint32(len(value)))
		for _, part := range [][]byte{lengths[:], key, value} {
			if _, err := out.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		binary.BigEndian.PutUint32(lengths[:], genesisEnd)
		_, err = out.Write(lengths[:4])
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("writing the first state of a cluster: %w", err)
	}
	return nil
}

// missingGenesis says what a replica without a store lacks if it has not been given the state that its cluster began with:
// it must not begin with an empty one, and gets everything from the others, as if it had lost it.
func missingGenesis(path string) *store.DamageError {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // or begin says what is wrong with it
	}
	return &store.DamageError{Kind: store.KindCheckpoint, What: "this cluster began with a backup, and there is no file " + path +
		", which bfsd import wrote as genesis; everything is fetched from the replicas that had it"}
}

// begin brings a replica that has nothing yet to the state that its cluster began with, and makes that durable.
func (n *Node) begin(path string) (rec pbft.Recovered, stable *pinnedState, err error) {
	f, err := os.Open(path)
	if err != nil {
		return rec, nil, fmt.Errorf("opening the first state of the cluster: %w", err)
	}
	defer f.Close()
	at := wire.CheckpointRef{Seq: wire.Seq(n.cluster.Genesis.Sequence), Root: wire.Digest(n.cluster.Genesis.Root)}
	proof, err := readGenesis(f, n.cluster, at, n.service)
	if err != nil {
		return rec, nil, fmt.Errorf("reading the first state of the cluster from %s: %w; copy it once more from where bfsd import wrote it", path, err)
	}
	s := n.service.Snapshot()
	if n.store != nil {
		meta := store.Meta{Seq: at.Seq, Root: at.Root, Size: s.Size(), Certificate: encodeProof(proof)}
		if err := n.store.Checkpoint(meta, true, func(emit func(key, value []byte) error) error { return s.Diff(nil, emit) }); err != nil {
			return rec, nil, err
		}
	}
	rec = pbft.Recovered{Stable: at, Proof: proof, Replies: clientTable(n.service)}
	return rec, &pinnedState{at: at, proof: proof, state: s}, nil
}

// readGenesis fills a service from the file, and checks that it is the state that the cluster began with.
func readGenesis(r io.Reader, cluster *config.Cluster, at wire.CheckpointRef, service Service) ([]*wire.Checkpoint, error) {
	g := genesisReader{in: bufio.NewReaderSize(r, 1<<20)}
	frames, err := g.head()
	if err != nil {
		return nil, err
	}
	proof, err := VerifyCertificate(cluster, at, frames)
	if err != nil {
		return nil, err
	}
	if err := service.Load(g.pairs); err != nil {
		return nil, err
	}
	s := service.Snapshot()
	defer s.Release()
	if root := s.Root(); root != at.Root {
		return nil, fmt.Errorf("its root is %x, cluster.toml says %x: the file was changed", root[:], at.Root[:])
	}
	return proof, nil
}

// genesisReader reads the file's parts, none of which it trusts.
type genesisReader struct {
	in  *bufio.Reader
	buf bytes.Buffer
}

func (g *genesisReader) head() (frames [][]byte, err error) {
	magic := make([]byte, len(genesisMagic))
	if _, err := io.ReadFull(g.in, magic); err != nil || string(magic) != genesisMagic {
		return nil, errors.New("it is not a file that bfsd import wrote as genesis")
	}
	count, err := g.number(wire.MaxReplicas)
	if err != nil {
		return nil, err
	}
	for range count {
		size, err := g.number(wire.MaxNode)
		if err != nil {
			return nil, err
		}
		frame, err := g.bytes(size)
		if err != nil {
			return nil, err
		}
		frames = append(frames, bytes.Clone(frame))
	}
	return frames, nil
}

// pairs gives every pair, as Service.Load wants them.
func (g *genesisReader) pairs(yield func(key, value []byte) error) error {
	for {
		size, err := g.number(genesisEnd)
		if err != nil {
			return err
		}
		if size == genesisEnd {
			break
		}
		if size > genesisKeyMax {
			return fmt.Errorf("a key of %d bytes, at most %d make sense", size, genesisKeyMax)
		}
		length, err := g.number(genesisValueMax)
		if err != nil {
			return err
		}
		pair, err := g.bytes(size + length)
		if err != nil {
			return err
		}
		if err := yield(pair[:size], pair[size:]); err != nil {
			return err
		}
	}
	if _, err := g.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("it goes on after its end")
	}
	return nil
}

func (g *genesisReader) number(limit uint32) (uint32, error) {
	b, err := g.bytes(4)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(b)
	if n > limit {
		return 0, fmt.Errorf("a length of %d bytes, at most %d make sense", n, limit)
	}
	return n, nil
}

// bytes reads so many bytes, valid until the next call.
func (g *genesisReader) bytes(n uint32) ([]byte, error) {
	g.buf.Reset()
	if _, err := io.CopyN(&g.buf, g.in, int64(n)); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it ends too early: it was cut off")
		}
		return nil, err
	}
	return g.buf.Bytes(), nil
}
