package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"time"

	"golang.org/x/sync/errgroup"
)

// streamParallel is how many blocks of a stream are in flight, as with a kernel's read-ahead and write-behind.
const streamParallel = 8

func (fs *nfsFS) WriteStream(ctx context.Context, name string, blocks int, fill func(i int, block []byte), each eachBlock) error {
	parent, err := fs.dir(path.Dir(name))
	if err != nil {
		return err
	}
	file, err := fs.client.WriteFile(ctx, parent, path.Base(name), nil, 0o644)
	if err != nil {
		return err
	}
	return stream(ctx, blocks, each, func(ctx context.Context, i int, block []byte) error {
		fill(i, block)
		return fs.client.WriteAt(ctx, file, uint64(i)*blockBytes, block)
	})
}

func (fs *nfsFS) ReadStream(ctx context.Context, name string, blocks int, check func(i int, block []byte) error, each eachBlock) error {
	found, err := fs.lookup(name)
	if err != nil {
		return err
	}
	return stream(ctx, blocks, each, func(ctx context.Context, i int, block []byte) error {
		for got := 0; got < len(block); {
			n, err := fs.client.ReadAt(ctx, found.Object, block[got:], uint64(i)*blockBytes+uint64(got))
			if err != nil {
				return err
			}
			if n == 0 {
				return io.ErrUnexpectedEOF
			}
			got += n
		}
		return check(i, block)
	})
}

// Forget has nothing to do: the client caches no data.
func (*nfsFS) Forget(string) error { return nil }

// stream does blocks in order, several at a time.
func stream(ctx context.Context, blocks int, each eachBlock, do func(ctx context.Context, i int, block []byte) error) error {
	free := make(chan []byte, streamParallel)
	for range streamParallel {
		free <- make([]byte, blockBytes)
	}
	group, running := errgroup.WithContext(ctx)
	for i := range blocks {
		block := <-free
		if running.Err() != nil {
			break // Wait tells why
		}
		group.Go(func() error {
			defer func() { free <- block }()
			start := time.Now()
			if err := do(running, i, block); err != nil {
				return fmt.Errorf("block %d: %w", i, err)
			}
			each(i, time.Since(start).Seconds())
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
