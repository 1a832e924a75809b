package nfs3

import "bfsd/nfs/xdr"

// FH is a file handle, opaque to clients: nfs_fh3 (RFC 1813 §2.6). Nil stands for one that does not follow, in post_op_fh3.
type FH []byte

func decodeFH(d *xdr.Decoder) FH { return d.Opaque(FHMax) }

func encodePostOpFH(e *xdr.Encoder, fh FH) {
	e.Bool(fh != nil)
	if fh != nil {
		e.Opaque(fh)
	}
}

func decodePostOpFH(d *xdr.Decoder) FH {
	if !d.Bool() {
		return nil
	}
	return decodeFH(d)
}

// FileType is an ftype3 (RFC 1813 §2.6).
type FileType uint32

// The file types.
const (
	TypeReg     FileType = 1
	TypeDir     FileType = 2
	TypeBlock   FileType = 3
	TypeChar    FileType = 4
	TypeSymlink FileType = 5
	TypeSocket  FileType = 6
	TypeFIFO    FileType = 7
)

// SpecData is a device number: specdata3 (RFC 1813 §2.6).
type SpecData struct {
	Major uint32
	Minor uint32
}

func (s SpecData) encode(e *xdr.Encoder) {
	e.Uint32(s.Major)
	e.Uint32(s.Minor)
}

func decodeSpecData(d *xdr.Decoder) SpecData { return SpecData{Major: d.Uint32(), Minor: d.Uint32()} }

// Time is an nfstime3: seconds and nanoseconds since 1970 (RFC 1813 §2.6).
type Time struct {
	Sec  uint32
	Nsec uint32
}

func (t Time) encode(e *xdr.Encoder) {
	e.Uint32(t.Sec)
	e.Uint32(t.Nsec)
}

func decodeTime(d *xdr.Decoder) Time { return Time{Sec: d.Uint32(), Nsec: d.Uint32()} }

// FattrSize is the encoded size of a Fattr, in bytes.
const FattrSize = 84

// Fattr is an object's attributes: fattr3 (RFC 1813 §2.6).
type Fattr struct {
	Type   FileType
	Mode   uint32
	Nlink  uint32
	UID    uint32
	GID    uint32
	Size   uint64
	Used   uint64
	Rdev   SpecData
	FSID   uint64
	FileID uint64
	Atime  Time
	Mtime  Time
	Ctime  Time
}

// Encode writes the attributes.
func (a *Fattr) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(a.Type))
	e.Uint32(a.Mode)
	e.Uint32(a.Nlink)
	e.Uint32(a.UID)
	e.Uint32(a.GID)
	e.Uint64(a.Size)
	e.Uint64(a.Used)
	a.Rdev.encode(e)
	e.Uint64(a.FSID)
	e.Uint64(a.FileID)
	a.Atime.encode(e)
	a.Mtime.encode(e)
	a.Ctime.encode(e)
}

// Decode reads the attributes.
func (a *Fattr) Decode(d *xdr.Decoder) {
	a.Type = FileType(d.Enum(uint32(TypeFIFO) + 1))
	a.Mode = d.Uint32()
	a.Nlink = d.Uint32()
	a.UID = d.Uint32()
	a.GID = d.Uint32()
	a.Size = d.Uint64()
	a.Used = d.Uint64()
	a.Rdev = decodeSpecData(d)
	a.FSID = d.Uint64()
	a.FileID = d.Uint64()
	a.Atime = decodeTime(d)
	a.Mtime = decodeTime(d)
	a.Ctime = decodeTime(d)
}

// encodePostOp writes a post_op_attr (RFC 1813 §2.6).
func encodePostOp(e *xdr.Encoder, a *Fattr) {
	e.Bool(a != nil)
	if a != nil {
		a.Encode(e)
	}
}

func decodePostOp(d *xdr.Decoder) *Fattr {
	if !d.Bool() {
		return nil
	}
	a := new(Fattr)
	a.Decode(d)
	return a
}

// WccAttr is what a client compares its cache with: wcc_attr (RFC 1813 §2.6).
type WccAttr struct {
	Size  uint64
	Mtime Time
	Ctime Time
}

// Wcc is an object's attributes before and after a call, for weak cache consistency: wcc_data (RFC 1813 §2.6).
type Wcc struct {
	Before *WccAttr
	After  *Fattr
}

func (w *Wcc) encode(e *xdr.Encoder) {
	e.Bool(w.Before != nil)
	if b := w.Before; b != nil {
		e.Uint64(b.Size)
		b.Mtime.encode(e)
		b.Ctime.encode(e)
	}
	encodePostOp(e, w.After)
}

func decodeWcc(d *xdr.Decoder) Wcc {
	var w Wcc
	if d.Bool() {
		w.Before = &WccAttr{Size: d.Uint64(), Mtime: decodeTime(d), Ctime: decodeTime(d)}
	}
	w.After = decodePostOp(d)
	return w
}

// TimeHow is a time_how (RFC 1813 §2.6).
type TimeHow uint32

// The ways to set a time.
const (
	DontChange      TimeHow = 0
	SetToServerTime TimeHow = 1
	SetToClientTime TimeHow = 2
)

// SetTime is set_atime or set_mtime.
type SetTime struct {
	How  TimeHow
	Time Time // with SetToClientTime
}

func (s SetTime) encode(e *xdr.Encoder) {
	e.Uint32(uint32(s.How))
	if s.How == SetToClientTime {
		s.Time.encode(e)
	}
}

func decodeSetTime(d *xdr.Decoder) SetTime {
	s := SetTime{How: TimeHow(d.Enum(uint32(SetToClientTime) + 1))}
	if s.How == SetToClientTime {
		s.Time = decodeTime(d)
	}
	return s
}

// Sattr is the attributes to set, nil for those to leave alone: sattr3 (RFC 1813 §2.6).
type Sattr struct {
	Mode  *uint32
	UID   *uint32
	GID   *uint32
	Size  *uint64
	Atime SetTime
	Mtime SetTime
}

func (s *Sattr) encode(e *xdr.Encoder) {
	for _, v := range []*uint32{s.Mode, s.UID, s.GID} {
		e.Bool(v != nil)
		if v != nil {
			e.Uint32(*v)
		}
	}
	e.Bool(s.Size != nil)
	if s.Size != nil {
		e.Uint64(*s.Size)
	}
	s.Atime.encode(e)
	s.Mtime.encode(e)
}

func decodeSattr(d *xdr.Decoder) Sattr {
	var s Sattr
	for _, field := range []**uint32{&s.Mode, &s.UID, &s.GID} {
		if d.Bool() {
			v := d.Uint32()
			*field = &v
		}
	}
	if d.Bool() {
		v := d.Uint64()
		s.Size = &v
	}
	s.Atime = decodeSetTime(d)
	s.Mtime = decodeSetTime(d)
	return s
}

// HandleArgs is the arguments of the procedures that take a handle alone: GETATTR, READLINK, FSSTAT, FSINFO, PATHCONF
// (RFC 1813 §3.3.1, §3.3.5, §3.3.18 to §3.3.20).
type HandleArgs struct {
	Object FH
}

// Encode implements Message.
func (a *HandleArgs) Encode(e *xdr.Encoder) { e.Opaque(a.Object) }

// Decode implements Message.
func (a *HandleArgs) Decode(d *xdr.Decoder) { a.Object = decodeFH(d) }

// GetAttrRes is GETATTR3res (RFC 1813 §3.3.1).
type GetAttrRes struct {
	Status
	Attr Fattr
}

// Encode implements Message.
func (r *GetAttrRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	if r.Status == OK {
		r.Attr.Encode(e)
	}
}

// Decode implements Message.
func (r *GetAttrRes) Decode(d *xdr.Decoder) {
	*r = GetAttrRes{Status: Status(d.Uint32())}
	if r.Status == OK {
		r.Attr.Decode(d)
	}
}

// SetAttrArgs is SETATTR3args (RFC 1813 §3.3.2).
type SetAttrArgs struct {
	Object FH
	Attr   Sattr
	Guard  *Time // the ctime the object must have
}

// Encode implements Message.
func (a *SetAttrArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Object)
	a.Attr.encode(e)
	e.Bool(a.Guard != nil)
	if a.Guard != nil {
		a.Guard.encode(e)
	}
}

// Decode implements Message.
func (a *SetAttrArgs) Decode(d *xdr.Decoder) {
	*a = SetAttrArgs{Object: decodeFH(d), Attr: decodeSattr(d)}
	if d.Bool() {
		t := decodeTime(d)
		a.Guard = &t
	}
}

// WccRes is the results of the procedures that return nothing but weak cache consistency data, whether they succeed or
// fail: SETATTR, REMOVE, RMDIR (RFC 1813 §3.3.2, §3.3.12, §3.3.13).
type WccRes struct {
	Status
	Wcc Wcc
}

// Encode implements Message.
func (r *WccRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	r.Wcc.encode(e)
}

// Decode implements Message.
func (r *WccRes) Decode(d *xdr.Decoder) {
	*r = WccRes{Status: Status(d.Uint32()), Wcc: decodeWcc(d)}
}

// The bits of ACCESS (RFC 1813 §3.3.4).
const (
	AccessRead    = 0x01
	AccessLookup  = 0x02
	AccessModify  = 0x04
	AccessExtend  = 0x08
	AccessDelete  = 0x10
	AccessExecute = 0x20
)

// AccessArgs is ACCESS3args (RFC 1813 §3.3.4).
type AccessArgs struct {
	Object FH
	Access uint32
}

// Encode implements Message.
func (a *AccessArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Object)
	e.Uint32(a.Access)
}

// Decode implements Message.
func (a *AccessArgs) Decode(d *xdr.Decoder) { *a = AccessArgs{Object: decodeFH(d), Access: d.Uint32()} }

// AccessRes is ACCESS3res (RFC 1813 §3.3.4).
type AccessRes struct {
	Status
	Attr   *Fattr
	Access uint32
}

// Encode implements Message.
func (r *AccessRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	encodePostOp(e, r.Attr)
	if r.Status == OK {
		e.Uint32(r.Access)
	}
}

// Decode implements Message.
func (r *AccessRes) Decode(d *xdr.Decoder) {
	*r = AccessRes{Status: Status(d.Uint32()), Attr: decodePostOp(d)}
	if r.Status == OK {
		r.Access = d.Uint32()
	}
}
