package gonfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/util"
	gonfs "github.com/willscott/go-nfs"
	gofile "github.com/willscott/go-nfs/file"

	"bfsd/fsstate"
)

// FS is what its documentation says it is.
var (
	_ billy.Filesystem = (*FS)(nil)
	_ billy.Capable    = (*FS)(nil)
	_ gonfs.UnixChange = (*FS)(nil)

	_ gonfs.Handler        = (*handler)(nil)
	_ gonfs.CachingHandler = (*handler)(nil)
)

func newFS() *FS { return NewFS(context.Background(), newBackend(), fsstate.Cred{}) }

func writeFile(t testing.TB, fs billy.Basic, path, content string) {
	t.Helper()
	f, err := fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, fs billy.Basic, path string) string {
	t.Helper()
	b, err := util.ReadFile(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestErrors(t *testing.T) {
	fs := newFS()
	writeFile(t, fs, "file", "x")
	writeFile(t, fs, "dir/file", "x")
	if err := fs.Symlink("loop2", "loop1"); err != nil {
		t.Fatal(err)
	}
	if err := fs.Symlink("loop1", "loop2"); err != nil {
		t.Fatal(err)
	}
	open := func(path string, flag int) error {
		_, err := fs.OpenFile(path, flag, 0o644)
		return err
	}
	readlink := func(path string) error {
		_, err := fs.Readlink(path)
		return err
	}
	readdir := func(path string) error {
		_, err := fs.ReadDir(path)
		return err
	}
	stat := func(path string) error {
		_, err := fs.Stat(path)
		return err
	}
	long := string(bytes.Repeat([]byte("n"), fsstate.NameMax+1))
	for _, test := range []struct {
		what string
		err  error
		want error
	}{
		{"open of nothing", open("none", os.O_RDONLY), os.ErrNotExist},
		{"exclusive creation of what exists", open("file", os.O_RDWR|os.O_CREATE|os.O_EXCL), os.ErrExist},
		{"exclusive creation over a link", open("loop1", os.O_RDWR|os.O_CREATE|os.O_EXCL), os.ErrExist},
		{"open of a directory for writing", open("dir", os.O_RDWR), syscall.EISDIR},
		{"creation of a directory's name", open("dir", os.O_RDWR|os.O_CREATE), syscall.EISDIR},
		{"creation of the root", open("/", os.O_RDWR|os.O_CREATE), syscall.EISDIR},
		{"open through a file", open("file/x", os.O_RDONLY), syscall.ENOTDIR},
		{"creation through a file", open("file/x", os.O_RDWR|os.O_CREATE), syscall.ENOTDIR},
		{"open of a loop", open("loop1", os.O_RDONLY), syscall.ELOOP},
		{"creation of a loop", open("loop1", os.O_RDWR|os.O_CREATE), syscall.ELOOP},
		{"stat through a loop", stat("loop1/x"), syscall.ELOOP},
		{"stat of a long name", stat(long), syscall.ENAMETOOLONG},
		{"creation of a long name", open(long, os.O_RDWR|os.O_CREATE), syscall.ENAMETOOLONG},
		{"readlink of a file", readlink("file"), syscall.EINVAL},
		{"readlink of nothing", readlink("none"), os.ErrNotExist},
		{"list of a file", readdir("file"), syscall.ENOTDIR},
		{"list of nothing", readdir("none"), os.ErrNotExist},
		{"removal of nothing", fs.Remove("none"), os.ErrNotExist},
		{"removal of a full directory", fs.Remove("dir"), syscall.ENOTEMPTY},
		{"removal of the root", fs.Remove("/"), syscall.EBUSY},
		{"rename of nothing", fs.Rename("none", "other"), os.ErrNotExist},
		{"link over a file", fs.Symlink("x", "file"), os.ErrExist},
		{"mkdir over a file", fs.MkdirAll("file", 0o755), syscall.ENOTDIR},
		{"mkdir under a file", fs.MkdirAll("file/dir", 0o755), syscall.ENOTDIR},
		{"chmod of nothing", fs.Chmod("none", 0o600), os.ErrNotExist},
		{"chown to a negative id", fs.Lchown("file", -2, 0), syscall.EINVAL},
		{"chtimes to the year 3000", fs.Chtimes("file", time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}), syscall.EINVAL},
		{"path out of the root", stat("../x"), billy.ErrCrossedBoundary},
		{"link out of the root", func() error {
			if err := fs.Symlink("../../x", "dir/out"); err != nil {
				t.Fatal(err)
			}
			return stat("dir/out")
		}(), billy.ErrCrossedBoundary},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: got %v, want %v", test.what, test.err, test.want)
			continue
		}
		var path *os.PathError
		var link *os.LinkError
		if !errors.As(test.err, &path) && !errors.As(test.err, &link) && !errors.Is(test.err, billy.ErrCrossedBoundary) {
			t.Errorf("%s: error is a %T", test.what, test.err)
		}
	}
}

func TestOpenFileErrors(t *testing.T) {
	fs := newFS()
	writeFile(t, fs, "file", "content")
	readOnly, err := fs.Open("file")
	if err != nil {
		t.Fatal(err)
	}
	writeOnly, err := fs.OpenFile("file", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := fs.Open("file")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	result := func(_ any, err error) error { return err }
	for _, test := range []struct {
		what string
		err  error
		want error
	}{
		{"write to a reader", result(readOnly.Write(buf)), syscall.EBADF},
		{"truncation of a reader", readOnly.Truncate(0), syscall.EINVAL},
		{"truncation to less than nothing", writeOnly.Truncate(-1), syscall.EINVAL},
		{"read from a writer", result(writeOnly.Read(buf)), syscall.EBADF},
		{"positioned read from a writer", result(writeOnly.ReadAt(buf, 0)), syscall.EBADF},
		{"positioned write to an appender", result(writeOnly.(io.WriterAt).WriteAt(buf, 0)), syscall.EINVAL},
		{"read before the start", result(readOnly.ReadAt(buf, -1)), syscall.EINVAL},
		{"seek before the start", result(readOnly.Seek(-8, io.SeekEnd)), syscall.EINVAL},
		{"seek from nowhere", result(readOnly.Seek(0, 9)), syscall.EINVAL},
		{"seek past the largest offset", result(readOnly.Seek(offsetMax, io.SeekEnd)), syscall.EINVAL},
		{"lock", readOnly.Lock(), billy.ErrNotSupported},
		{"unlock", readOnly.Unlock(), billy.ErrNotSupported},
		{"read after close", result(closed.Read(buf)), os.ErrClosed},
		{"positioned read after close", result(closed.ReadAt(buf, 0)), os.ErrClosed},
		{"write after close", result(closed.Write(buf)), os.ErrClosed},
		{"seek after close", result(closed.Seek(0, io.SeekStart)), os.ErrClosed},
		{"truncation after close", closed.Truncate(0), os.ErrClosed},
		{"second close", closed.Close(), os.ErrClosed},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: got %v, want %v", test.what, test.err, test.want)
		}
	}
	if readFile(t, fs, "file") != "content" {
		t.Error("a call that failed changed the file")
	}
	if billy.CapabilityCheck(fs, billy.LockCapability) || !billy.CapabilityCheck(fs, billy.WriteCapability|billy.TruncateCapability) {
		t.Errorf("capabilities %b", fs.Capabilities())
	}
}

func TestSymbolicLinksAreFollowed(t *testing.T) {
	fs := newFS()
	writeFile(t, fs, "a/b/file", "content")
	for link, target := range map[string]string{
		"rel": "a/b", "abs": "/a", "a/up": "../a/b/./file", "chain": "rel", "dangling": "a/new", "slash": "a//b/",
	} {
		if err := fs.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"rel/file", "abs/b/file", "a/up", "chain/file", "slash/file", "/rel/../rel/file"} {
		if got := readFile(t, fs, path); got != "content" {
			t.Errorf("%s: %q", path, got)
		}
	}
	writeFile(t, fs, "dangling", "made through a link")
	if got := readFile(t, fs, "a/new"); got != "made through a link" {
		t.Errorf("a/new: %q", got)
	}
	if err := fs.Chmod("chain", 0o711); err != nil {
		t.Fatal(err)
	}
	if fi, err := fs.Lstat("a/b"); err != nil || fi.Mode() != os.ModeDir|0o711 {
		t.Errorf("chmod through links: %v, %v", fi, err)
	}
	if fi, err := fs.Lstat("chain"); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("lstat of a link: %v, %v", fi, err)
	}
	if err := fs.Remove("chain"); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Lstat("rel"); err != nil {
		t.Errorf("removing a link removed what it leads to: %v", err)
	}
}

func TestChroot(t *testing.T) {
	fs := newFS()
	writeFile(t, fs, "jail/dir/file", "inside")
	writeFile(t, fs, "dir/file", "outside")
	jail, err := fs.Chroot("jail")
	if err != nil {
		t.Fatal(err)
	}
	if err := jail.Symlink("/dir/file", "link"); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, jail, "link"); got != "inside" {
		t.Errorf("an absolute link in a chroot leads %s", got)
	}
	if jail.Root() != "/jail" || fs.Root() != "/" {
		t.Errorf("roots %q and %q", jail.Root(), fs.Root())
	}
	sub, err := jail.Chroot("dir")
	if err != nil || readFile(t, sub, "file") != "inside" {
		t.Errorf("chroot in a chroot: %v", err)
	}
	if _, err := jail.Chroot("../dir"); !errors.Is(err, billy.ErrCrossedBoundary) {
		t.Errorf("chroot out of a chroot: %v", err)
	}
}

func TestAttributes(t *testing.T) {
	fs := newFS()
	writeFile(t, fs, "file", "12345")
	at := time.Unix(1234567890, 123456789)
	for _, err := range []error{
		fs.Lchown("file", 1000, 2000), fs.Chown("file", -1, 3000),
		fs.Chmod("file", 0o754|os.ModeSetuid|os.ModeSticky), // after chown, which clears set-id bits
		fs.Chtimes("file", time.Time{}, at),
		fs.Link("file", "other/name"),
		fs.Mkfifo("fifo", 0o600), fs.Socket("socket"),
		fs.Mknod("block", 0o600, 7, 9), fs.Mknod("char", typeChar|0o600, 1, 3),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fi, err := fs.Stat("other/name")
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode() != 0o754|os.ModeSetuid|os.ModeSticky || !fi.ModTime().Equal(at) || fi.Size() != 5 || fi.Name() != "name" || fi.IsDir() {
		t.Errorf("got %v %v %d %s", fi.Mode(), fi.ModTime(), fi.Size(), fi.Name())
	}
	sys := gofile.GetInfo(fi)
	if sys == nil || sys.Nlink != 2 || sys.UID != 1000 || sys.GID != 3000 || sys.Fileid == 0 {
		t.Errorf("sys %+v", sys)
	}
	for name, want := range map[string]os.FileMode{
		"fifo": os.ModeNamedPipe | 0o600, "socket": os.ModeSocket | 0o666,
		"block": os.ModeDevice | 0o600, "char": os.ModeDevice | os.ModeCharDevice | 0o600,
	} {
		fi, err := fs.Lstat(name)
		if err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	if fi, err := fs.Lstat("char"); err != nil || gofile.GetInfo(fi).Major != 1 || gofile.GetInfo(fi).Minor != 3 {
		t.Errorf("device numbers of %v, %v", fi, err)
	}
}

func TestIdentity(t *testing.T) {
	backend := newBackend()
	root := NewFS(t.Context(), backend, fsstate.Cred{})
	user := NewFS(t.Context(), backend, fsstate.Cred{UID: 1000, GID: 1000})
	writeFile(t, root, "secret", "content")
	if err := root.Chmod("secret", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := util.ReadFile(user, "secret"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a user reads root's file: %v", err)
	}
	if err := user.Remove("secret"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a user removes root's file: %v", err)
	}
	if err := root.MkdirAll("tmp", 0o777); err != nil {
		t.Fatal(err)
	}
	writeFile(t, user, "tmp/mine", "content")
	if fi, err := root.Stat("tmp/mine"); err != nil || gofile.GetInfo(fi).UID != 1000 {
		t.Errorf("a user's file is not theirs: %v", err)
	}
}

func TestFileOutlivesRename(t *testing.T) {
	fs := newFS()
	f, err := fs.Create("old")
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Rename("old", "new"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("content")); err != nil {
		t.Fatal(err)
	}
	if readFile(t, fs, "new") != "content" {
		t.Error("written elsewhere")
	}
}

func TestConcurrentUse(t *testing.T) {
	fs := newFS()
	shared, err := fs.Create("shared")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				path := fmt.Sprintf("dir/%d/%d", i, j)
				want := fmt.Sprintf("%d %d", i, j)
				if err := util.WriteFile(fs, path, []byte(want), 0o644); err != nil {
					t.Error(err)
				}
				if b, err := util.ReadFile(fs, path); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v", path, b, err)
				}
				if _, err := shared.Write([]byte("0123456789")); err != nil {
					t.Error(err)
				}
				if err := fs.MkdirAll("made/by/many", 0o755); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if fi, err := fs.Stat("shared"); err != nil || fi.Size() != 8*20*10 {
		t.Errorf("writes through one file overlapped: size %d, %v", fi.Size(), err)
	}
	if list, err := fs.ReadDir("dir"); err != nil || len(list) != 8 {
		t.Errorf("%d directories, %v", len(list), err)
	}
}

// Creation of one name by many: exactly one wins with O_EXCL, all get the same file without.
func TestConcurrentCreation(t *testing.T) {
	fs := newFS()
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		all.Go(func() {
			if f, err := fs.OpenFile("excl", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
				f.Close()
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, os.ErrExist) {
				t.Error(err)
			}
			f, err := fs.OpenFile("both", os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d exclusive creations of one name succeeded", won)
	}
}

func TestNoResult(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	backend := newBackend()
	fs := NewFS(ctx, failing{}, fsstate.Cred{})
	if _, err := fs.Stat("/"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat without a result: %v", err)
	}
	h := &held{Backend: backend, entered: make(chan struct{}, 1), letGo: make(chan struct{})}
	fs = NewFS(ctx, h, fsstate.Cred{})
	go func() {
		<-h.entered
		cancel()
	}()
	if _, err := fs.Stat("/"); !errors.Is(err, context.Canceled) {
		t.Errorf("stat when the context ended: %v", err)
	}
}

func TestOperationsPerPath(t *testing.T) {
	backend := &counting{Backend: newBackend()}
	fs := NewFS(context.Background(), backend, fsstate.Cred{})
	writeFile(t, fs, "a/b/c/file", "content")
	f, err := fs.Open("a/b/c/file")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what string
		do   func() error
		want int
	}{
		{"stat", func() error { _, err := fs.Stat("a/b/c/file"); return err }, 1},
		{"open", func() error { _, err := fs.Open("a/b/c/file"); return err }, 1},
		{"read", func() error { _, err := f.Read(make([]byte, 7)); return err }, 1},
		{"list", func() error { _, err := fs.ReadDir("a/b/c"); return err }, 2},
		{"chmod", func() error { return fs.Chmod("a/b/c/file", 0o600) }, 2},
		{"remove", func() error { return fs.Remove("a/b/c/file") }, 2},
	} {
		backend.take()
		if err := test.do(); err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
		if ops := backend.take(); len(ops) != test.want {
			t.Errorf("%s took operations %v, want %d", test.what, ops, test.want)
		}
	}
}
