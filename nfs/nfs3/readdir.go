package nfs3

import "bfsd/nfs/xdr"

// Encoded sizes of directory listings, in bytes, with which a server keeps to a caller's limits (RFC 1813 §3.3.16,
// §3.3.17). Names count their own length, rounded up to a multiple of four, on top.
const (
	// DirListSize is a listing without entries: the directory's attributes, the cookie verifier, the end of the list
	// and the end-of-directory flag.
	DirListSize = 4 + FattrSize + CookieVerfSize + 4 + 4
	// EntrySize is an entry of READDIR: the list's pointer, file id, name length, cookie.
	EntrySize = 4 + 8 + 4 + 8
	// EntryPlusSize is an entry of READDIRPLUS without its handle's bytes: an EntrySize, attributes, handle length.
	EntryPlusSize = EntrySize + 4 + FattrSize + 4 + 4
)

// ReadDirArgs is READDIR3args (RFC 1813 §3.3.16).
type ReadDirArgs struct {
	Dir        FH
	Cookie     uint64
	CookieVerf [CookieVerfSize]byte
	Count      uint32 // bytes of READDIR3resok
}

// Encode implements Message.
func (a *ReadDirArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Dir)
	e.Uint64(a.Cookie)
	e.Fixed(a.CookieVerf[:])
	e.Uint32(a.Count)
}

// Decode implements Message.
func (a *ReadDirArgs) Decode(d *xdr.Decoder) {
	*a = ReadDirArgs{Dir: decodeFH(d), Cookie: d.Uint64()}
	copy(a.CookieVerf[:], d.Fixed(CookieVerfSize))
	a.Count = d.Uint32()
}

// ReadDirPlusArgs is READDIRPLUS3args (RFC 1813 §3.3.17).
type ReadDirPlusArgs struct {
	Dir        FH
	Cookie     uint64
	CookieVerf [CookieVerfSize]byte
	DirCount   uint32 // bytes of the entries without their attributes and handles
	MaxCount   uint32 // bytes of READDIRPLUS3resok
}

// Encode implements Message.
func (a *ReadDirPlusArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Dir)
	e.Uint64(a.Cookie)
	e.Fixed(a.CookieVerf[:])
	e.Uint32(a.DirCount)
	e.Uint32(a.MaxCount)
}

// Decode implements Message.
func (a *ReadDirPlusArgs) Decode(d *xdr.Decoder) {
	*a = ReadDirPlusArgs{Dir: decodeFH(d), Cookie: d.Uint64()}
	copy(a.CookieVerf[:], d.Fixed(CookieVerfSize))
	a.DirCount = d.Uint32()
	a.MaxCount = d.Uint32()
}

// Entry is entry3, and entryplus3 with attributes and handle (RFC 1813 §3.3.16, §3.3.17).
type Entry struct {
	FileID uint64
	Name   string
	Cookie uint64
	Attr   *Fattr // READDIRPLUS only
	Object FH     // READDIRPLUS only
}

func (n *Entry) encode(e *xdr.Encoder) {
	e.Bool(true) // another entry follows
	e.Uint64(n.FileID)
	e.String(n.Name)
	e.Uint64(n.Cookie)
}

func decodeEntry(d *xdr.Decoder) Entry {
	return Entry{FileID: d.Uint64(), Name: d.String(nameLimit), Cookie: d.Uint64()}
}

// ReadDirRes is READDIR3res (RFC 1813 §3.3.16).
type ReadDirRes struct {
	Status
	Dir        *Fattr
	CookieVerf [CookieVerfSize]byte
	Entries    []Entry
	EOF        bool
}

// Encode implements Message.
func (r *ReadDirRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Dir)
	if r.Status != OK {
		return
	}
	e.Fixed(r.CookieVerf[:])
	for i := range r.Entries {
		r.Entries[i].encode(e)
	}
	e.Bool(false)
	e.Bool(r.EOF)
}

// Decode implements Message.
func (r *ReadDirRes) Decode(d *xdr.Decoder) {
	*r = ReadDirRes{Status: Status(d.Uint32()), Dir: decodePostOp(d)}
	if r.Status != OK {
		return
	}
	copy(r.CookieVerf[:], d.Fixed(CookieVerfSize))
	for d.Bool() {
		r.Entries = append(r.Entries, decodeEntry(d))
	}
	r.EOF = d.Bool()
}

// ReadDirPlusRes is READDIRPLUS3res (RFC 1813 §3.3.17).
type ReadDirPlusRes struct {
	Status
	Dir        *Fattr
	CookieVerf [CookieVerfSize]byte
	Entries    []Entry
	EOF        bool
}

// Encode implements Message.
func (r *ReadDirPlusRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Dir)
	if r.Status != OK {
		return
	}
	e.Fixed(r.CookieVerf[:])
	for i := range r.Entries {
		n := &r.Entries[i]
		n.encode(e)
		encodePostOp(e, n.Attr)
		encodePostOpFH(e, n.Object)
	}
	e.Bool(false)
	e.Bool(r.EOF)
}

// Decode implements Message.
func (r *ReadDirPlusRes) Decode(d *xdr.Decoder) {
	*r = ReadDirPlusRes{Status: Status(d.Uint32()), Dir: decodePostOp(d)}
	if r.Status != OK {
		return
	}
	copy(r.CookieVerf[:], d.Fixed(CookieVerfSize))
	for d.Bool() {
		n := decodeEntry(d)
		n.Attr = decodePostOp(d)
		n.Object = decodePostOpFH(d)
		r.Entries = append(r.Entries, n)
	}
	r.EOF = d.Bool()
}
