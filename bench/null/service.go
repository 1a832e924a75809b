package main

import (
	"fmt"
	"math/rand/v2"

	"bfsd/fsstate"
	"bfsd/internal/fsservice"
	"bfsd/replica"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// nullService answers null operations without looking at any state. All else is the replicated file system's: the reply
// table that makes execution exactly once, under the root; snapshots, rollback and state transfer; and the operations on
// files, by which the cost of checkpoints is measured.
type nullService struct {
	*fsservice.Service
	results []byte // every result is the beginning of this
}

var _ replica.Service = (*nullService)(nil)

// newNullService makes the service with a file of stateBytes in its state.
func newNullService(cluster *config.Cluster, stateBytes int64) (*nullService, error) {
	fs := fsstate.New(fsstate.Config{Seed: fsstate.Seed(cluster.Seed), MaxBytes: cluster.Limits.MaxBytes, MaxInodes: cluster.Limits.MaxInodes})
	if stateBytes > 0 {
		if err := fill(fs, stateBytes); err != nil {
			return nil, err
		}
	}
	s := &nullService{Service: fsservice.New(fs, cluster.Tunables.ClockSkew()), results: make([]byte, bytesMax)}
	for i := range s.results {
		s.results[i] = pattern(i)
	}
	return s, nil
}

// Execute implements replica.Service.
func (s *nullService) Execute(c wire.ClientID, op, choice []byte) []byte {
	if result, ok := s.null(op); ok {
		return result
	}
	return s.Service.Execute(c, op, choice)
}

// Query implements replica.Service.
func (s *nullService) Query(c wire.ClientID, op []byte) ([]byte, bool) {
	if result, ok := s.null(op); ok {
		return result, true
	}
	return s.Service.Query(c, op)
}

func (s *nullService) null(op []byte) ([]byte, bool) {
	n, ok := resultLength(op)
	if !ok {
		return nil, false
	}
	return s.results[:n:n], true
}

// The file that fills the state. All replicas make it before they start, by the same operations, so that it is part of
// the state they start from, and its handle is the same wherever the seed is.
const (
	stateFile = "state"
	pageBytes = 4096
	fillBytes = 256 * pageBytes
)

// createFile makes the file and gives its handle.
func createFile(fs *fsstate.FS) (fsstate.Handle, error) {
	root := fs.Apply(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}}, 1)
	if root.Code() != fsstate.OK {
		return fsstate.Handle{}, fmt.Errorf("finding the root of an empty file system: %v", root.Code())
	}
	made := fs.Apply(&fsstate.Op{Args: &fsstate.Create{Dir: root.(*fsstate.LookupResult).Object, Name: stateFile, How: fsstate.Guarded}}, 1)
	if made.Code() != fsstate.OK {
		return fsstate.Handle{}, fmt.Errorf("making the file %s: %v", stateFile, made.Code())
	}
	return made.(*fsstate.CreateResult).Object, nil
}

// fill makes the file and writes it, and hashes the state, so that the first checkpoint does not have to.
func fill(fs *fsstate.FS, bytes int64) error {
	file, err := createFile(fs)
	if err != nil {
		return err
	}
	data := make([]byte, fillBytes)
	random := rand.NewChaCha8([32]byte{})
	for offset := int64(0); offset < bytes; offset += int64(len(data)) {
		_, _ = random.Read(data) // never fails
		data = data[:min(int64(len(data)), bytes-offset)]
		r := fs.Apply(&fsstate.Op{Args: &fsstate.Write{Object: file, Offset: uint64(offset), Data: data}}, 1)
		if r.Code() != fsstate.OK {
			return fmt.Errorf("writing %d bytes of state at %d: %v", len(data), offset, r.Code())
		}
	}
	fs.Root()
	return nil
}
