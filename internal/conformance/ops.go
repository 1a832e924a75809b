package conformance

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// op is a system call that scripts may make.
type op struct {
	args int
	call func(r *runner, arg []string) (value string, err error)
}

// path0 is an operation on a path and nothing else.
func path0(call func(path string) error) op {
	return op{1, func(_ *runner, arg []string) (string, error) { return "", call(arg[0]) }}
}

func path1[T any](parse func(string) (T, error), call func(path string, t T) error) op {
	return op{2, func(_ *runner, arg []string) (string, error) {
		t, err := parse(arg[1])
		if err != nil {
			return "", err
		}
		return "", call(arg[0], t)
	}}
}

func two(call func(a, b string) error) op {
	return op{2, func(_ *runner, arg []string) (string, error) { return "", call(arg[0], arg[1]) }}
}

// onFD is an operation on an open file, whose name in the script is the first argument.
func onFD(args int, call func(fd int, arg []string) (string, error)) op {
	return op{args, func(r *runner, arg []string) (string, error) {
		fd, ok := r.open[arg[0]]
		if !ok {
			return "", unix.EBADF // as the call itself would say; it happens where an open before it failed
		}
		return call(fd, arg[1:])
	}}
}

// ops are the operations by name. Modes are octal; flags are joined by "|"; ids are decimal, −1 for "leave".
var ops map[string]op

// The table refers to Parse's callers, so it is filled before main.
func init() {
	ops = map[string]op{
		"mkdir":  path1(octal, unix.Mkdir),
		"rmdir":  path0(unix.Rmdir),
		"unlink": path0(unix.Unlink),
		"rename": two(unix.Rename),
		"link":   two(func(a, b string) error { return unix.Linkat(unix.AT_FDCWD, a, unix.AT_FDCWD, b, 0) }),
		"linkf": two(func(a, b string) error {
			return unix.Linkat(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.AT_SYMLINK_FOLLOW)
		}),
		"symlink":  two(unix.Symlink),
		"readlink": {1, readLink},
		"mkfifo":   path1(octal, func(p string, m uint32) error { return unix.Mknod(p, unix.S_IFIFO|m, 0) }),
		"mksock":   path1(octal, func(p string, m uint32) error { return unix.Mknod(p, unix.S_IFSOCK|m, 0) }),
		"mkreg":    path1(octal, func(p string, m uint32) error { return unix.Mknod(p, unix.S_IFREG|m, 0) }),
		"mkchr":    {4, func(_ *runner, arg []string) (string, error) { return "", mkdev(unix.S_IFCHR, arg) }},
		"mkblk":    {4, func(_ *runner, arg []string) (string, error) { return "", mkdev(unix.S_IFBLK, arg) }},
		"chmod":    path1(octal, unix.Chmod),
		"chown":    {3, func(_ *runner, arg []string) (string, error) { return "", chown(arg, 0) }},
		"lchown":   {3, func(_ *runner, arg []string) (string, error) { return "", chown(arg, unix.AT_SYMLINK_NOFOLLOW) }},
		"truncate": path1(integer, unix.Truncate),
		"utimens":  {3, func(_ *runner, arg []string) (string, error) { return "", utimens(arg, 0) }},
		"lutimens": {3, func(_ *runner, arg []string) (string, error) { return "", utimens(arg, unix.AT_SYMLINK_NOFOLLOW) }},
		"access":   path1(octal, func(p string, m uint32) error { return unix.Faccessat(unix.AT_FDCWD, p, m, 0) }),
		"stat":     {1, func(_ *runner, arg []string) (string, error) { return stat(arg[0], 0) }},
		"lstat":    {1, func(_ *runner, arg []string) (string, error) { return stat(arg[0], unix.AT_SYMLINK_NOFOLLOW) }},
		"times":    {1, func(_ *runner, arg []string) (string, error) { return setTimes(arg[0]) }},
		"statfs":   path0(func(p string) error { return unix.Statfs(p, new(unix.Statfs_t)) }),
		"ls":       {1, func(_ *runner, arg []string) (string, error) { return list(arg[0]) }},
		"chdir":    path0(unix.Chdir),
		"umask":    {1, umask},
		"creat":    path1(octal, creat),
		"put":      two(put),
		"get":      {1, func(_ *runner, arg []string) (string, error) { return get(arg[0]) }},
		"append":   two(appendTo),
		"open":     {4, openFile},
		"close":    {1, closeFile},
		"closeall": {0, func(r *runner, _ []string) (string, error) { r.closeAll(); return "", nil }},
		"read":     onFD(2, func(fd int, arg []string) (string, error) { return readFD(fd, arg[0]) }),
		"write":    onFD(2, func(fd int, arg []string) (string, error) { return count(unix.Write(fd, []byte(arg[0]))) }),
		"pread":    onFD(3, pread),
		"pwrite":   onFD(3, pwrite),
		"seek":     onFD(3, seek),
		"ftruncate": onFD(2, func(fd int, arg []string) (string, error) {
			return "", with(integer, arg[0], func(n int64) error { return unix.Ftruncate(fd, n) })
		}),
		"fchmod": onFD(2, func(fd int, arg []string) (string, error) {
			return "", with(octal, arg[0], func(m uint32) error { return unix.Fchmod(fd, m) })
		}),
		"fchown":    onFD(3, fchown),
		"fstat":     onFD(1, fstat),
		"fsync":     onFD(1, func(fd int, _ []string) (string, error) { return "", unix.Fsync(fd) }),
		"mmapwrite": onFD(3, mmapWrite),
		"watch":     {2, watch},
		"via":       {1, via},
	}
}

func with[T any](parse func(string) (T, error), text string, call func(T) error) error {
	t, err := parse(text)
	if err != nil {
		return err
	}
	return call(t)
}

// errScript is a fault of the script and not of a file system.
var errScript = errors.New("fault in the script")

func octal(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: mode %q", errScript, text)
	}
	return uint32(n), nil
}

func integer(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: number %q", errScript, text)
	}
	return n, nil
}

func two64(a, b string) (x, y int64, err error) {
	x, errX := integer(a)
	y, errY := integer(b)
	return x, y, errors.Join(errX, errY)
}

func mkdev(kind uint32, arg []string) error {
	mode, err := octal(arg[1])
	if err != nil {
		return err
	}
	major, minor, err := two64(arg[2], arg[3])
	if err != nil {
		return err
	}
	return unix.Mknod(arg[0], kind|mode, int(unix.Mkdev(uint32(major), uint32(minor))))
}

func chown(arg []string, flags int) error {
	uid, gid, err := two64(arg[1], arg[2])
	if err != nil {
		return err
	}
	return unix.Fchownat(unix.AT_FDCWD, arg[0], int(uid), int(gid), flags)
}

func fchown(fd int, arg []string) (string, error) {
	uid, gid, err := two64(arg[0], arg[1])
	if err != nil {
		return "", err
	}
	return "", unix.Fchown(fd, int(uid), int(gid))
}

// moment reads a time: "now", "omit", or seconds with a fraction of nine digits.
func moment(text string) (unix.Timespec, error) {
	switch text {
	case "now":
		return unix.Timespec{Nsec: unix.UTIME_NOW}, nil
	case "omit":
		return unix.Timespec{Nsec: unix.UTIME_OMIT}, nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return unix.Timespec{}, fmt.Errorf("%w: time %q", errScript, text)
	}
	var nsec int64
	if fraction != "" {
		if nsec, err = strconv.ParseInt(fraction, 10, 64); err != nil {
			return unix.Timespec{}, fmt.Errorf("%w: time %q", errScript, text)
		}
	}
	return unix.Timespec{Sec: sec, Nsec: nsec}, nil
}

func utimens(arg []string, flags int) error {
	atime, err := moment(arg[1])
	if err != nil {
		return err
	}
	mtime, err := moment(arg[2])
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, arg[0], []unix.Timespec{atime, mtime}, flags)
}

func readLink(_ *runner, arg []string) (string, error) {
	target := make([]byte, 8192)
	n, err := unix.Readlink(arg[0], target)
	if err != nil {
		return "", err
	}
	return strconv.Quote(string(target[:n])), nil
}

// umask sets the mask; scripts start with none.
func umask(_ *runner, arg []string) (string, error) {
	return "", with(octal, arg[0], func(m uint32) error { unix.Umask(int(m)); return nil })
}

func creat(path string, mode uint32) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func writeNew(path, data string, flags int) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0o666)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(data))
	return errors.Join(err, unix.Close(fd))
}

func put(path, data string) error      { return writeNew(path, data, unix.O_TRUNC) }
func appendTo(path, data string) error { return writeNew(path, data, unix.O_APPEND) }

// contentMax is how much of a file is read.
const contentMax = 1 << 16

func get(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	data := make([]byte, contentMax)
	n, err := unix.Read(fd, data)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return "", err
	}
	return show(data[:n]), nil
}

// show is data as a transcript has it: short data itself, else a digest.
func show(data []byte) string {
	if len(data) <= 64 {
		return strconv.Quote(string(data))
	}
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%d bytes %x", len(data), sum[:6])
}

var openFlags = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR,
	"creat": unix.O_CREAT, "excl": unix.O_EXCL, "trunc": unix.O_TRUNC, "append": unix.O_APPEND, "nofollow": unix.O_NOFOLLOW,
	"directory": unix.O_DIRECTORY, "path": unix.O_PATH, "nonblock": unix.O_NONBLOCK, "sync": unix.O_SYNC, "dsync": unix.O_DSYNC,
	"direct": unix.O_DIRECT, "noatime": unix.O_NOATIME,
}

// openFile opens a file: the name it has in the script, its path, flags, mode.
func openFile(r *runner, arg []string) (string, error) {
	flags := unix.O_CLOEXEC
	for _, f := range strings.Split(arg[2], "|") {
		bits, ok := openFlags[f]
		if !ok {
			return "", fmt.Errorf("%w: flag %q", errScript, f)
		}
		flags |= bits
	}
	mode, err := octal(arg[3])
	if err != nil {
		return "", err
	}
	fd, err := unix.Open(arg[1], flags, mode)
	if err != nil {
		return "", err
	}
	if old, ok := r.open[arg[0]]; ok {
		unix.Close(old)
	}
	r.open[arg[0]] = fd
	return "", nil
}

func closeFile(r *runner, arg []string) (string, error) {
	fd, ok := r.open[arg[0]]
	if !ok {
		return "", unix.EBADF
	}
	delete(r.open, arg[0])
	return "", unix.Close(fd)
}

func count(n int, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return strconv.Itoa(n), nil
}

func readFD(fd int, length string) (string, error) {
	n, err := integer(length)
	if err != nil {
		return "", err
	}
	data := make([]byte, n)
	got, err := unix.Read(fd, data)
	if err != nil {
		return "", err
	}
	return show(data[:got]), nil
}

func pread(fd int, arg []string) (string, error) {
	length, offset, err := two64(arg[0], arg[1])
	if err != nil {
		return "", err
	}
	data := make([]byte, length)
	n, err := unix.Pread(fd, data, offset)
	if err != nil {
		return "", err
	}
	return show(data[:n]), nil
}

func pwrite(fd int, arg []string) (string, error) {
	offset, err := integer(arg[1])
	if err != nil {
		return "", err
	}
	return count(unix.Pwrite(fd, []byte(arg[0]), offset))
}

// seek moves to an offset from "set", "cur" or "end".
func seek(fd int, arg []string) (string, error) {
	offset, err := integer(arg[0])
	if err != nil {
		return "", err
	}
	whence := slices.Index([]string{"set", "cur", "end"}, arg[1])
	at, err := unix.Seek(fd, offset, whence)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(at, 10), nil
}

// mmapWrite stores data through a shared mapping of the file's first page, and syncs it.
func mmapWrite(fd int, arg []string) (string, error) {
	offset, err := integer(arg[1])
	if err != nil {
		return "", err
	}
	page, err := unix.Mmap(fd, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	copy(page[offset:], arg[0])
	return "", errors.Join(unix.Msync(page, unix.MS_SYNC), unix.Munmap(page))
}

// watch names paths, separated by commas, and a step; see runner.watch.
func watch(r *runner, arg []string) (string, error) {
	step, err := Parse(arg[1])
	if err != nil {
		return "", fmt.Errorf("%w: %w", errScript, err)
	}
	return r.watch(strings.Split(arg[0], ","), step)
}

// via goes on in the case's directory as another mount of the file system shows it: the first, 0, or one of the others. A
// file system that is mounted once has but one.
func via(r *runner, arg []string) (string, error) {
	n, err := integer(arg[0])
	if err != nil || n < 0 {
		return "", fmt.Errorf("%w: mount %q", errScript, arg[0])
	}
	return "", unix.Chdir(r.dirs[int(n)%len(r.dirs)])
}

// coarseTick waits until the clock of tmpfs's times, which moves with the timer interrupt, has moved: what is done from then on
// has a new time. The clock is what is waited for, so there is nothing to be woken by.
func coarseTick() error {
	var start, now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &start); err != nil {
		return fmt.Errorf("read the coarse clock: %w", err)
	}
	for now = start; now == start; {
		time.Sleep(time.Millisecond)
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return fmt.Errorf("read the coarse clock: %w", err)
		}
	}
	return nil
}
