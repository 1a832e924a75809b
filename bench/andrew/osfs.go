package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// osFS is a mount, used by raw system calls. An ordinary one tells Go's scheduler that it may block; on the one CPU of a
// user-mode Linux guest, where switching threads is dear, the scheduler's looking after it made a stat over NFS cost 200 µs
// where a raw one cost 60 to 110 (medians).
type osFS struct {
	mountPoint string // whose calls RPCs counts; empty counts none
	buffer     []byte
	file       []byte
}

func newOSFS(mountPoint string) *osFS {
	return &osFS{mountPoint: mountPoint, buffer: make([]byte, blockBytes)}
}

func (*osFS) Mkdir(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	_, err = raw(func() (uintptr, uintptr, unix.Errno) {
		return unix.RawSyscall(unix.SYS_MKDIRAT, atCWD, uintptr(unsafe.Pointer(name)), 0o755)
	})
	return err
}

// WriteFile creates, writes and closes, as tar or a shell's redirection do; close makes the NFS client send everything.
func (*osFS) WriteFile(path string, data []byte) error {
	return writeTo(path, unix.O_CREAT|unix.O_TRUNC, data)
}

func (*osFS) Append(path string, data []byte) error { return writeTo(path, unix.O_APPEND, data) }

func writeTo(path string, flags uintptr, data []byte) (err error) {
	fd, err := rawOpen(path, unix.O_WRONLY|flags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rawClose(fd)) }()
	return writeAll(fd, data)
}

func writeAll(fd uintptr, data []byte) error {
	for len(data) > 0 {
		n, err := raw(func() (uintptr, uintptr, unix.Errno) {
			return unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
		})
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (*osFS) Remove(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	_, err = raw(func() (uintptr, uintptr, unix.Errno) {
		return unix.RawSyscall(unix.SYS_UNLINKAT, atCWD, uintptr(unsafe.Pointer(name)), 0)
	})
	return err
}

func (fs *osFS) ReadDir(path string) (names []string, err error) {
	fd, err := rawOpen(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rawClose(fd)) }()
	for {
		n, err := fs.entries(fd)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(fs.buffer[:n], -1, names)
	}
}

func (*osFS) Stat(path string) (fileInfo, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return fileInfo{}, err
	}
	var st unix.Statx_t
	_, err = raw(func() (uintptr, uintptr, unix.Errno) {
		return unix.RawSyscall6(unix.SYS_STATX, atCWD, uintptr(unsafe.Pointer(name)), unix.AT_SYMLINK_NOFOLLOW,
			unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&st)), 0)
	})
	if err != nil {
		return fileInfo{}, err
	}
	return fileInfo{Size: int64(st.Size), Dir: st.Mode&unix.S_IFMT == unix.S_IFDIR}, nil
}

func (fs *osFS) ReadFile(path string) (data []byte, err error) {
	fd, err := rawOpen(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rawClose(fd)) }()
	fs.file = fs.file[:0]
	for {
		n, err := rawRead(fd, fs.buffer)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return fs.file, nil
		}
		fs.file = append(fs.file, fs.buffer[:n]...)
	}
}

func rawRead(fd uintptr, p []byte) (int, error) {
	n, err := raw(func() (uintptr, uintptr, unix.Errno) {
		return unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	})
	return int(n), err
}

// entries fills the buffer with directory entries.
func (fs *osFS) entries(fd uintptr) (int, error) {
	n, err := raw(func() (uintptr, uintptr, unix.Errno) {
		return unix.RawSyscall(unix.SYS_GETDENTS64, fd, uintptr(unsafe.Pointer(&fs.buffer[0])), uintptr(len(fs.buffer)))
	})
	return int(n), err
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

// atCWD is unix.AT_FDCWD as the kernel takes it.
const atCWD = ^uintptr(99)

func rawOpen(path string, flags uintptr) (fd uintptr, err error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	return raw(func() (uintptr, uintptr, unix.Errno) {
		return unix.RawSyscall6(unix.SYS_OPENAT, atCWD, uintptr(unsafe.Pointer(name)), flags|unix.O_CLOEXEC|unix.O_LARGEFILE, 0o644, 0, 0)
	})
}

func rawClose(fd uintptr) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0); errno != 0 {
		return fmt.Errorf("close: %w", errno) // never again: the descriptor is gone even when close was interrupted
	}
	return nil
}

// raw repeats a system call that a signal interrupted, such as the runtime's own for preemption.
func raw(call func() (uintptr, uintptr, unix.Errno)) (uintptr, error) {
	for {
		n, _, errno := call()
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
