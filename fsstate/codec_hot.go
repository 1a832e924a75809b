package fsstate

import (
	"encoding/binary"
	"math"
)

// The operations that make up nearly all of a load, and their results, are encoded and decoded by hand: without reflection
// that takes a tenth of the time. The encoding is go-msgpack's, byte for byte, which tests verify on every kind and on
// random values; whatever the decoders here do not recognize is left to go-msgpack.

// appendHotOp appends an operation's arguments; false if they are not of a hot kind.
func appendHotOp(b []byte, args Args) ([]byte, bool) {
	switch a := args.(type) {
	case *GetAttr:
		return appendHandle(append(b, 0x91), a.Object), true
	case *Lookup:
		return appendStr(appendHandle(append(b, 0x92), a.Dir), a.Name), true
	case *Access:
		return appendUint(appendHandle(append(b, 0x92), a.Object), uint64(a.Mask)), true
	case *Read:
		b = appendUint(appendHandle(append(b, 0x93), a.Object), a.Offset)
		return appendUint(b, uint64(a.Count)), true
	case *Write:
		b = appendUint(appendHandle(append(b, 0x93), a.Object), a.Offset)
		return appendData(b, a.Data), true
	}
	return b, false
}

// hotOp decodes what appendHotOp appended.
func (c *cursor) hotOp(args Args) bool {
	switch a := args.(type) {
	case *GetAttr:
		c.array(1)
		a.Object = c.handle()
	case *Lookup:
		c.array(2)
		a.Dir, a.Name = c.handle(), c.str()
	case *Access:
		c.array(2)
		a.Object, a.Mask = c.handle(), c.uint32()
	case *Read:
		c.array(3)
		a.Object, a.Offset, a.Count = c.handle(), c.uint(), c.uint32()
	case *Write:
		c.array(3)
		a.Object, a.Offset, a.Data = c.handle(), c.uint(), c.data()
	default:
		return false
	}
	return c.done()
}

func appendEnvelope(b []byte, op *Op) []byte {
	b = append(b, 0x95, byte(op.Args.Kind()), 0x93) // a kind is less than 128
	b = appendUint(appendUint(b, uint64(op.Cred.UID)), uint64(op.Cred.GID))
	switch n := len(op.Cred.GIDs); {
	case op.Cred.GIDs == nil:
		b = append(b, isNil)
	case n < 16:
		b = append(b, 0x90|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
	}
	for _, gid := range op.Cred.GIDs {
		b = appendUint(b, uint64(gid))
	}
	b = appendUint(appendStr(b, op.Machine), uint64(op.Caller))
	return appendUint(b, uint64(op.XID))
}

// envelope decodes what appendEnvelope appended.
func (c *cursor) envelope(env *envelope) bool {
	c.array(5)
	env.Kind = Kind(c.below(256))
	c.array(3)
	env.Cred.UID, env.Cred.GID = c.uint32(), c.uint32()
	if n := c.byte(); n != isNil {
		if n&^0x0f != 0x90 {
			return false // more groups than AUTH_SYS has, or none of our encoding
		}
		env.Cred.GIDs = make([]uint32, n&0x0f)
		for i := range env.Cred.GIDs {
			env.Cred.GIDs[i] = c.uint32()
		}
	}
	env.Machine, env.Caller, env.XID = c.str(), c.uint32(), c.uint32()
	return !c.bad
}

// appendHotResult appends a result; false if it is not of a hot kind.
func appendHotResult(b []byte, r Result) ([]byte, bool) {
	switch r := r.(type) {
	case *GetAttrResult:
		return appendAttr(appendUint(append(b, 0x92), uint64(r.Status)), &r.Attr), true
	case *LookupResult:
		b = appendHandle(appendUint(append(b, 0x94), uint64(r.Status)), r.Object)
		return appendAttr(appendAttr(b, r.Attr), r.Dir), true
	case *AccessResult:
		b = appendAttr(appendUint(append(b, 0x93), uint64(r.Status)), r.Attr)
		return appendUint(b, uint64(r.Granted)), true
	case *ReadResult:
		return appendData(appendReadHead(b, r), r.Data), true
	case *WriteResult:
		b = appendWcc(appendUint(append(b, 0x93), uint64(r.Status)), &r.Wcc)
		return appendUint(b, uint64(r.Count)), true
	case *CreateResult:
		b = appendHandle(appendUint(append(b, 0x94), uint64(r.Status)), r.Object)
		return appendWcc(appendAttr(b, r.Attr), &r.Dir), true
	case *ReadDirResult:
		return appendReadDir(b, r), true
	}
	return b, false
}

// appendReadHead appends the encoding of r up to its data.
func appendReadHead(b []byte, r *ReadResult) []byte {
	return appendBool(appendAttr(appendUint(append(b, 0x94), uint64(r.Status)), r.Attr), r.EOF)
}

func appendReadDir(b []byte, r *ReadDirResult) []byte {
	b = appendUint(appendAttr(appendUint(append(b, 0x95), uint64(r.Status)), r.Dir), r.Verf)
	b = appendBool(b, r.EOF)
	switch n := len(r.Entries); {
	case r.Entries == nil:
		return append(b, isNil)
	case n < 16:
		b = append(b, 0x90|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		b = appendUint(appendStr(append(b, 0x95), e.Name), e.Cookie)
		b = appendAttr(appendUint(appendUint(b, e.Ino), e.Gen), e.Attr)
	}
	return b
}

// hotResult decodes what appendHotResult appended.
func (c *cursor) hotResult(res Result) bool {
	switch r := res.(type) {
	case *GetAttrResult:
		c.array(2)
		r.Status = c.status()
		c.attrInto(&r.Attr)
	case *LookupResult:
		c.array(4)
		r.Status, r.Object, r.Attr, r.Dir = c.status(), c.handle(), c.attr(), c.attr()
	case *AccessResult:
		c.array(3)
		r.Status, r.Attr, r.Granted = c.status(), c.attr(), c.uint32()
	case *ReadResult:
		c.array(4)
		r.Status, r.Attr, r.EOF, r.Data = c.status(), c.attr(), c.bool(), c.data()
	case *WriteResult:
		c.array(3)
		r.Status, r.Wcc, r.Count = c.status(), c.wcc(), c.uint32()
	case *CreateResult:
		c.array(4)
		r.Status, r.Object, r.Attr, r.Dir = c.status(), c.handle(), c.attr(), c.wcc()
	case *ReadDirResult:
		c.array(5)
		r.Status, r.Dir, r.Verf, r.EOF, r.Entries = c.status(), c.attr(), c.uint(), c.bool(), c.entries()
	default:
		return false
	}
	return c.done()
}

func appendHandle(b []byte, h Handle) []byte {
	return appendUint(appendUint(append(b, 0x92), h.Ino), h.Gen)
}

func appendAttr(b []byte, a *Attr) []byte {
	if a == nil {
		return append(b, isNil)
	}
	b = append(b, 0x9e) // fourteen fields
	for _, u := range [...]uint64{
		uint64(a.Type), uint64(a.Mode), uint64(a.Nlink), uint64(a.UID), uint64(a.GID), a.Size, a.Used,
		uint64(a.Major), uint64(a.Minor), a.Ino, a.Gen,
	} {
		b = appendUint(b, u)
	}
	return appendInt(appendInt(appendInt(b, int64(a.Atime)), int64(a.Mtime)), int64(a.Ctime))
}

func appendWcc(b []byte, w *Wcc) []byte {
	b = append(b, 0x92)
	if p := w.Before; p == nil {
		b = append(b, isNil)
	} else {
		b = appendInt(appendInt(appendUint(append(b, 0x93), p.Size), int64(p.Mtime)), int64(p.Ctime))
	}
	return appendAttr(b, w.After)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, isTrue)
	}
	return append(b, isFalse)
}

func appendUint(b []byte, u uint64) []byte {
	switch {
	case u <= math.MaxInt8:
		return append(b, byte(u))
	case u <= math.MaxUint8:
		return append(b, 0xcc, byte(u))
	case u <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(u))
	case u <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), u)
}

func appendInt(b []byte, i int64) []byte {
	switch {
	case i >= -32 && i <= math.MaxInt8:
		return append(b, byte(i))
	case i == int64(int8(i)):
		return append(b, 0xd0, byte(i))
	case i == int64(int16(i)):
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(i))
	case i == int64(int32(i)):
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(i))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(i))
}

func appendStr(b []byte, s string) []byte { return append(appendBytesHead(b, len(s)), s...) }

func appendData(b, data []byte) []byte {
	if data == nil {
		return append(b, isNil)
	}
	return append(appendBytesHead(b, len(data)), data...)
}

// appendBytesHead appends what comes before n bytes.
func appendBytesHead(b []byte, n int) []byte {
	switch {
	case n < 32:
		return append(b, fixStr|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, str16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, str32), uint32(n))
}
