package gonfs

import (
	"os"
	"path"
	"strings"

	"github.com/go-git/go-billy/v5"

	"bfsd/fsstate"
)

// export is the file system as go-nfs is given it, one per connection: FS on paths that start from handles (handle.go),
// with go-billy's conveniences taken away where NFS must not have them. No directory is made that the client did not
// ask for, creating a file does not empty it, and making a directory that exists is an error.
type export struct {
	*FS
	refs *refs
}

func newExport(inv *invoker, id [8]byte) *export {
	r := newRefs(inv, id)
	inv.changed = r.changed
	return &export{FS: &FS{inv: inv, names: r, base: "/", wire: true}, refs: r}
}

// Join keeps the elements as they are: a name like ".." must reach the check of names, not vanish in a cleaned path.
func (*export) Join(elem ...string) string { return strings.Join(elem, "/") }

// Stat is Lstat: see refs.find.
func (e *export) Stat(p string) (os.FileInfo, error) { return e.Lstat(p) }

// Create implements UNCHECKED creation (RFC 1813 §3.3.8) in one operation. go-nfs asks for it in GUARDED calls as well,
// after it has looked whether the name exists. If the client wants the file empty, go-nfs says so afterwards.
func (e *export) Create(p string) (billy.File, error) {
	dir, name, err := e.refs.entry(p)
	if err != nil {
		return nil, pathError("create", p, err)
	}
	mode := uint32(0o666)
	r, err := call[*fsstate.CreateResult](e.inv, &fsstate.Create{
		Dir: dir, Name: name, How: fsstate.Unchecked, Set: fsstate.SetAttrs{Mode: &mode},
	})
	if err != nil {
		return nil, pathError("create", p, err)
	}
	e.refs.saw(p, r.Object, r.Attr)
	e.refs.sawDir(p, dir, r.Dir.After)
	return e.open(p, r.Object, os.O_RDWR), nil
}

// Open implements billy.Basic.
func (e *export) Open(p string) (billy.File, error) { return e.OpenFile(p, os.O_RDONLY, 0) }

// OpenFile implements billy.Basic for the flags that go-nfs uses: it opens what exists.
func (e *export) OpenFile(p string, flag int, _ os.FileMode) (billy.File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		return nil, pathError("open", p, billy.ErrNotSupported)
	}
	n, err := e.refs.find(p, false)
	if err != nil {
		return nil, pathError("open", p, err)
	}
	return e.open(p, n.handle, flag), nil
}

func (e *export) open(p string, h fsstate.Handle, flag int) *openFile {
	return &openFile{fs: e.FS, path: p, name: p, handle: h, flag: flag}
}

// MkdirAll makes one directory.
func (e *export) MkdirAll(p string, perm os.FileMode) error {
	return pathError("mkdir", p, e.mkdir(p, perm))
}

// TempFile, Chroot and Root are of no use to go-nfs.

// TempFile implements billy.TempFile.
func (*export) TempFile(dir, prefix string) (billy.File, error) {
	return nil, pathError("create", path.Join(dir, prefix), billy.ErrNotSupported)
}

// Chroot implements billy.Chroot.
func (*export) Chroot(p string) (billy.Filesystem, error) {
	return nil, pathError("chroot", p, billy.ErrNotSupported)
}
