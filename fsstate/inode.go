package fsstate

import (
	"encoding/binary"

	"bfsd/fsstate/tree"
)

// inode is an inode in memory. Its record is big-endian:
//
//	type (1) exclusive (1) mode (2) nlink (4) uid (4) gid (4) size (8) used (8) gen (8) atime (8) mtime (8) ctime (8)
//	parent (8)
//
// and for some eight bytes more: a device's major and minor number, or the verifier of a file that was created exclusively.
type inode struct {
	ino                 uint64
	typ                 FileType
	exclusive           bool
	mode                uint32
	nlink               uint32
	uid, gid            uint32
	size, used          uint64 // of a directory: what its entries are charged, zero just if it has none
	gen                 uint64
	atime, mtime, ctime Time
	parent              uint64 // the directory that has its name, the root's being itself; 0 of what has several (see names.go)
	extra               uint64
}

const (
	inodeLen      = 72
	inodeExtraLen = inodeLen + 8
)

func (n *inode) hasExtra() bool {
	return n.typ == TypeBlock || n.typ == TypeChar || n.exclusive
}

// encode writes the record to buf and returns it.
func (n *inode) encode(buf *[inodeExtraLen]byte) []byte {
	b := buf[:inodeLen]
	b[0] = byte(n.typ)
	b[1] = 0
	if n.exclusive {
		b[1] = 1
	}
	binary.BigEndian.PutUint16(b[2:], uint16(n.mode))
	binary.BigEndian.PutUint32(b[4:], n.nlink)
	binary.BigEndian.PutUint32(b[8:], n.uid)
	binary.BigEndian.PutUint32(b[12:], n.gid)
	binary.BigEndian.PutUint64(b[16:], n.size)
	binary.BigEndian.PutUint64(b[24:], n.used)
	binary.BigEndian.PutUint64(b[32:], n.gen)
	binary.BigEndian.PutUint64(b[40:], uint64(n.atime))
	binary.BigEndian.PutUint64(b[48:], uint64(n.mtime))
	binary.BigEndian.PutUint64(b[56:], uint64(n.ctime))
	binary.BigEndian.PutUint64(b[64:], n.parent)
	if n.hasExtra() {
		b = buf[:]
		binary.BigEndian.PutUint64(b[inodeLen:], n.extra)
	}
	return b
}

// decode reads the record of inode ino; false if it is not one.
func (n *inode) decode(ino uint64, b []byte) bool {
	if len(b) != inodeLen && len(b) != inodeExtraLen {
		return false
	}
	*n = inode{
		ino:       ino,
		typ:       FileType(b[0]),
		exclusive: b[1] == 1,
		mode:      uint32(binary.BigEndian.Uint16(b[2:])),
		nlink:     binary.BigEndian.Uint32(b[4:]),
		uid:       binary.BigEndian.Uint32(b[8:]),
		gid:       binary.BigEndian.Uint32(b[12:]),
		size:      binary.BigEndian.Uint64(b[16:]),
		used:      binary.BigEndian.Uint64(b[24:]),
		gen:       binary.BigEndian.Uint64(b[32:]),
		atime:     Time(binary.BigEndian.Uint64(b[40:])),
		mtime:     Time(binary.BigEndian.Uint64(b[48:])),
		ctime:     Time(binary.BigEndian.Uint64(b[56:])),
		parent:    binary.BigEndian.Uint64(b[64:]),
	}
	if len(b) == inodeExtraLen {
		n.extra = binary.BigEndian.Uint64(b[inodeLen:])
	}
	return n.hasExtra() == (len(b) == inodeExtraLen)
}

func (n *inode) handle() Handle { return Handle{Ino: n.ino, Gen: n.gen} }

func (n *inode) attr() *Attr {
	a := &Attr{
		Type: n.typ, Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid, Size: n.size, Used: n.used,
		Ino: n.ino, Gen: n.gen, Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime,
	}
	if n.typ == TypeBlock || n.typ == TypeChar {
		a.Major, a.Minor = uint32(n.extra>>32), uint32(n.extra)
	}
	return a
}

func (n *inode) pre() *PreAttr { return &PreAttr{Size: n.size, Mtime: n.mtime, Ctime: n.ctime} }

// wccBefore begins the Wcc of an object that an operation may yet change.
func (n *inode) wccBefore() Wcc { return Wcc{Before: n.pre(), After: n.attr()} }

// view is what reading needs: one state and its superblock.
type view struct {
	tree.Reader
	super *super
}

// inode reads inode ino into n; false if there is none.
func (v view) inode(ino uint64, n *inode) bool {
	if ino == 0 || ino > inoMax {
		return false
	}
	b, ok := v.Get(inodeKey(ino))
	return ok && n.decode(ino, b)
}

// load reads the inode that a handle names.
func (v view) load(h Handle, n *inode) Status {
	if !v.inode(h.Ino, n) || n.gen != h.Gen {
		return ESTALE
	}
	return OK
}

// loadDir reads the directory that a handle names. On ENOTDIR dir holds what the handle does name.
func (v view) loadDir(h Handle, dir *inode) Status {
	if s := v.load(h, dir); s != OK {
		return s
	}
	if dir.typ != TypeDirectory {
		return ENOTDIR
	}
	return OK
}
