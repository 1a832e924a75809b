package nfs3

import "bfsd/nfs/xdr"

// RenameArgs is RENAME3args (RFC 1813 §3.3.14).
type RenameArgs struct {
	From DirOpArgs
	To   DirOpArgs
}

// Encode implements Message.
func (a *RenameArgs) Encode(e *xdr.Encoder) {
	a.From.Encode(e)
	a.To.Encode(e)
}

// Decode implements Message.
func (a *RenameArgs) Decode(d *xdr.Decoder) {
	a.From.Decode(d)
	a.To.Decode(d)
}

// RenameRes is RENAME3res (RFC 1813 §3.3.14).
type RenameRes struct {
	Status
	From Wcc
	To   Wcc
}

// Encode implements Message.
func (r *RenameRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	r.From.encode(e)
	r.To.encode(e)
}

// Decode implements Message.
func (r *RenameRes) Decode(d *xdr.Decoder) {
	*r = RenameRes{Status: Status(d.Uint32()), From: decodeWcc(d), To: decodeWcc(d)}
}

// LinkArgs is LINK3args (RFC 1813 §3.3.15).
type LinkArgs struct {
	File FH
	Link DirOpArgs
}

// Encode implements Message.
func (a *LinkArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.File)
	a.Link.Encode(e)
}

// Decode implements Message.
func (a *LinkArgs) Decode(d *xdr.Decoder) {
	a.File = decodeFH(d)
	a.Link.Decode(d)
}

// LinkRes is LINK3res (RFC 1813 §3.3.15).
type LinkRes struct {
	Status
	Attr *Fattr
	Dir  Wcc
}

// Encode implements Message.
func (r *LinkRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	r.Dir.encode(e)
}

// Decode implements Message.
func (r *LinkRes) Decode(d *xdr.Decoder) {
	*r = LinkRes{Status: Status(d.Uint32()), Attr: decodePostOp(d), Dir: decodeWcc(d)}
}
