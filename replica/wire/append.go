package wire

import "encoding/binary"

// The messages of the normal case are encoded and decoded by hand, in the very format that go-msgpack gives the others:
// at a dozen messages for each request, reflection was a quarter of a replica's work. TestHandWrittenEncoding compares
// the two.

// Markers of msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md).
const (
	mpNil, mpFalse, mpTrue         = 0xc0, 0xc2, 0xc3
	mpBin8, mpBin16, mpBin32       = 0xc4, 0xc5, 0xc6
	mpUint8, mpUint16              = 0xcc, 0xcd
	mpUint32, mpUint64             = 0xce, 0xcf
	mpFixArray, mpArray16, mpArr32 = 0x90, 0xdc, 0xdd
)

func appendUint(b []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, mpUint8, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, mpUint16), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, mpUint32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, mpUint64), n)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, mpTrue)
	}
	return append(b, mpFalse)
}

func appendBytes(b, v []byte) []byte {
	switch n := len(v); {
	case v == nil:
		return append(b, mpNil)
	case n < 1<<8:
		b = append(b, mpBin8, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mpBin16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, mpBin32), uint32(n))
	}
	return append(b, v...)
}

func appendArray(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, mpFixArray|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, mpArray16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, mpArr32), uint32(n))
}

func appendDigest(b []byte, d *Digest) []byte { return appendBytes(b, d[:]) }

func appendVotes(b []byte, votes []SlotVote) []byte {
	if votes == nil {
		return append(b, mpNil)
	}
	b = appendArray(b, len(votes))
	for i := range votes {
		b = appendUint(appendArray(b, 2), uint64(votes[i].Seq))
		b = appendDigest(b, &votes[i].Digest)
	}
	return b
}

func appendMACs(b []byte, macs []MAC) []byte {
	if macs == nil {
		return append(b, mpNil)
	}
	b = appendArray(b, len(macs))
	for i := range macs {
		b = appendBytes(b, macs[i][:])
	}
	return b
}

func (f *requestBody) append(b []byte) []byte {
	b = appendUint(appendArray(b, 6), uint64(f.Client))
	b = appendUint(b, uint64(f.Slot))
	b = appendUint(b, f.Number)
	b = appendUint(b, uint64(f.Flags))
	b = appendUint(b, uint64(f.Replier))
	return appendBytes(b, f.Op)
}

// append is the wire form of REQUEST and of a request inside another message: [body, authenticator].
func (f *Body) append(b []byte) []byte {
	return appendMACs(appendBytes(appendArray(b, 2), f.Bytes), f.Auth)
}

func (b *Batch) append(out []byte) []byte {
	out = appendBytes(appendArray(out, 2), b.Choice)
	if b.Requests == nil {
		return append(out, mpNil)
	}
	out = appendArray(out, len(b.Requests))
	for i := range b.Requests {
		out = appendDigest(out, &b.Requests[i])
	}
	return out
}

func (p *PrePrepare) append(b []byte) []byte {
	b = appendUint(appendArray(b, 6), uint64(p.View))
	b = appendUint(b, uint64(p.Seq))
	b = appendUint(b, uint64(p.Replica))
	b = appendBytes(b, p.Choice)
	if p.Entries == nil {
		b = append(b, mpNil)
	} else {
		b = appendArray(b, len(p.Entries))
	}
	for i := range p.Entries {
		b = p.Entries[i].Inline.append(appendArray(b, 2))
		b = appendDigest(b, &p.Entries[i].Digest)
	}
	return appendVotes(b, p.Commits)
}

// size is a bound on the encoding's length.
func (p *PrePrepare) size() int {
	n := 64 + len(p.Choice) + 44*len(p.Commits)
	for i := range p.Entries {
		n += 48 + len(p.Entries[i].Inline.Bytes) + 18*len(p.Entries[i].Inline.Auth)
	}
	return n
}

func (p *Prepare) append(b []byte) []byte {
	b = appendUint(appendArray(b, 5), uint64(p.View))
	b = appendUint(b, uint64(p.Seq))
	b = appendDigest(b, &p.Digest)
	b = appendUint(b, uint64(p.Replica))
	return appendVotes(b, p.Commits)
}

func (c *Commit) append(b []byte) []byte {
	b = appendUint(appendArray(b, 4), uint64(c.View))
	b = appendUint(b, uint64(c.Seq))
	b = appendDigest(b, &c.Digest)
	return appendUint(b, uint64(c.Replica))
}

func (r *Reply) append(b []byte) []byte {
	b = appendUint(appendArray(b, 11), uint64(r.View))
	b = appendUint(b, uint64(r.Seq))
	b = appendUint(b, uint64(r.Client))
	b = appendUint(b, uint64(r.Slot))
	b = appendUint(b, r.Number)
	b = appendUint(b, uint64(r.Replica))
	b = appendBool(b, r.Tentative)
	b = appendBool(b, r.ReadOnly)
	b = appendDigest(b, &r.Digest)
	b = appendBool(b, r.Full)
	return appendBytes(b, r.Result)
}

func (d *Data) append(b []byte) []byte {
	b = appendUint(appendArray(b, 4), uint64(d.Replica))
	b = appendDigest(b, &d.Root)
	if d.Nodes == nil {
		b = append(b, mpNil)
	} else {
		b = appendArray(b, len(d.Nodes))
		for _, n := range d.Nodes {
			b = appendBytes(b, n)
		}
	}
	return appendUint(b, d.Size)
}

// size is at least how many bytes the frame takes.
func (d *Data) size() int {
	size := 64
	for _, n := range d.Nodes {
		size += len(n) + 5
	}
	return size
}
