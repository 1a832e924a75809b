package nfs3

import "bfsd/nfs/xdr"

// ReadArgs is READ3args (RFC 1813 §3.3.6).
type ReadArgs struct {
	File   FH
	Offset uint64
	Count  uint32
}

// Encode implements Message.
func (a *ReadArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.File)
	e.Uint64(a.Offset)
	e.Uint32(a.Count)
}

// Decode implements Message.
func (a *ReadArgs) Decode(d *xdr.Decoder) {
	*a = ReadArgs{File: decodeFH(d), Offset: d.Uint64(), Count: d.Uint32()}
}

// ReadRes is READ3res (RFC 1813 §3.3.6). Encoding references Data.
type ReadRes struct {
	Status
	Attr  *Fattr
	Count uint32
	EOF   bool
	Data  []byte
}

// Encode implements Message.
func (r *ReadRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	if r.Status == OK {
		e.Uint32(r.Count)
		e.Bool(r.EOF)
		e.OpaqueRef(r.Data)
	}
}

// Decode implements Message.
func (r *ReadRes) Decode(d *xdr.Decoder) {
	*r = ReadRes{Status: Status(d.Uint32()), Attr: decodePostOp(d)}
	if r.Status == OK {
		r.Count = d.Uint32()
		r.EOF = d.Bool()
		r.Data = d.Opaque(anyLen)
	}
}

// StableHow is a stable_how: how durable a write is to be, or is (RFC 1813 §3.3.7).
type StableHow uint32

// The degrees of stability.
const (
	Unstable StableHow = 0
	DataSync StableHow = 1
	FileSync StableHow = 2
)

// WriteArgs is WRITE3args (RFC 1813 §3.3.7). Encoding references Data.
type WriteArgs struct {
	File   FH
	Offset uint64
	Count  uint32 // the length of Data
	Stable StableHow
	Data   []byte
}

// Encode implements Message.
func (a *WriteArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.File)
	e.Uint64(a.Offset)
	e.Uint32(a.Count)
	e.Uint32(uint32(a.Stable))
	e.OpaqueRef(a.Data)
}

// Decode implements Message. A count that is not the data's length is an error.
func (a *WriteArgs) Decode(d *xdr.Decoder) {
	*a = WriteArgs{File: decodeFH(d), Offset: d.Uint64(), Count: d.Uint32(), Stable: StableHow(d.Enum(uint32(FileSync) + 1))}
	a.Data = d.Opaque(anyLen)
	if d.Err() == nil && uint64(a.Count) != uint64(len(a.Data)) {
		d.Fail(xdr.ErrInvalid)
	}
}

// WriteRes is WRITE3res (RFC 1813 §3.3.7).
type WriteRes struct {
	Status
	Wcc       Wcc
	Count     uint32
	Committed StableHow
	Verf      [WriteVerfSize]byte
}

// Encode implements Message.
func (r *WriteRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	r.Wcc.encode(e)
	if r.Status == OK {
		e.Uint32(r.Count)
		e.Uint32(uint32(r.Committed))
		e.Fixed(r.Verf[:])
	}
}

// Decode implements Message.
func (r *WriteRes) Decode(d *xdr.Decoder) {
	*r = WriteRes{Status: Status(d.Uint32()), Wcc: decodeWcc(d)}
	if r.Status == OK {
		r.Count = d.Uint32()
		r.Committed = StableHow(d.Enum(uint32(FileSync) + 1))
		copy(r.Verf[:], d.Fixed(WriteVerfSize))
	}
}

// CommitArgs is COMMIT3args (RFC 1813 §3.3.21).
type CommitArgs struct {
	File   FH
	Offset uint64
	Count  uint32 // 0: to the end of the file
}

// Encode implements Message.
func (a *CommitArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.File)
	e.Uint64(a.Offset)
	e.Uint32(a.Count)
}

// Decode implements Message.
func (a *CommitArgs) Decode(d *xdr.Decoder) {
	*a = CommitArgs{File: decodeFH(d), Offset: d.Uint64(), Count: d.Uint32()}
}

// CommitRes is COMMIT3res (RFC 1813 §3.3.21).
type CommitRes struct {
	Status
	Wcc  Wcc
	Verf [WriteVerfSize]byte
}

// Encode implements Message.
func (r *CommitRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	r.Wcc.encode(e)
	if r.Status == OK {
		e.Fixed(r.Verf[:])
	}
}

// Decode implements Message.
func (r *CommitRes) Decode(d *xdr.Decoder) {
	*r = CommitRes{Status: Status(d.Uint32()), Wcc: decodeWcc(d)}
	if r.Status == OK {
		copy(r.Verf[:], d.Fixed(WriteVerfSize))
	}
}
