package fsstate

import "bfsd/fsstate/tree"

// A regular file's bytes are pages of 4096, of which only those exist that were written to; what is missing is a hole and
// reads as zeros. A page's value ends where the last byte ever written to it does, never beyond the file's size, so that a
// file which grows again reads zeros there. Each existing page is charged in full.

func (v view) read(c *Cred, a *Read) *ReadResult {
	r, count := v.beginRead(c, a)
	if count > 0 {
		r.Data = make([]byte, count)
		v.copyPages(a.Object.Ino, a.Offset, r.Data)
	}
	return r
}

// readEncoded is EncodeResult of read, with the data copied once: from the pages to the encoding.
func (v view) readEncoded(c *Cred, a *Read) []byte {
	r, count := v.beginRead(c, a)
	if count == 0 {
		return EncodeResult(r)
	}
	head := appendBytesHead(appendReadHead(make([]byte, 0, 160), r), count)
	b := make([]byte, len(head)+count)
	copy(b, head)
	v.copyPages(a.Object.Ino, a.Offset, b[len(head):])
	return b
}

// beginRead answers all of a Read but the data, of which there are count bytes.
func (v view) beginRead(c *Cred, a *Read) (r *ReadResult, count int) {
	var n inode
	if s := v.load(a.Object, &n); s != OK {
		return &ReadResult{Head: Head{s}}, 0
	}
	if s := n.regular(); s != OK {
		return &ReadResult{Head: Head{s}, Attr: n.attr()}, 0
	}
	if !n.permitsRead(c) {
		return &ReadResult{Head: Head{EACCES}, Attr: n.attr()}, 0
	}
	if a.Offset >= n.size {
		return &ReadResult{Attr: n.attr(), EOF: true}, 0
	}
	count = int(min(uint64(a.Count), n.size-a.Offset))
	return &ReadResult{Attr: n.attr(), EOF: a.Offset+uint64(count) == n.size}, count
}

// copyPages fills zeroed data, not empty, with the bytes of a file at offset.
func (v view) copyPages(ino, offset uint64, data []byte) {
	first, last := offset/pageSize, (offset+uint64(len(data))-1)/pageSize
	v.Scan(pageKey(ino, first), pageKey(ino, last), func(k tree.Key, page []byte) bool {
		at := (k.Lo - slotPage) * pageSize
		if at < offset {
			if skip := offset - at; skip < uint64(len(page)) {
				copy(data, page[skip:])
			}
			return true
		}
		copy(data[at-offset:], page)
		return true
	})
}

// regular reports what a file's reader or writer is told about another type.
func (n *inode) regular() Status {
	switch n.typ {
	case TypeRegular:
		return OK
	case TypeDirectory:
		return EISDIR
	default:
		return EINVAL
	}
}

func (fs *FS) write(c *Cred, a *Write, now Time) *WriteResult {
	var n inode
	if s := fs.view().load(a.Object, &n); s != OK {
		return &WriteResult{Head: Head{s}}
	}
	wcc := n.wccBefore()
	if s := fs.mayWrite(c, &n, a); s != OK {
		return &WriteResult{Head: Head{s}, Wcc: wcc}
	}
	if len(a.Data) == 0 {
		return &WriteResult{Wcc: wcc} // POSIX write(2) of nothing: no other results
	}
	pages := fs.tree.Reader().Len()
	fs.putPages(n.ino, a.Offset, a.Data)
	fs.charge(&n, (fs.tree.Reader().Len()-pages)*pageSize)
	n.size = max(n.size, a.Offset+uint64(len(a.Data)))
	n.mtime, n.ctime = now, now
	if !c.root() {
		n.dropSetID(c, n.gid)
	}
	fs.put(&n)
	wcc.After = n.attr()
	return &WriteResult{Wcc: wcc, Count: uint32(len(a.Data))}
}

func (fs *FS) mayWrite(c *Cred, n *inode, a *Write) Status {
	if s := n.regular(); s != OK {
		return s
	}
	if !n.permitsWrite(c) {
		return EACCES
	}
	size := uint64(len(a.Data))
	if a.Offset > sizeMax || size > sizeMax-a.Offset {
		return EFBIG
	}
	if size == 0 {
		return OK
	}
	first, last := a.Offset/pageSize, (a.Offset+size-1)/pageSize
	if fs.super.room((last - first + 1) * pageSize) {
		return OK // even if every page were new
	}
	missing := last - first + 1
	fs.tree.Reader().Scan(pageKey(n.ino, first), pageKey(n.ino, last), func(tree.Key, []byte) bool {
		missing--
		return true
	})
	if missing > 0 && !fs.super.room(missing*pageSize) {
		return ENOSPC
	}
	return OK
}

// charge counts bytes of storage to a file and to the file system.
func (fs *FS) charge(n *inode, size uint64) {
	n.used += size
	fs.super.bytes += size
}

func (fs *FS) discharge(n *inode, size uint64) {
	n.used -= size
	fs.super.bytes -= size
}

// putPages writes data at offset.
func (fs *FS) putPages(ino, offset uint64, data []byte) {
	for len(data) > 0 {
		page, at := offset/pageSize, int(offset%pageSize)
		n := min(pageSize-at, len(data))
		key := pageKey(ino, page)
		if n == pageSize {
			fs.tree.Put(key, data[:n])
		} else {
			old, _ := fs.tree.Get(key)
			kept := copy(fs.page[:], old)
			if kept < at {
				clear(fs.page[kept:at])
			}
			copy(fs.page[at:], data[:n])
			fs.tree.Put(key, fs.page[:max(kept, at+n)])
		}
		data, offset = data[n:], offset+uint64(n)
	}
}

// resize cuts or extends a file; what it gains is a hole.
func (fs *FS) resize(n *inode, size uint64) {
	if size < n.size {
		first := (size + pageSize - 1) / pageSize
		gone := fs.tree.DeleteRange(pageKey(n.ino, first), pageKey(n.ino, pageMax))
		fs.discharge(n, gone*pageSize)
		key, end := pageKey(n.ino, size/pageSize), int(size%pageSize)
		if page, ok := fs.tree.Get(key); ok && len(page) > end {
			fs.tree.Put(key, append(fs.page[:0], page[:end]...))
		}
	}
	n.size = size
}
