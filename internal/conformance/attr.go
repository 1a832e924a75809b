package conformance

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func fileType(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "dir"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "char"
	case unix.S_IFBLK:
		return "block"
	}
	return "unknown"
}

// describe is what a program may rely on of an inode's attributes. A directory's size is its file system's own affair.
func describe(st *unix.Stat_t) string {
	text := fmt.Sprintf("%s %04o nlink=%d uid=%d gid=%d", fileType(st.Mode), st.Mode&0o7777, st.Nlink, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
	case unix.S_IFCHR, unix.S_IFBLK:
		text += fmt.Sprintf(" rdev=%d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	default:
		text += fmt.Sprintf(" size=%d", st.Size)
	}
	return text
}

func stat(p string, flags int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(unix.AT_FDCWD, p, &st, flags); err != nil {
		return "", err
	}
	return describe(&st), nil
}

func fstat(fd int, _ []string) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	return describe(&st), nil
}

// setTimes shows the times that a script has set: those that are no times of now.
func setTimes(p string) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(unix.AT_FDCWD, p, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return "", err
	}
	shown := func(t unix.Timespec) string {
		if age := now.Sec - t.Sec; age > -recentSeconds && age < recentSeconds {
			return "now"
		}
		return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec)
	}
	return "atime=" + shown(st.Atim) + " mtime=" + shown(st.Mtim) + " ctime=" + shown(st.Ctim), nil
}

// recentSeconds is how far a time may be from the guest's clock and still be called now: the server has a clock of its own.
const recentSeconds = 3600

func list(p string) (string, error) {
	names, err := readNames(p)
	if err != nil {
		return "", err
	}
	for i := range names {
		names[i] = quote(names[i])
	}
	return strings.Join(names, " "), nil
}

// readNames returns a directory's names, sorted, without "." and "..".
func readNames(p string) ([]string, error) {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// tree describes everything under a directory, which must be small.
func tree(root string) ([]string, error) {
	t := walker{root: root, first: map[uint64]string{}}
	if err := t.walk("."); err != nil {
		return nil, fmt.Errorf("look at what is left in %s: %w", root, err)
	}
	return t.lines, nil
}

type walker struct {
	root  string
	first map[uint64]string // the first path of each inode with several
	lines []string
}

func (t *walker) walk(at string) error {
	var st unix.Stat_t
	full := t.root + "/" + at
	if err := unix.Lstat(full, &st); err != nil {
		return fmt.Errorf("lstat %q: %w", at, err)
	}
	line := quote(at) + " " + describe(&st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err := get(full)
		if err != nil {
			return fmt.Errorf("read %q: %w", at, err)
		}
		line += " " + content
	case unix.S_IFLNK:
		target, err := readLink(nil, []string{full})
		if err != nil {
			return fmt.Errorf("readlink %q: %w", at, err)
		}
		line += " -> " + target
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		if first, ok := t.first[st.Ino]; ok {
			line += " same as " + quote(first)
		} else {
			t.first[st.Ino] = at
		}
	}
	t.lines = append(t.lines, line)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	names, err := readNames(full)
	if err != nil {
		return fmt.Errorf("list %q: %w", at, err)
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, t.walk(path.Join(at, name)))
	}
	return errors.Join(errs...)
}

// inodeTimes are the times whose changes a script can watch. Reading does not have to change the access time (POSIX allows
// relatime and noatime mounts, and the server changes it for nobody).
type inodeTimes struct {
	mtime, ctime unix.Timespec
	nlink, ino   uint64
}

func timesOf(p string) (inodeTimes, bool) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return inodeTimes{}, false
	}
	return inodeTimes{st.Mtim, st.Ctim, uint64(st.Nlink), st.Ino}, true //nolint:unconvert // narrower on other machines
}

// changed tells what a step changed of a path: "m" and "c" for times, "n" for the link count; or that the path came, went or is another file now.
func changed(before, after inodeTimes, was, is bool) string {
	switch {
	case !was && !is:
		return "none"
	case !was:
		return "came"
	case !is:
		return "went"
	case before.ino != after.ino:
		return "replaced"
	}
	text := ""
	if before.mtime != after.mtime {
		text += "m"
	}
	if before.ctime != after.ctime {
		text += "c"
	}
	if before.nlink != after.nlink {
		text += "n" + strconv.FormatUint(after.nlink, 10)
	}
	return text
}
