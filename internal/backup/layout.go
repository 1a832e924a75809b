package backup

import (
	"fmt"

	"bfsd/fsstate"
)

const (
	manifestPath = "bfsd-backup/manifest.toml"
	clusterPath  = "bfsd-backup/cluster.toml"
	statePath    = "bfsd-backup/state"
	filesPath    = "bfsd-backup/files"
	deepPath     = "bfsd-backup/deep/%d"

	// pathMax is the longest path of a directory here. With a name in it (255 bytes) it stays below Linux's PATH_MAX of
	// 4096, so that every tar can unpack it.
	pathMax = 3800
)

// eachEntry calls visit for every entry of the tree, in the archive's order. Of a regular file the size, and whether it is
// sparse, are left to visit.
func eachEntry(s *fsstate.Snapshot, visit func(o *fsstate.Object, e *entry) error) error {
	l := layout{first: make(map[uint64]string), aside: []uint64{0}}
	for len(l.aside) > 0 {
		dir := l.aside[0]
		l.aside = l.aside[1:]
		top := filesPath
		if dir != 0 {
			top = fmt.Sprintf(deepPath, dir)
		}
		if err := s.Walk(dir, func(o *fsstate.Object) error {
			path, here := l.place(top, o)
			if !here {
				l.aside = append(l.aside, o.Ino)
				return fsstate.ErrSkip
			}
			if e, ok := l.entry(path, o); ok {
				return visit(o, e)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// layout gives every name its path in the archive, and its header.
type layout struct {
	path  []byte            // of the directory where the walk is, and below it others where it was
	ends  []int             // by depth: how much of path is that of the directory there
	first map[uint64]string // of a file with several names, the first
	aside []uint64          // directories whose own path is too long: they come after all that is here, else tar sets the times of directories too early
}

// place returns an object's path. That of a directory is kept for what is in it; here is false if it would be too long.
func (l *layout) place(top string, o *fsstate.Object) (path string, here bool) {
	if o.Depth == 0 {
		l.path = append(l.path[:0], top...)
		l.ends = append(l.ends[:0], len(l.path))
		return top, true
	}
	l.ends = l.ends[:o.Depth]
	l.path = append(append(l.path[:l.ends[o.Depth-1]], '/'), o.Name...)
	if o.Type == fsstate.TypeDirectory {
		if len(l.path) > pathMax {
			return "", false
		}
		l.ends = append(l.ends, len(l.path))
	}
	return string(l.path), true
}

// entry makes the entry of an object; ok is false if it has none, as sockets, for which tar has no type.
func (l *layout) entry(path string, o *fsstate.Object) (e *entry, ok bool) {
	e = &entry{path: path, mode: o.Mode, uid: o.UID, gid: o.GID, mtime: int64(o.Mtime), major: o.Major, minor: o.Minor}
	switch o.Type {
	case fsstate.TypeDirectory:
		e.typ = typeDirectory
		e.path += "/"
		return e, true
	case fsstate.TypeRegular:
		e.typ, e.real = typeFile, o.Size
	case fsstate.TypeSymlink:
		e.typ, e.link = typeSymlink, o.Target
	case fsstate.TypeBlock:
		e.typ = typeBlock
	case fsstate.TypeChar:
		e.typ = typeChar
	case fsstate.TypeFIFO:
		e.typ = typeFIFO
	default:
		return nil, false
	}
	if first, more := l.first[o.Ino]; more {
		e.typ, e.link, e.real, e.major, e.minor = typeLink, first, 0, 0, 0
	} else if o.Nlink > 1 {
		l.first[o.Ino] = path
	}
	return e, true
}
