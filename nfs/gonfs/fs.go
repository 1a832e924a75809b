package gonfs

import (
	"context"
	"errors"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/util"

	"bfsd/fsstate"
	"bfsd/nfs"
)

const (
	// createTries bounds how often opening with O_CREATE starts again because the name came or went meanwhile.
	createTries = 8
	// listBytes is the size of one page of a directory listing, and listEntry what an entry takes beside its name: about
	// the size of its encoding.
	listBytes  = 256 << 10
	listEntry  = 160
	parentMode = 0o755 // of directories made because a new name needs them
)

// FS is a go-billy file system on a backend: billy.Filesystem, billy.Change and go-nfs's UnixChange. Every method is one
// operation or a few, each of them atomic; it is safe for concurrent use. Errors are *os.PathError or *os.LinkError
// around a syscall.Errno, or around the backend's error when no result is known; a path that leaves the root is
// billy.ErrCrossedBoundary.
//
// As go-billy expects, creating a file, a symbolic link or a new name for something makes the directories it needs.
// Symbolic links with an absolute target lead to the file system's own root, as after chroot(2).
type FS struct {
	inv     *invoker
	names   names
	base    string
	parents bool // make missing directories of a new name
	wire    bool // see info.wire
}

// NewFS returns the file system whose operations run on backend under cred, the zero of which is root. When ctx ends, so
// do they.
func NewFS(ctx context.Context, backend nfs.Backend, cred fsstate.Cred) *FS {
	inv := &invoker{ctx: ctx, backend: backend, cred: cred}
	return &FS{inv: inv, names: &walker{inv: inv, base: "/"}, base: "/", parents: true}
}

// Capabilities implements billy.Capable. There are no locks.
func (*FS) Capabilities() billy.Capability {
	return billy.AllCapabilities &^ billy.LockCapability
}

// Root implements billy.Chroot.
func (fs *FS) Root() string { return fs.base }

// Chroot implements billy.Chroot. The directory need not exist yet.
func (fs *FS) Chroot(p string) (billy.Filesystem, error) {
	p, err := clean(p)
	if err != nil {
		return nil, err
	}
	sub := *fs
	sub.base = path.Join(fs.base, p)
	sub.names = &walker{inv: fs.inv, base: sub.base}
	return &sub, nil
}

// Join implements billy.Basic.
func (*FS) Join(elem ...string) string { return path.Join(elem...) }

// Stat implements billy.Basic.
func (fs *FS) Stat(p string) (os.FileInfo, error) { return fs.stat("stat", p, true) }

// Lstat implements billy.Symlink.
func (fs *FS) Lstat(p string) (os.FileInfo, error) { return fs.stat("lstat", p, false) }

func (fs *FS) stat(op, p string, follow bool) (os.FileInfo, error) {
	n, err := fs.names.find(p, follow)
	if err != nil {
		return nil, pathError(op, p, err)
	}
	return &info{name: path.Base(p), attr: n.attr, wire: fs.wire}, nil
}

// Create implements billy.Basic.
func (fs *FS) Create(p string) (billy.File, error) {
	return fs.OpenFile(p, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// Open implements billy.Basic.
func (fs *FS) Open(p string) (billy.File, error) { return fs.OpenFile(p, os.O_RDONLY, 0) }

// OpenFile implements billy.Basic. perm is used as it is: there is no umask.
func (fs *FS) OpenFile(p string, flag int, perm os.FileMode) (billy.File, error) {
	f, err := fs.openFile(p, flag, perm)
	if err != nil {
		return nil, pathError("open", p, err)
	}
	return f, nil
}

func (fs *FS) openFile(p string, flag int, perm os.FileMode) (*openFile, error) {
	var n node
	var err error
	if flag&os.O_CREATE != 0 {
		n, err = fs.create(p, flag&os.O_EXCL != 0, perm)
	} else {
		n, err = fs.names.find(p, true)
	}
	if err != nil {
		return nil, err
	}
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	if n.attr.Type == fsstate.TypeDirectory && (writes || flag&(os.O_CREATE|os.O_TRUNC) != 0) {
		return nil, syscall.EISDIR
	}
	f := &openFile{fs: fs, path: p, name: strings.TrimLeft(path.Clean(p), "/"), handle: n.handle, flag: flag}
	if flag&os.O_TRUNC != 0 {
		if err := f.setSize(0); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// create opens p, or makes it. Look-up and creation are two operations, so it starts again when they contradict.
func (fs *FS) create(p string, excl bool, perm os.FileMode) (node, error) {
	dir, name, err := fs.newEntry(p)
	if errors.Is(err, syscall.EBUSY) {
		return fs.names.find(p, true) // the root
	}
	for range createTries {
		if err != nil {
			return node{}, err
		}
		n, lookErr := fs.inv.lookup(dir, name)
		switch {
		case lookErr == nil && excl:
			return node{}, syscall.EEXIST
		case lookErr == nil && n.attr.Type == fsstate.TypeSymlink:
			dir, name, err = fs.names.target(p)
			continue
		case lookErr == nil:
			return n, nil
		case !errors.Is(lookErr, syscall.ENOENT):
			return node{}, lookErr
		}
		mode := posixMode(perm)
		r, makeErr := call[*fsstate.CreateResult](fs.inv, &fsstate.Create{
			Dir: dir, Name: name, How: fsstate.Guarded, Set: fsstate.SetAttrs{Mode: &mode},
		})
		if makeErr == nil {
			return fs.inv.nodeOf(r.Object, r.Attr)
		}
		if excl || !errors.Is(makeErr, syscall.EEXIST) {
			return node{}, makeErr
		}
	}
	return node{}, syscall.EAGAIN
}

// newEntry is names.entry for a name that is to be made.
func (fs *FS) newEntry(p string) (fsstate.Handle, string, error) {
	dir, name, err := fs.names.entry(p)
	if fs.parents && errors.Is(err, syscall.ENOENT) {
		if err := fs.mkdirAll(path.Dir(strings.Trim(p, "/")), parentMode); err != nil {
			return fsstate.Handle{}, "", err
		}
		return fs.names.entry(p)
	}
	return dir, name, err
}

// MkdirAll implements billy.Dir.
func (fs *FS) MkdirAll(p string, perm os.FileMode) error {
	return pathError("mkdir", p, fs.mkdirAll(p, perm))
}

func (fs *FS) mkdirAll(p string, perm os.FileMode) error {
	p, err := clean(p)
	if err != nil {
		return err
	}
	n, err := fs.names.find(p, true)
	switch {
	case err == nil && n.attr.Type == fsstate.TypeDirectory:
		return nil
	case err == nil:
		return syscall.ENOTDIR
	case !errors.Is(err, syscall.ENOENT):
		return err
	}
	if p == "" {
		return fs.makeBase(perm)
	}
	if err := fs.mkdirAll(path.Dir(p), perm); err != nil {
		return err
	}
	err = fs.mkdir(p, perm)
	if errors.Is(err, syscall.EEXIST) {
		if n, findErr := fs.names.find(p, true); findErr == nil && n.attr.Type == fsstate.TypeDirectory {
			return nil // somebody else made it
		}
	}
	return err
}

// makeBase makes the directory that Chroot went to.
func (fs *FS) makeBase(perm os.FileMode) error {
	if fs.base == "/" {
		return syscall.ENOENT
	}
	top := *fs
	top.base, top.names = "/", &walker{inv: fs.inv, base: "/"}
	return top.mkdirAll(fs.base, perm)
}

// mkdir makes one directory.
func (fs *FS) mkdir(p string, perm os.FileMode) error {
	dir, name, err := fs.names.entry(p)
	if err != nil {
		return err
	}
	mode := posixMode(perm)
	return fs.make(p, dir, &fsstate.Mkdir{Dir: dir, Name: name, Set: fsstate.SetAttrs{Mode: &mode}})
}

// make runs an operation that makes an object at p, in dir.
func (fs *FS) make(p string, dir fsstate.Handle, args fsstate.Args) error {
	r, err := call[*fsstate.CreateResult](fs.inv, args)
	if err != nil {
		return err
	}
	fs.names.saw(p, r.Object, r.Attr)
	fs.names.sawDir(p, dir, r.Dir.After)
	return nil
}

// Symlink implements billy.Symlink.
func (fs *FS) Symlink(target, link string) error {
	dir, name, err := fs.newEntry(link)
	if err == nil {
		err = fs.make(link, dir, &fsstate.Symlink{Dir: dir, Name: name, Target: target})
	}
	return linkError("symlink", target, link, err)
}

// Readlink implements billy.Symlink.
func (fs *FS) Readlink(link string) (string, error) {
	n, err := fs.names.find(link, false)
	if err != nil {
		return "", pathError("readlink", link, err)
	}
	r, err := call[*fsstate.ReadLinkResult](fs.inv, &fsstate.ReadLink{Object: n.handle})
	if err != nil {
		return "", pathError("readlink", link, err)
	}
	return r.Target, nil
}

// Rename implements billy.Basic.
func (fs *FS) Rename(from, to string) error {
	return linkError("rename", from, to, fs.rename(from, to))
}

func (fs *FS) rename(from, to string) error {
	fromDir, fromName, err := fs.names.entry(from)
	if err != nil {
		return err
	}
	toDir, toName, err := fs.newEntry(to)
	if err != nil {
		return err
	}
	r, err := call[*fsstate.RenameResult](fs.inv, &fsstate.Rename{
		FromDir: fromDir, FromName: fromName, ToDir: toDir, ToName: toName,
	})
	if err != nil {
		return err
	}
	fs.names.sawDir(from, fromDir, r.From.After)
	fs.names.sawDir(to, toDir, r.To.After)
	return nil
}

// Remove implements billy.Basic: of anything but a directory with entries.
func (fs *FS) Remove(p string) error {
	dir, name, err := fs.names.entry(p)
	if err != nil {
		return pathError("remove", p, err)
	}
	r, err := call[*fsstate.RemoveResult](fs.inv, &fsstate.Remove{Dir: dir, Name: name})
	if errors.Is(err, syscall.EISDIR) {
		r, err = call[*fsstate.RemoveResult](fs.inv, &fsstate.Rmdir{Dir: dir, Name: name})
	}
	if err != nil {
		return pathError("remove", p, err)
	}
	fs.names.sawDir(p, dir, r.Dir.After)
	return nil
}

// ReadDir implements billy.Dir: all entries but "." and "..", by name. A directory that changes meanwhile is listed page
// by page, so that an entry which stays is listed exactly once.
func (fs *FS) ReadDir(p string) ([]os.FileInfo, error) {
	n, err := fs.names.find(p, true)
	if err != nil {
		return nil, pathError("readdir", p, err)
	}
	var list []os.FileInfo
	args := fsstate.ReadDir{Dir: n.handle, Plus: true, Limits: [2]fsstate.DirLimit{{Bytes: listBytes, PerEntry: listEntry}}}
	for {
		r, err := call[*fsstate.ReadDirResult](fs.inv, &args)
		if err != nil {
			return nil, pathError("readdir", p, err)
		}
		for _, e := range r.Entries {
			args.Cookie = e.Cookie
			if e.Name == "." || e.Name == ".." || e.Attr == nil {
				continue
			}
			list = append(list, &info{name: e.Name, attr: *e.Attr, wire: fs.wire})
		}
		if r.EOF {
			break
		}
		if len(r.Entries) == 0 {
			return nil, pathError("readdir", p, syscall.EIO) // an unending listing of nothing
		}
		args.Verf = r.Verf
	}
	slices.SortFunc(list, func(a, b os.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// TempFile implements billy.TempFile.
func (fs *FS) TempFile(dir, prefix string) (billy.File, error) { return util.TempFile(fs, dir, prefix) }

// offsetMax is the end of the largest file: offsets are signed in POSIX and unsigned in fsstate.
const offsetMax = math.MaxInt64
