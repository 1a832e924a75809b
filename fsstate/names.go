package fsstate

import (
	"encoding/binary"

	"bfsd/fsstate/tree"
)

// Every inode knows where its names are, so that it is known which export it belongs to, whatever handle it is called by.
// Most have one name, and its directory is in their record (inode.parent). What has several, by hard links, has a pair for
// each directory that has some, with their number; the record's parent is 0 then.

// namesKey is the key of how many names an inode has in a directory.
func namesKey(ino, dir uint64) tree.Key { return tree.Key{Hi: ino, Lo: slotEntry | dir} }

// namesIn returns how many of its several names an inode has in a directory.
func (v view) namesIn(ino, dir uint64) uint32 {
	b, ok := v.Get(namesKey(ino, dir))
	if !ok || len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (fs *FS) putNamesIn(ino, dir uint64, count uint32) {
	if count == 0 {
		fs.tree.Delete(namesKey(ino, dir))
		return
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], count)
	fs.tree.Put(namesKey(ino, dir), b[:])
}

// firstParent returns one of the directories that have a name of n, 0 if none is known.
func (v view) firstParent(n *inode) (dir uint64) {
	if n.parent != 0 || n.typ == TypeDirectory {
		return n.parent
	}
	v.Scan(namesKey(n.ino, 0), tree.Key{Hi: n.ino, Lo: slotEntryMax}, func(k tree.Key, _ []byte) bool {
		dir = k.Lo &^ slotEntry
		return false
	})
	return dir
}

// name notes that n has got a name in dir. If that is its second one, nlink says so already.
func (fs *FS) name(n *inode, dir uint64) {
	if n.typ == TypeDirectory || n.nlink == 1 {
		n.parent = dir
		return
	}
	if n.parent != 0 {
		fs.putNamesIn(n.ino, n.parent, 1)
		n.parent = 0
	}
	fs.putNamesIn(n.ino, dir, fs.view().namesIn(n.ino, dir)+1)
}

// unname notes that n has lost a name in dir. If one is left, nlink says so already.
func (fs *FS) unname(n *inode, dir uint64) {
	if n.parent != 0 {
		return // of its only name: another one takes its place
	}
	fs.putNamesIn(n.ino, dir, max(1, fs.view().namesIn(n.ino, dir))-1)
	if n.nlink == 1 {
		n.parent = fs.view().firstParent(n)
		fs.putNamesIn(n.ino, n.parent, 0)
	}
}
