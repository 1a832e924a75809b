package main

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// sequential is the script of a large file: Write writes it from its beginning to its end and waits until the server has it;
// Read, once the client has forgotten it, reads it in the same way.
type sequential struct {
	w       workload
	content content
}

// largeBlocksPerScale is the size of the file for one unit of scale, in blocks.
const largeBlocksPerScale = 16

func newSequential(w workload) *sequential { return &sequential{w, newContent(w.Seed)} }

const largeFile = "large"

func (s *sequential) blocks() int { return largeBlocksPerScale * s.w.Scale }

func (s *sequential) size() (files int, bytes int64) { return 1, int64(s.blocks()) * blockBytes }

// run's things are MiB, of which a block is one.
func (s *sequential) run(ctx context.Context, r *phaseRun, p phase) (float64, error) {
	name := path.Join(r.root, largeFile)
	pauses := make([]float64, s.blocks())
	each := func(i int, seconds float64) {
		pauses[i] = seconds
		if i == s.blocks()/2 {
			r.tell(mark{p, phaseMiddle})
		}
	}
	var err error
	switch p {
	case phaseWrite:
		err = r.fs.WriteStream(ctx, name, s.blocks(), s.content.fill, each)
	case phaseRead:
		err = s.read(ctx, r, name, each)
	default:
		panic("sequential has no phase " + string(p))
	}
	for i, seconds := range pauses {
		r.took(string(p), fmt.Sprintf("%s block %d", name, i), seconds)
	}
	return float64(s.blocks()), err
}

// read checks the stamps of the pages alone: the whole is for the verification.
func (s *sequential) read(ctx context.Context, r *phaseRun, name string, each eachBlock) error {
	if err := r.unmeasured(func() error { return r.fs.Forget(name) }); err != nil {
		return err
	}
	before, counted := r.fs.RPCs()
	err := r.fs.ReadStream(ctx, name, s.blocks(), func(i int, block []byte) error {
		if !stamped(i, block) {
			return errors.New("content differs")
		}
		return nil
	}, each)
	if err != nil {
		return err
	}
	// The largest READ of the Linux client is a block.
	if after, ok := r.fs.RPCs(); ok && counted && after-before < uint64(s.blocks()) {
		return fmt.Errorf("%d calls for %d blocks: the file came from the client's cache", after-before, s.blocks())
	}
	return nil
}

func (s *sequential) verify(ctx context.Context, fs fileSystem, root string) (v verification, err error) {
	if err := verifyDir(fs, root, []string{largeFile}); err != nil {
		return v, err
	}
	name := path.Join(root, largeFile)
	info, err := fs.Stat(name)
	_, want := s.size()
	if err == nil && info.Size != want {
		err = fmt.Errorf("it has %d bytes, %d were written", info.Size, want)
	}
	if err == nil {
		err = fs.ReadStream(ctx, name, s.blocks(), func(i int, block []byte) error {
			if !s.content.equal(i, block) {
				return errors.New("content differs")
			}
			return nil
		}, func(int, float64) {})
	}
	if err != nil {
		return v, fmt.Errorf("verify %s: %w", name, err)
	}
	return verification{Files: 1, Bytes: want}, nil
}
