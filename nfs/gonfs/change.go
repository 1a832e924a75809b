package gonfs

import (
	"math"
	"os"
	"syscall"
	"time"

	"bfsd/fsstate"
)

// Chmod implements billy.Chmod.
func (fs *FS) Chmod(p string, mode os.FileMode) error {
	m := posixMode(mode)
	return pathError("chmod", p, fs.setAttrs(p, true, fsstate.SetAttrs{Mode: &m}))
}

// Chown implements billy.Change. An id of -1 stays as it is.
func (fs *FS) Chown(p string, uid, gid int) error {
	return pathError("chown", p, fs.chown(p, true, uid, gid))
}

// Lchown implements billy.Change. An id of -1 stays as it is.
func (fs *FS) Lchown(p string, uid, gid int) error {
	return pathError("lchown", p, fs.chown(p, false, uid, gid))
}

func (fs *FS) chown(p string, follow bool, uid, gid int) error {
	u, err := idOf(uid)
	if err != nil {
		return err
	}
	g, err := idOf(gid)
	if err != nil {
		return err
	}
	return fs.setAttrs(p, follow, fsstate.SetAttrs{UID: u, GID: g})
}

func idOf(id int) (*uint32, error) {
	if id == -1 {
		return nil, nil
	}
	if id < 0 || id > math.MaxUint32 {
		return nil, syscall.EINVAL
	}
	v := uint32(id)
	return &v, nil
}

// Chtimes implements billy.Change. As with os.Chtimes a zero time stays as it is.
func (fs *FS) Chtimes(p string, atime, mtime time.Time) error {
	a, err := timeOf(atime)
	if err != nil {
		return pathError("chtimes", p, err)
	}
	m, err := timeOf(mtime)
	if err != nil {
		return pathError("chtimes", p, err)
	}
	return pathError("chtimes", p, fs.setAttrs(p, true, fsstate.SetAttrs{Atime: a, Mtime: m}))
}

func timeOf(t time.Time) (fsstate.SetTime, error) {
	if t.IsZero() {
		return fsstate.SetTime{}, nil
	}
	ns := t.UnixNano()
	if !time.Unix(0, ns).Equal(t) { // further from 1970 than int64 nanoseconds reach
		return fsstate.SetTime{}, syscall.EINVAL
	}
	return fsstate.SetTime{How: fsstate.TimeClient, Time: fsstate.Time(ns)}, nil
}

func (fs *FS) setAttrs(p string, follow bool, set fsstate.SetAttrs) error {
	n, err := fs.names.find(p, follow)
	if err != nil {
		return err
	}
	return fs.setAttr(p, n.handle, set)
}

func (fs *FS) setAttr(p string, h fsstate.Handle, set fsstate.SetAttrs) error {
	r, err := call[*fsstate.SetAttrResult](fs.inv, &fsstate.SetAttr{Object: h, Set: set})
	if err != nil {
		return err
	}
	fs.names.saw(p, h, r.Wcc.After)
	return nil
}

// Link implements go-nfs's UnixChange: it gives the object at p the further name link.
func (fs *FS) Link(p, link string) error { return linkError("link", p, link, fs.link(p, link)) }

func (fs *FS) link(p, link string) error {
	n, err := fs.names.find(p, false)
	if err != nil {
		return err
	}
	dir, name, err := fs.newEntry(link)
	if err != nil {
		return err
	}
	_, err = call[*fsstate.LinkResult](fs.inv, &fsstate.Link{Object: n.handle, Dir: dir, Name: name})
	return err
}

// The file type bits of a mode as mknod(2) takes it, which os.FileMode does not have.
const (
	typeMask  = 0o170000
	typeChar  = 0o020000
	typeBlock = 0o060000
)

// Mknod implements go-nfs's UnixChange. It makes a character device if mode says so as for mknod(2) or as os.FileMode
// does, else a block device: go-nfs calls it for block devices alone, with no type in the mode.
func (fs *FS) Mknod(p string, mode, major, minor uint32) error {
	kind := fsstate.TypeBlock
	if mode&typeMask == typeChar || os.FileMode(mode)&os.ModeCharDevice != 0 {
		kind = fsstate.TypeChar
	}
	return pathError("mknod", p, fs.mknod(p, kind, mode, major, minor))
}

// Mkfifo implements go-nfs's UnixChange.
func (fs *FS) Mkfifo(p string, mode uint32) error {
	return pathError("mkfifo", p, fs.mknod(p, fsstate.TypeFIFO, mode, 0, 0))
}

// Socket implements go-nfs's UnixChange.
func (fs *FS) Socket(p string) error {
	return pathError("socket", p, fs.mknod(p, fsstate.TypeSocket, 0o666, 0, 0))
}

func (fs *FS) mknod(p string, kind fsstate.FileType, mode, major, minor uint32) error {
	dir, name, err := fs.newEntry(p)
	if err != nil {
		return err
	}
	perm := mode & modeBits
	return fs.make(p, dir, &fsstate.Mknod{
		Dir: dir, Name: name, Type: kind, Set: fsstate.SetAttrs{Mode: &perm}, Major: major, Minor: minor,
	})
}
