package fsstate

import "bfsd/fsstate/tree"

// Cookies of the two entries that are not stored. An entry's own cookie is its slot, from slotEntry on.
const (
	cookieDot    = 1
	cookieDotDot = 2
)

// listMax bounds the encoded entries of one listing, whatever the caller's limits allow.
const listMax = IOMax

// What an entry takes in a ReadDirResult's encoding at most, besides its name.
const (
	listEntryMax     = 40
	listEntryPlusMax = 160
)

// listing is a ReadDir under way.
type listing struct {
	v     view
	a     *ReadDir
	r     *ReadDirResult
	spent [2]uint64 // of each limit
	bytes uint64
}

func (v view) readDir(c *Cred, a *ReadDir) *ReadDirResult {
	var dir inode
	if s := v.loadDir(a.Dir, &dir); s != OK {
		return &ReadDirResult{Head: Head{s}, Dir: dir.attrIf(s == ENOTDIR)}
	}
	if !dir.permits(c, mayRead) {
		return &ReadDirResult{Head: Head{EACCES}, Dir: dir.attr()}
	}
	if !a.resumable() {
		return &ReadDirResult{Head: Head{EBADCOOKIE}, Dir: dir.attr()}
	}
	l := listing{v: v, a: a, r: &ReadDirResult{Dir: dir.attr()}}
	l.r.EOF = l.fill(&dir)
	if len(l.r.Entries) == 0 && !l.r.EOF {
		l.r.Status = EINVAL
	}
	return l.r
}

// resumable reports whether the cookie is one that a listing may have given. The verifier is always 0: cookies belong to
// entries, so none ever goes stale (RFC 1813 §3.3.16).
func (a *ReadDir) resumable() bool {
	return a.Cookie <= cookieDotDot && (a.Cookie == 0 || a.Verf == 0) ||
		a.Cookie >= slotEntry && a.Cookie <= slotEntryMax && a.Verf == 0
}

// fill adds the entries after the cookie and reports whether it got to the end.
func (l *listing) fill(dir *inode) bool {
	if l.a.Cookie < cookieDot && !l.add([]byte("."), cookieDot, dir.ino) {
		return false
	}
	if l.a.Cookie < cookieDotDot && !l.add([]byte(".."), cookieDotDot, dir.parent) {
		return false
	}
	whole := true
	lo, hi := entryRange(dir.ino, l.a.Cookie)
	l.v.Scan(lo, hi, func(k tree.Key, b []byte) bool {
		if ino, name, ok := parseEntry(b); ok {
			whole = l.add(name, k.Lo, ino)
		}
		return whole
	})
	return whole
}

// add adds an entry if the limits allow.
func (l *listing) add(name []byte, cookie, ino uint64) bool {
	size := uint64(listEntryMax + len(name))
	if l.a.Plus {
		size = uint64(listEntryPlusMax + len(name))
	}
	if l.bytes+size > listMax {
		return false
	}
	spent := l.spent
	for i, limit := range l.a.Limits {
		if limit == (DirLimit{}) {
			continue
		}
		spent[i] += uint64(limit.PerEntry) + uint64(len(name)+3)&^3
		if spent[i] > uint64(limit.Bytes) {
			return false
		}
	}
	l.spent, l.bytes = spent, l.bytes+size
	e := DirEntry{Name: string(name), Cookie: cookie, Ino: ino}
	if l.a.Plus {
		var n inode
		if l.v.inode(ino, &n) {
			e.Gen, e.Attr = n.gen, n.attr()
		}
	}
	l.r.Entries = append(l.r.Entries, e)
	return true
}
