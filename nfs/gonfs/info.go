package gonfs

import (
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/willscott/go-nfs/file"

	"bfsd/fsstate"
)

// The permission bits of POSIX beyond rwxrwxrwx, which os.FileMode keeps elsewhere.
const (
	setuidBit = 0o4000
	setgidBit = 0o2000
	stickyBit = 0o1000
	modeBits  = 0o7777
)

// info is an object's os.FileInfo. Sys returns a *file.FileInfo, from which go-nfs takes owner, links, device and file id.
type info struct {
	name string
	attr fsstate.Attr
	// wire adds the POSIX set-id and sticky bits to Mode at their POSIX places, which os.FileMode leaves unused: go-nfs
	// sends the low bits of Mode as they are.
	wire bool
}

// Name implements os.FileInfo.
func (i *info) Name() string { return i.name }

// Size implements os.FileInfo.
func (i *info) Size() int64 { return int64(min(i.attr.Size, math.MaxInt64)) }

// Mode implements os.FileInfo.
func (i *info) Mode() fs.FileMode {
	m := modeOf(&i.attr)
	if i.wire {
		m |= fs.FileMode(i.attr.Mode & modeBits)
	}
	return m
}

// ModTime implements os.FileInfo.
func (i *info) ModTime() time.Time { return time.Unix(0, int64(i.attr.Mtime)) }

// IsDir implements os.FileInfo.
func (i *info) IsDir() bool { return i.attr.Type == fsstate.TypeDirectory }

// Sys implements os.FileInfo.
func (i *info) Sys() any {
	return &file.FileInfo{
		Nlink: i.attr.Nlink, UID: i.attr.UID, GID: i.attr.GID,
		Major: i.attr.Major, Minor: i.attr.Minor, Fileid: i.attr.Ino,
	}
}

func (i *info) handle() fsstate.Handle { return fsstate.Handle{Ino: i.attr.Ino, Gen: i.attr.Gen} }

// modeOf is an object's type and permissions as package os writes them.
func modeOf(a *fsstate.Attr) fs.FileMode {
	m := fs.FileMode(a.Mode & 0o777)
	for _, b := range []struct {
		posix uint32
		mode  fs.FileMode
	}{{setuidBit, fs.ModeSetuid}, {setgidBit, fs.ModeSetgid}, {stickyBit, fs.ModeSticky}} {
		if a.Mode&b.posix != 0 {
			m |= b.mode
		}
	}
	switch a.Type {
	case fsstate.TypeDirectory:
		m |= fs.ModeDir
	case fsstate.TypeSymlink:
		m |= fs.ModeSymlink
	case fsstate.TypeBlock:
		m |= fs.ModeDevice
	case fsstate.TypeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case fsstate.TypeSocket:
		m |= fs.ModeSocket
	case fsstate.TypeFIFO:
		m |= fs.ModeNamedPipe
	case fsstate.TypeRegular:
	default:
		m |= fs.ModeIrregular
	}
	return m
}

// posixMode is the inverse of modeOf for the permission bits.
func posixMode(m os.FileMode) uint32 {
	p := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		p |= setuidBit
	}
	if m&fs.ModeSetgid != 0 {
		p |= setgidBit
	}
	if m&fs.ModeSticky != 0 {
		p |= stickyBit
	}
	return p
}
