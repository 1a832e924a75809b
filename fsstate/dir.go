package fsstate

import (
	"encoding/binary"

	"bfsd/fsstate/tree"
)

const entryHead = 8 // an entry's value: inode number, then the name

// entryCharge is what an entry is charged to its directory and the file system: about what it takes in memory.
func entryCharge(name string) uint64 { return 32 + uint64(len(name)) }

func parseEntry(b []byte) (ino uint64, name []byte, ok bool) {
	if len(b) <= entryHead || len(b) > entryHead+NameMax {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b), b[entryHead:], true
}

// find looks name up in a directory. If it is not there, slot is one that it could have, zero if there is none.
func (v view) find(dir uint64, name string) (slot, ino uint64, found bool) {
	first := entrySlot(&v.super.seed, name)
	free := first
	v.Scan(entryKey(dir, first), entryKey(dir, first+collisionsMax-1), func(k tree.Key, b []byte) bool {
		if k.Lo == free {
			free++
		}
		n, s, ok := parseEntry(b)
		if ok && string(s) == name {
			slot, ino, found = k.Lo, n, true
		}
		return !found
	})
	if found {
		return slot, ino, true
	}
	if free == first+collisionsMax {
		return 0, 0, false
	}
	return free, 0, false
}

// search checks that a directory may be searched and looks name up in it, "." and ".." too.
func (v view) search(c *Cred, dir *inode, name string, n *inode) Status {
	if !dir.permits(c, mayExec) {
		return EACCES
	}
	var ino uint64
	switch name {
	case ".":
		ino = dir.ino
	case "..":
		ino = dir.parent
	default:
		var found bool
		if _, ino, found = v.find(dir.ino, name); !found {
			return ENOENT
		}
	}
	if !v.inode(ino, n) {
		return EIO // an entry without its inode: fsck tells
	}
	return OK
}

func (v view) lookup(c *Cred, a *Lookup) *LookupResult {
	var dir, n inode
	if s := v.loadDir(a.Dir, &dir); s != OK {
		return &LookupResult{Head: Head{s}, Dir: dir.attrIf(s == ENOTDIR)}
	}
	if s := v.search(c, &dir, a.Name, &n); s != OK {
		return &LookupResult{Head: Head{s}, Dir: dir.attr()}
	}
	return &LookupResult{Object: n.handle(), Attr: n.attr(), Dir: dir.attr()}
}

// attrIf returns the attributes of an inode that was loaded, nil for one that was not.
func (n *inode) attrIf(loaded bool) *Attr {
	if !loaded {
		return nil
	}
	return n.attr()
}

// resolve walks a path from the root. Where there is a policy, resolveExported does.
func (v view) resolve(who caller, c *Cred, a *Resolve) *LookupResult {
	if v.super.policy != nil {
		return v.resolveExported(who, c, a)
	}
	var at, next inode
	if !v.inode(rootIno, &at) {
		return &LookupResult{Head: Head{EIO}}
	}
	for path := a.Path; ; {
		var name string
		if name, path = cutPath(path); name == "" {
			return &LookupResult{Object: at.handle(), Attr: at.attr()}
		}
		if at.typ != TypeDirectory {
			return &LookupResult{Head: Head{ENOTDIR}}
		}
		if err := checkName(name); err != nil {
			return &LookupResult{Head: Head{err.Status}}
		}
		if s := v.search(c, &at, name, &next); s != OK {
			return &LookupResult{Head: Head{s}}
		}
		at = next
	}
}

// cutPath returns the first component of a path, "" if it has none, and the rest.
func cutPath(path string) (name, rest string) {
	for path != "" && path[0] == '/' {
		path = path[1:]
	}
	for i := range len(path) {
		if path[i] == '/' {
			return path[:i], path[i:]
		}
	}
	return path, ""
}

// enter adds an entry at a slot that find gave, and charges it.
func (fs *FS) enter(dir *inode, slot uint64, name string, ino uint64) {
	var buf [entryHead + NameMax]byte
	fs.tree.Put(entryKey(dir.ino, slot), append(binary.BigEndian.AppendUint64(buf[:0], ino), name...))
	fs.charge(dir, entryCharge(name))
	dir.size = dir.used
}

// strike removes an entry.
func (fs *FS) strike(dir *inode, slot uint64, name string) {
	fs.tree.Delete(entryKey(dir.ino, slot))
	fs.discharge(dir, entryCharge(name))
	dir.size = dir.used
}

// touchDir stores a directory whose entries have changed.
func (fs *FS) touchDir(dir *inode, now Time) {
	dir.mtime, dir.ctime = now, now
	fs.put(dir)
}

func isDot(name string) bool { return name == "." || name == ".." }
