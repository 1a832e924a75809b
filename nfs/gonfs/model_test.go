package gonfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-git/go-billy/v5"
	"pgregory.net/rapid"
)

// host is the reference: the file system of this machine below a directory, through package os, with the convenience
// that go-billy adds: directories are made for new names.
type host struct{ dir string }

func (h host) at(p string) string { return filepath.Join(h.dir, p) }

// parents makes the directories of a new name.
func (h host) parents(p string) error { return os.MkdirAll(filepath.Dir(h.at(p)), 0o755) }

// outcome is what a caller can tell of a call: its result, and its error's kind.
func outcome(result any, err error) string {
	switch {
	case err == nil:
		return fmt.Sprint(result)
	case errors.Is(err, os.ErrNotExist):
		return "does not exist"
	case errors.Is(err, syscall.ENOTEMPTY):
		return "not empty"
	case errors.Is(err, os.ErrExist):
		return "exists"
	}
	for _, errno := range []syscall.Errno{syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.EINVAL, syscall.EBADF} {
		if errors.Is(err, errno) {
			return errno.Error()
		}
	}
	return "error: " + err.Error()
}

// opened is what the calls on an open file have in common.
type opened interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// useFile makes a few calls on an open file and says what came of them.
func useFile(f opened, steps []fileStep) string {
	var b strings.Builder
	for _, s := range steps {
		switch s.call {
		case "read":
			p := make([]byte, s.n)
			n, err := io.ReadFull(f, p)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			fmt.Fprintf(&b, "read %s; ", outcome(p[:n], err))
		case "write":
			n, err := f.Write([]byte(strings.Repeat("w", s.n)))
			fmt.Fprintf(&b, "write %s; ", outcome(n, err))
		case "readat":
			p := make([]byte, s.n)
			n, err := f.ReadAt(p, s.off)
			fmt.Fprintf(&b, "readat %s %v; ", outcome(p[:n], nil), errors.Is(err, io.EOF))
		case "writeat":
			n, err := f.WriteAt([]byte(strings.Repeat("a", s.n)), s.off)
			fmt.Fprintf(&b, "writeat %d %v; ", n, err == nil)
		case "seek":
			pos, err := f.Seek(s.off, s.n%3)
			fmt.Fprintf(&b, "seek %s; ", outcome(pos, err))
		case "truncate":
			fmt.Fprintf(&b, "truncate %s; ", outcome("", f.Truncate(s.off)))
		}
	}
	fmt.Fprintf(&b, "close %v", f.Close())
	return b.String()
}

type fileStep struct {
	call string
	n    int
	off  int64
}

func describe(fi os.FileInfo, err error) string {
	if err != nil {
		return outcome(nil, err)
	}
	size := fi.Size()
	if fi.IsDir() {
		size = 0 // of a directory it is anybody's choice
	}
	return fmt.Sprintf("%s %v %d", fi.Name(), fi.Mode(), size)
}

// TestLikeTheHost does the same random calls on FS and on the host's file system and compares what comes of each, and
// everything there is in the end.
func TestLikeTheHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("compares with what root may do")
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "gonfs-model-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h, fs := host{dir: dir}, newFS()
		paths := rapid.SampledFrom([]string{"a", "b", "c", "a/b", "a/c", "b/a", "b/c", "a/b/c", "a/b/a", "c/a/b"})
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) { openBoth(t, h, fs, paths.Draw(t, "path")) },
			"stat": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				same(t, "stat "+p, describe(os.Stat(h.at(p))), describe(fs.Stat(p)))
				same(t, "lstat "+p, describe(os.Lstat(h.at(p))), describe(fs.Lstat(p)))
			},
			"mkdir": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				same(t, "mkdir "+p, os.MkdirAll(h.at(p), 0o750) == nil, fs.MkdirAll(p, 0o750) == nil)
			},
			"remove": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				same(t, "remove "+p, outcome("", os.Remove(h.at(p))), outcome("", fs.Remove(p)))
			},
			"symlink": func(t *rapid.T) {
				p, to := paths.Draw(t, "path"), rapid.SampledFrom([]string{"a", "b", "c", "b/c", "./a", "x"}).Draw(t, "target")
				err := h.parents(p)
				if err == nil {
					err = os.Symlink(to, h.at(p))
				}
				same(t, "symlink "+p, err == nil, fs.Symlink(to, p) == nil)
			},
			"readlink": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				same(t, "readlink "+p, outcome(os.Readlink(h.at(p))), outcome(fs.Readlink(p)))
			},
			"rename": func(t *rapid.T) {
				from, to := paths.Draw(t, "from"), paths.Draw(t, "to")
				if _, err := os.Lstat(h.at(from)); err != nil {
					return // which directories are made before it fails is nobody's business
				}
				err := h.parents(to)
				if err == nil {
					err = syscall.Rename(h.at(from), h.at(to)) // os.Rename refuses directories that rename(2) replaces
				}
				same(t, "rename "+from+" "+to, err == nil, fs.Rename(from, to) == nil)
			},
			"chmod": func(t *rapid.T) {
				p, mode := paths.Draw(t, "path"), rapid.SampledFrom([]os.FileMode{0o600, 0o755, 0o711 | os.ModeSticky, 0o755 | os.ModeSetuid}).Draw(t, "mode")
				same(t, "chmod "+p, outcome("", os.Chmod(h.at(p), mode)), outcome("", fs.Chmod(p, mode)))
			},
			"link": func(t *rapid.T) {
				p, link := paths.Draw(t, "path"), paths.Draw(t, "link")
				if _, err := os.Lstat(h.at(p)); err != nil {
					return
				}
				err := h.parents(link)
				if err == nil {
					err = os.Link(h.at(p), h.at(link))
				}
				same(t, "link "+p+" "+link, err == nil, fs.Link(p, link) == nil)
			},
			"": func(t *rapid.T) { same(t, "tree", hostTree(h, ""), tree(fs, "")) },
		})
	})
}

func same[T comparable](t *rapid.T, what string, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("%s:\nhost  %v\ngonfs %v", what, want, got)
	}
}

func openBoth(t *rapid.T, h host, fs *FS, p string) {
	flag := rapid.SampledFrom([]int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR}).Draw(t, "access")
	for _, f := range []int{os.O_CREATE, os.O_EXCL, os.O_TRUNC, os.O_APPEND} {
		if rapid.Bool().Draw(t, "flag") {
			flag |= f
		}
	}
	if flag&os.O_CREATE == 0 {
		flag &^= os.O_EXCL // undefined without it
	}
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		flag &^= os.O_TRUNC // unspecified for readers
	}
	var steps []fileStep
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		steps = append(steps, fileStep{
			call: rapid.SampledFrom([]string{"read", "write", "readat", "writeat", "seek", "truncate"}).Draw(t, "call"),
			n:    rapid.IntRange(1, 20).Draw(t, "n"), off: rapid.Int64Range(-2, 40).Draw(t, "off"),
		})
	}
	var err error
	if flag&os.O_CREATE != 0 {
		err = h.parents(p)
	}
	var hostFile *os.File
	if err == nil {
		hostFile, err = os.OpenFile(h.at(p), flag, 0o640)
	}
	ours, ourErr := fs.OpenFile(p, flag, 0o640)
	what := fmt.Sprintf("open %s %#x", p, flag)
	if same(t, what, err == nil, ourErr == nil); err != nil {
		return
	}
	if fi, err := hostFile.Stat(); err != nil || fi.IsDir() {
		hostFile.Close()
		ours.Close()
		return
	}
	same(t, what, useFile(hostFile, steps), useFile(ours.(opened), steps))
}

// tree lists everything below a directory.
func tree(fs billy.Filesystem, dir string) string {
	list, err := fs.ReadDir(dir)
	if err != nil {
		return outcome(nil, err)
	}
	var b strings.Builder
	for _, fi := range list {
		p := path.Join(dir, fi.Name())
		fmt.Fprintf(&b, "%s/%s\n", dir, describe(fi, nil))
		if fi.IsDir() {
			b.WriteString(tree(fs, p))
		}
	}
	return b.String()
}

func hostTree(h host, dir string) string {
	list, err := os.ReadDir(h.at(dir))
	if err != nil {
		return outcome(nil, err)
	}
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%s/%s\n", dir, describe(e.Info()))
		if e.IsDir() {
			b.WriteString(hostTree(h, path.Join(dir, e.Name())))
		}
	}
	return b.String()
}
