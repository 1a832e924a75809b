package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// WriteStream ends with fsync, and not merely with close, which would do on an NFS mount: path targets may be on others.
func (fs *osFS) WriteStream(ctx context.Context, path string, blocks int, fill func(i int, block []byte), each eachBlock) (err error) {
	fd, err := rawOpen(path, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rawClose(fd)) }()
	block := fs.buffer[:blockBytes]
	for i := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		fill(i, block)
		if err := writeAll(fd, block); err != nil {
			return fmt.Errorf("write block %d of %s: %w", i, path, err)
		}
		each(i, time.Since(start).Seconds())
	}
	if err := unix.Fsync(int(fd)); err != nil {
		return fmt.Errorf("fsync %s: %w", path, err)
	}
	return nil
}

func (*osFS) ReadStream(ctx context.Context, path string, blocks int, check func(i int, block []byte) error, each eachBlock) (err error) {
	fd, err := rawOpen(path, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rawClose(fd)) }()
	block := make([]byte, blockBytes)
	for i := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if err = readFull(fd, block); err == nil {
			err = check(i, block)
		}
		if err != nil {
			return fmt.Errorf("read block %d of %s: %w", i, path, err)
		}
		each(i, time.Since(start).Seconds())
	}
	return nil
}

func readFull(fd uintptr, block []byte) error {
	for len(block) > 0 {
		n, err := rawRead(fd, block)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		block = block[n:]
	}
	return nil
}

// Forget drops the file's pages, and, where this process may, all that the kernel has in its caches.
func (*osFS) Forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return fmt.Errorf("drop the cached pages of %s: %w", path, err)
	}
	if err := dropCaches(); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}

// dropCaches empties the kernel's caches, so that what is read next comes from the server.
func dropCaches() error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o600); err != nil {
		return fmt.Errorf("drop the kernel's caches: %w", err)
	}
	return nil
}
