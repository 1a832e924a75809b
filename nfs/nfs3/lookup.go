package nfs3

import "bfsd/nfs/xdr"

// DirOpArgs names an entry of a directory: diropargs3 (RFC 1813 §2.6), the arguments of LOOKUP, REMOVE and RMDIR.
type DirOpArgs struct {
	Dir  FH
	Name string
}

// Encode implements Message.
func (a *DirOpArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Dir)
	e.String(a.Name)
}

// Decode implements Message.
func (a *DirOpArgs) Decode(d *xdr.Decoder) {
	*a = DirOpArgs{Dir: decodeFH(d), Name: d.String(nameLimit)}
}

// LookupRes is LOOKUP3res (RFC 1813 §3.3.3).
type LookupRes struct {
	Status
	Object FH
	Attr   *Fattr
	Dir    *Fattr
}

// Encode implements Message.
func (r *LookupRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	if r.Status == OK {
		e.Opaque(r.Object)
		encodePostOp(e, r.Attr)
	}
	encodePostOp(e, r.Dir)
}

// Decode implements Message.
func (r *LookupRes) Decode(d *xdr.Decoder) {
	*r = LookupRes{Status: Status(d.Uint32())}
	if r.Status == OK {
		r.Object = decodeFH(d)
		r.Attr = decodePostOp(d)
	}
	r.Dir = decodePostOp(d)
}

// ReadLinkRes is READLINK3res (RFC 1813 §3.3.5).
type ReadLinkRes struct {
	Status
	Attr   *Fattr
	Target string
}

// Encode implements Message.
func (r *ReadLinkRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	if r.Status == OK {
		e.String(r.Target)
	}
}

// Decode implements Message.
func (r *ReadLinkRes) Decode(d *xdr.Decoder) {
	*r = ReadLinkRes{Status: Status(d.Uint32()), Attr: decodePostOp(d)}
	if r.Status == OK {
		r.Target = d.String(nameLimit)
	}
}
