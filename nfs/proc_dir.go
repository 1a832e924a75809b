package nfs

import (
	"encoding/binary"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

// readDir is READDIR (RFC 1813 §3.3.16). The reply's READDIR3resok takes count bytes at most.
func readDir(c *call, a *nfs3.ReadDirArgs, r *nfs3.ReadDirRes) {
	dir, ok := c.s.handle(a.Dir)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.ReadDirResult](c, &fsstate.ReadDir{
		Dir:    dir,
		Cookie: a.Cookie,
		Verf:   binary.BigEndian.Uint64(a.CookieVerf[:]),
		Limits: [2]fsstate.DirLimit{{Bytes: entriesRoom(a.Count), PerEntry: nfs3.EntrySize}},
	})
	*r = nfs3.ReadDirRes{Status: status, Dir: c.s.fattr(res.Dir), Entries: make([]nfs3.Entry, len(res.Entries)), EOF: res.EOF}
	binary.BigEndian.PutUint64(r.CookieVerf[:], res.Verf)
	for i := range res.Entries {
		e := &res.Entries[i]
		r.Entries[i] = nfs3.Entry{FileID: e.Ino, Name: e.Name, Cookie: e.Cookie}
	}
}

// readDirPlus is READDIRPLUS (RFC 1813 §3.3.17). The reply's READDIRPLUS3resok takes maxcount bytes at most, and its
// entries, without their attributes and handles, dircount.
func readDirPlus(c *call, a *nfs3.ReadDirPlusArgs, r *nfs3.ReadDirPlusRes) {
	dir, ok := c.s.handle(a.Dir)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.ReadDirResult](c, &fsstate.ReadDir{
		Dir:    dir,
		Cookie: a.Cookie,
		Verf:   binary.BigEndian.Uint64(a.CookieVerf[:]),
		Plus:   true,
		Limits: [2]fsstate.DirLimit{
			{Bytes: entriesRoom(a.MaxCount), PerEntry: nfs3.EntryPlusSize + handleSize},
			{Bytes: min(a.DirCount, fsstate.IOMax), PerEntry: nfs3.EntrySize},
		},
	})
	*r = nfs3.ReadDirPlusRes{Status: status, Dir: c.s.fattr(res.Dir), Entries: make([]nfs3.Entry, len(res.Entries)), EOF: res.EOF}
	binary.BigEndian.PutUint64(r.CookieVerf[:], res.Verf)
	handles := make([]byte, 0, handleSize*len(res.Entries))
	for i := range res.Entries {
		e := &res.Entries[i]
		from := len(handles)
		handles = c.s.appendFH(handles, fsstate.Handle{Ino: e.Ino, Gen: e.Gen})
		r.Entries[i] = nfs3.Entry{FileID: e.Ino, Name: e.Name, Cookie: e.Cookie, Attr: c.s.fattr(e.Attr), Object: handles[from:]}
		if e.Attr == nil { // another export's, which is not for the caller
			r.Entries[i].Object = nil
		}
	}
}

// entriesRoom is what is left for entries of a listing of count bytes, which is served up to dtpref.
func entriesRoom(count uint32) uint32 {
	count = min(count, fsstate.IOMax)
	return count - min(count, nfs3.DirListSize)
}
