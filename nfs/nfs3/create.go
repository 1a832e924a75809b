package nfs3

import "bfsd/nfs/xdr"

// CreateMode is a createmode3 (RFC 1813 §3.3.8).
type CreateMode uint32

// The create modes.
const (
	Unchecked CreateMode = 0
	Guarded   CreateMode = 1
	Exclusive CreateMode = 2
)

// CreateArgs is CREATE3args (RFC 1813 §3.3.8).
type CreateArgs struct {
	Where DirOpArgs
	Mode  CreateMode
	Attr  Sattr                // with Unchecked and Guarded
	Verf  [CreateVerfSize]byte // with Exclusive
}

// Encode implements Message.
func (a *CreateArgs) Encode(e *xdr.Encoder) {
	a.Where.Encode(e)
	e.Uint32(uint32(a.Mode))
	if a.Mode == Exclusive {
		e.Fixed(a.Verf[:])
		return
	}
	a.Attr.encode(e)
}

// Decode implements Message.
func (a *CreateArgs) Decode(d *xdr.Decoder) {
	*a = CreateArgs{}
	a.Where.Decode(d)
	a.Mode = CreateMode(d.Enum(uint32(Exclusive) + 1))
	if a.Mode == Exclusive {
		copy(a.Verf[:], d.Fixed(CreateVerfSize))
		return
	}
	a.Attr = decodeSattr(d)
}

// MkdirArgs is MKDIR3args (RFC 1813 §3.3.9).
type MkdirArgs struct {
	Where DirOpArgs
	Attr  Sattr
}

// Encode implements Message.
func (a *MkdirArgs) Encode(e *xdr.Encoder) {
	a.Where.Encode(e)
	a.Attr.encode(e)
}

// Decode implements Message.
func (a *MkdirArgs) Decode(d *xdr.Decoder) {
	a.Where.Decode(d)
	a.Attr = decodeSattr(d)
}

// SymlinkArgs is SYMLINK3args (RFC 1813 §3.3.10).
type SymlinkArgs struct {
	Where  DirOpArgs
	Attr   Sattr
	Target string
}

// Encode implements Message.
func (a *SymlinkArgs) Encode(e *xdr.Encoder) {
	a.Where.Encode(e)
	a.Attr.encode(e)
	e.String(a.Target)
}

// Decode implements Message.
func (a *SymlinkArgs) Decode(d *xdr.Decoder) {
	a.Where.Decode(d)
	a.Attr = decodeSattr(d)
	a.Target = d.String(nameLimit)
}

// MknodArgs is MKNOD3args (RFC 1813 §3.3.11). Types that MKNOD does not make have no attributes.
type MknodArgs struct {
	Where DirOpArgs
	Type  FileType
	Attr  Sattr    // with TypeChar, TypeBlock, TypeSocket, TypeFIFO
	Spec  SpecData // with TypeChar and TypeBlock
}

// Encode implements Message.
func (a *MknodArgs) Encode(e *xdr.Encoder) {
	a.Where.Encode(e)
	e.Uint32(uint32(a.Type))
	switch a.Type {
	case TypeChar, TypeBlock:
		a.Attr.encode(e)
		a.Spec.encode(e)
	case TypeSocket, TypeFIFO:
		a.Attr.encode(e)
	default:
	}
}

// Decode implements Message. An unknown type is left to the server to refuse, with NFS3ERR_BADTYPE.
func (a *MknodArgs) Decode(d *xdr.Decoder) {
	*a = MknodArgs{}
	a.Where.Decode(d)
	a.Type = FileType(d.Uint32())
	switch a.Type {
	case TypeChar, TypeBlock:
		a.Attr = decodeSattr(d)
		a.Spec = decodeSpecData(d)
	case TypeSocket, TypeFIFO:
		a.Attr = decodeSattr(d)
	default:
	}
}

// CreateRes is the results of the procedures that make an object: CREATE, MKDIR, SYMLINK, MKNOD (RFC 1813 §3.3.8 to
// §3.3.11).
type CreateRes struct {
	Status
	Object FH
	Attr   *Fattr
	Dir    Wcc
}

// Encode implements Message.
func (r *CreateRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	if r.Status == OK {
		encodePostOpFH(e, r.Object)
		encodePostOp(e, r.Attr)
	}
	r.Dir.encode(e)
}

// Decode implements Message.
func (r *CreateRes) Decode(d *xdr.Decoder) {
	*r = CreateRes{Status: Status(d.Uint32())}
	if r.Status == OK {
		r.Object = decodePostOpFH(d)
		r.Attr = decodePostOp(d)
	}
	r.Dir = decodeWcc(d)
}
