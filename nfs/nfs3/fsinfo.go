package nfs3

import "bfsd/nfs/xdr"

// FSStatRes is FSSTAT3res (RFC 1813 §3.3.18).
type FSStatRes struct {
	Status
	Attr   *Fattr
	TBytes uint64 // total bytes
	FBytes uint64 // free bytes
	ABytes uint64 // free bytes available to the caller
	TFiles uint64
	FFiles uint64
	AFiles uint64
	InvSec uint32 // for how many seconds the figures will not change
}

// Encode implements Message.
func (r *FSStatRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	if r.Status != OK {
		return
	}
	for _, v := range []uint64{r.TBytes, r.FBytes, r.ABytes, r.TFiles, r.FFiles, r.AFiles} {
		e.Uint64(v)
	}
	e.Uint32(r.InvSec)
}

// Decode implements Message.
func (r *FSStatRes) Decode(d *xdr.Decoder) {
	*r = FSStatRes{Status: Status(d.Uint32()), Attr: decodePostOp(d)}
	if r.Status != OK {
		return
	}
	for _, v := range []*uint64{&r.TBytes, &r.FBytes, &r.ABytes, &r.TFiles, &r.FFiles, &r.AFiles} {
		*v = d.Uint64()
	}
	r.InvSec = d.Uint32()
}

// The properties of FSINFO (RFC 1813 §3.3.19).
const (
	FSLink        = 0x01 // hard links
	FSSymlink     = 0x02 // symbolic links
	FSHomogeneous = 0x08 // PATHCONF is the same for every object
	FSCanSetTime  = 0x10 // SETATTR sets times
)

// FSInfoRes is FSINFO3res (RFC 1813 §3.3.19). Sizes are in bytes.
type FSInfoRes struct {
	Status
	Attr        *Fattr
	RTMax       uint32
	RTPref      uint32
	RTMult      uint32
	WTMax       uint32
	WTPref      uint32
	WTMult      uint32
	DTPref      uint32
	MaxFileSize uint64
	TimeDelta   Time
	Properties  uint32
}

// Encode implements Message.
func (r *FSInfoRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	if r.Status != OK {
		return
	}
	for _, v := range []uint32{r.RTMax, r.RTPref, r.RTMult, r.WTMax, r.WTPref, r.WTMult, r.DTPref} {
		e.Uint32(v)
	}
	e.Uint64(r.MaxFileSize)
	r.TimeDelta.encode(e)
	e.Uint32(r.Properties)
}

// Decode implements Message.
func (r *FSInfoRes) Decode(d *xdr.Decoder) {
	*r = FSInfoRes{Status: Status(d.Uint32()), Attr: decodePostOp(d)}
	if r.Status != OK {
		return
	}
	for _, v := range []*uint32{&r.RTMax, &r.RTPref, &r.RTMult, &r.WTMax, &r.WTPref, &r.WTMult, &r.DTPref} {
		*v = d.Uint32()
	}
	r.MaxFileSize = d.Uint64()
	r.TimeDelta = decodeTime(d)
	r.Properties = d.Uint32()
}

// PathConfRes is PATHCONF3res (RFC 1813 §3.3.20).
type PathConfRes struct {
	Status
	Attr            *Fattr
	LinkMax         uint32
	NameMax         uint32
	NoTrunc         bool
	ChownRestricted bool
	CaseInsensitive bool
	CasePreserving  bool
}

// Encode implements Message.
func (r *PathConfRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	if r.Status != OK {
		return
	}
	e.Uint32(r.LinkMax)
	e.Uint32(r.NameMax)
	e.Bool(r.NoTrunc)
	e.Bool(r.ChownRestricted)
	e.Bool(r.CaseInsensitive)
	e.Bool(r.CasePreserving)
}

// Decode implements Message.
func (r *PathConfRes) Decode(d *xdr.Decoder) {
	*r = PathConfRes{Status: Status(d.Uint32()), Attr: decodePostOp(d)}
	if r.Status != OK {
		return
	}
	r.LinkMax = d.Uint32()
	r.NameMax = d.Uint32()
	r.NoTrunc = d.Bool()
	r.ChownRestricted = d.Bool()
	r.CaseInsensitive = d.Bool()
	r.CasePreserving = d.Bool()
}
