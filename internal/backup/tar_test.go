package backup

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bfsd/fsstate"
)

// GNU tar unpacks an archive into the very tree: names, types, contents, modes, owners, times, links, devices and holes.
func TestTarUnpacksTheArchive(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to unpack owners and devices")
	}
	tar, err := exec.LookPath("tar")
	if err != nil {
		t.Skip(err)
	}
	b := everything(t)
	// What no file system here takes: a time before 1901 or after 2446, a file of 1 TiB.
	b.do(&fsstate.Remove{Dir: b.at("/times"), Name: "6"})
	b.do(&fsstate.Remove{Dir: b.at("/times"), Name: "7"})
	b.set(b.at("/holes/hole last"), fsstate.SetAttrs{Size: ptr(uint64(10 << 20))})
	b.set(b.at("/holes/at the very end"), fsstate.SetAttrs{Size: ptr(uint64(0))})
	dir := t.TempDir()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), tar, "-xpf", "-", "--numeric-owner", "-C", dir)
	cmd.Stdin = bytes.NewReader(archive(t, b.fs))
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// A time stamp is as old as it should be. Of a name that is not UTF-8 the archive says so, as POSIX demands; tar
		// takes names for bytes anyway.
		if !strings.Contains(line, "implausibly old time stamp") && !strings.Contains(line, "keyword 'hdrcharset'") {
			t.Error("tar says:", line)
		}
	}
	if err != nil {
		t.Fatal("tar:", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := b.fs.Snapshot()
	inodes := map[uint64]uint64{} // of the unpacked files, by those of the file system
	if err := eachEntry(s, func(o *fsstate.Object, e *entry) error {
		path := filepath.Join(dir, e.path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Errorf("%q: %v", e.path, err)
			return nil
		}
		if before, more := inodes[o.Ino]; more && st.Ino != before {
			t.Errorf("%q is not the file that its other names are", e.path)
		}
		inodes[o.Ino] = st.Ino
		types := map[fsstate.FileType]uint32{
			fsstate.TypeRegular: unix.S_IFREG, fsstate.TypeDirectory: unix.S_IFDIR, fsstate.TypeSymlink: unix.S_IFLNK,
			fsstate.TypeFIFO: unix.S_IFIFO, fsstate.TypeChar: unix.S_IFCHR, fsstate.TypeBlock: unix.S_IFBLK,
		}
		mode := types[o.Type] | o.Mode
		if o.Type == fsstate.TypeSymlink {
			mode = unix.S_IFLNK | 0o777
			if target, err := os.Readlink(path); err != nil || target != o.Target {
				t.Errorf("%q leads to %q (%v), want %q", e.path, target, err, o.Target)
			}
		}
		if st.Mode != mode || st.Uid != o.UID || st.Gid != o.GID || st.Mtim.Nano() != int64(o.Mtime) {
			t.Errorf("%q has mode %o owner %d:%d mtime %d, want %o %d:%d %d", e.path, st.Mode, st.Uid, st.Gid, st.Mtim.Nano(), mode, o.UID, o.GID, o.Mtime)
		}
		if o.Type == fsstate.TypeChar || o.Type == fsstate.TypeBlock {
			if unix.Major(st.Rdev) != o.Major || unix.Minor(st.Rdev) != o.Minor {
				t.Errorf("%q is device %d:%d, want %d:%d", e.path, unix.Major(st.Rdev), unix.Minor(st.Rdev), o.Major, o.Minor)
			}
		}
		if o.Type == fsstate.TypeRegular {
			data, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(data, content(t, s, o)) {
				t.Errorf("%q has other contents (%v)", e.path, err)
			}
			if strings.HasSuffix(e.path, "hole last") && st.Blocks*512 > 1<<20 {
				t.Errorf("%q, a hole of 10 MiB, takes %d bytes", e.path, st.Blocks*512)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var socket syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(dir, filesPath, "directory", "socket"), &socket); err == nil {
		t.Error("a socket was unpacked")
	}
}
