package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const readBufferBytes = 1 << 20

// osFS is a mount, used by system calls without the runtime's poller between: in user-mode Linux each call counts.
type osFS struct {
	mountPoint string // whose calls RPCs counts; empty counts none
	buffer     []byte
	file       []byte
}

func newOSFS(mountPoint string) *osFS {
	return &osFS{mountPoint: mountPoint, buffer: make([]byte, readBufferBytes)}
}

func (*osFS) Mkdir(path string) error { return retry(func() error { return unix.Mkdir(path, 0o755) }) }

// WriteFile creates, writes and closes, as tar or a shell's redirection do; close makes the NFS client send everything.
func (*osFS) WriteFile(path string, data []byte) (err error) {
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	for len(data) > 0 {
		var n int
		err := retry(func() (err error) { n, err = unix.Write(fd, data); return err })
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (fs *osFS) ReadDir(path string) (names []string, err error) {
	fd, err := open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	for {
		var n int
		if err := retry(func() (err error) { n, err = unix.ReadDirent(fd, fs.buffer); return err }); err != nil {
			return nil, err
		}
		if n <= 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(fs.buffer[:n], -1, names)
	}
}

func (*osFS) Stat(path string) (fileInfo, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(path, &st) }); err != nil {
		return fileInfo{}, err
	}
	return fileInfo{Size: st.Size, Dir: st.Mode&unix.S_IFMT == unix.S_IFDIR}, nil
}

func (fs *osFS) ReadFile(path string) (data []byte, err error) {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	fs.file = fs.file[:0]
	for {
		var n int
		if err := retry(func() (err error) { n, err = unix.Read(fd, fs.buffer); return err }); err != nil {
			return nil, err
		}
		if n <= 0 {
			return fs.file, nil
		}
		fs.file = append(fs.file, fs.buffer[:n]...)
	}
}

func (*osFS) Build(ctx context.Context, dir string, w workload, tree *sourceTree) error {
	return w.Compiler.build(ctx, dir, tree)
}

// RPCs asks the kernel's NFS client.
func (fs *osFS) RPCs() (uint64, bool) {
	if fs.mountPoint == "" {
		return 0, false
	}
	stats, err := os.ReadFile("/proc/self/mountstats")
	if err != nil {
		return 0, false
	}
	return countRPCs(stats, fs.mountPoint)
}

func open(path string, flags int) (fd int, err error) {
	err = retry(func() (err error) { fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0); return err })
	return fd, err
}

// retry repeats a system call that a signal interrupted, such as the runtime's own for preemption.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// dropCaches empties the kernel's caches, so that what is read next comes from the server.
func dropCaches() error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o600); err != nil {
		return fmt.Errorf("drop the kernel's caches: %w", err)
	}
	return nil
}
