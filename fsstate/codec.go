package fsstate

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// An encoded operation is a msgpack array of two: the envelope (kind, credential, machine, caller, xid) and the arguments, each
// struct as the array of its fields in order. An encoded result is the array of its fields, the status first. The
// encoding holds no map, so equal values have equal bytes; PBFT compares replies by them (TOCS §4.3).

// resultMax bounds an encoded result: a Read of IOMax, or a directory listing (see listMax), and its envelope.
const resultMax = IOMax + 64<<10

var (
	errTrailing = errors.New("bytes after the end")
	errTooLong  = errors.New("longer than any valid encoding")
)

// envelope begins every encoded operation.
type envelope struct {
	Kind    Kind
	Cred    Cred
	Machine string
	Caller  uint32
	XID     uint32
}

// coders keeps idle encoders and decoders, whose construction costs more than most operations. Which one is taken never
// shows in its output.
var coders = struct{ enc, dec sync.Pool }{
	enc: sync.Pool{New: func() any { return codec.NewEncoderBytes(new([]byte), msgpack) }},
	dec: sync.Pool{New: func() any { return codec.NewDecoderBytes(noBytes, msgpack) }},
}

// msgpack is the one configuration of the encoding.
var msgpack = newMsgpack()

func newMsgpack() *codec.MsgpackHandle {
	h := new(codec.MsgpackHandle)
	h.StructToArray = true
	h.MaxDepth = 16 // deeper than any of our types
	return h
}

var noBytes = []byte{}

const arrayOf2 = 0x92 // msgpack fixarray with two elements

// EncodeOp returns the canonical encoding of op, whose Args must not be nil.
func EncodeOp(op *Op) []byte { return AppendOp(nil, op) }

// AppendOp appends the canonical encoding of op to dst.
func AppendOp(dst []byte, op *Op) []byte {
	if dst == nil {
		dst = make([]byte, 0, 128+bulk(op.Args))
	}
	dst = appendEnvelope(append(dst, arrayOf2), op)
	if b, ok := appendHotOp(dst, op.Args); ok {
		return b
	}
	return appendValue(dst, op.Args)
}

// bulk estimates the encoded size of what is not small, so that a large operation is copied once.
func bulk(v any) int {
	switch v := v.(type) {
	case *Write:
		return len(v.Data)
	case *ReadResult:
		return len(v.Data)
	case *ReadDirResult:
		return 128 * len(v.Entries)
	}
	return 0
}

func appendValue(dst []byte, v any) []byte {
	enc := coders.enc.Get().(*codec.Encoder)
	dst = slices.Grow(dst, 32) // so that the encoder is given a slice that is not nil
	out := dst[len(dst):]
	room := cap(out)
	enc.ResetBytes(&out)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("fsstate: encode %T into memory: %v", v, err)) // our own types, no IO: cannot fail
	}
	written := out
	out = noBytes
	enc.ResetBytes(&out) // or the pool would keep the buffer alive
	coders.enc.Put(enc)
	if len(written) <= room { // then append never moved it out of dst
		return dst[:len(dst)+len(written)]
	}
	return append(dst, written...)
}

// DecodeOp decodes an operation and verifies every limit that does not depend on the state. An *OpError carries the
// status a client should be told. Write.Data may alias b.
func DecodeOp(b []byte) (*Op, error) {
	if len(b) > OpMax {
		return nil, refuse(EBADOP, "%d bytes, %d at most", len(b), OpMax)
	}
	if len(b) < 2 || b[0] != arrayOf2 {
		return nil, refuse(EBADOP, "not an array of envelope and arguments")
	}
	var env envelope
	c := cursor{b: b[1:]}
	if !c.envelope(&env) {
		env = envelope{}
		rest, err := decodeValue(b[1:], &env)
		if err != nil {
			return nil, refuse(EBADOP, "decode envelope: %v", err)
		}
		c = cursor{b: rest}
	}
	args, rest := NewArgs(env.Kind), c.b
	if args == nil {
		return nil, refuse(EBADOP, "unknown kind %d", env.Kind)
	}
	if !c.hotOp(args) {
		args = NewArgs(env.Kind)
		if err := decodeAll(rest, args); err != nil {
			return nil, refuse(EBADOP, "decode arguments of kind %d: %v", env.Kind, err)
		}
	}
	op := &Op{Cred: env.Cred, Machine: env.Machine, Caller: env.Caller, XID: env.XID, Args: args}
	if err := op.check(); err != nil {
		return nil, err
	}
	return op, nil
}

// decodeValue decodes the value at the start of b and returns what follows it.
func decodeValue(b []byte, v any) ([]byte, error) {
	dec := coders.dec.Get().(*codec.Decoder)
	defer func() {
		dec.ResetBytes(noBytes) // or the pool would keep b alive
		coders.dec.Put(dec)
	}()
	dec.ResetBytes(b)
	if err := dec.Decode(v); err != nil {
		return nil, err
	}
	n := dec.NumBytesRead()
	if n > len(b) {
		return nil, errTooLong
	}
	return b[n:], nil
}

func decodeAll(b []byte, v any) error {
	rest, err := decodeValue(b, v)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return errTrailing
	}
	return nil
}

// EncodeResult returns the canonical encoding of r.
func EncodeResult(r Result) []byte {
	b := make([]byte, 0, 192+bulk(r))
	if hot, ok := appendHotResult(b, r); ok {
		return hot
	}
	return appendValue(b, r)
}

// DecodeResult decodes the result of an operation of the given kind. An encoding that holds nothing but a status decodes
// as every kind. ReadResult.Data may alias b.
func DecodeResult(kind Kind, b []byte) (Result, error) {
	if len(b) > resultMax {
		return nil, fmt.Errorf("fsstate: decode result: %d bytes, %d at most", len(b), resultMax)
	}
	r := NewResult(kind, OK)
	if r == nil {
		return nil, fmt.Errorf("fsstate: decode result: unknown kind %d", kind)
	}
	c := cursor{b: b}
	if c.hotResult(r) {
		return r, nil
	}
	r = NewResult(kind, OK)
	if err := decodeAll(b, r); err != nil {
		return nil, fmt.Errorf("fsstate: decode result of kind %d: %w", kind, err)
	}
	return r, nil
}

// NewArgs returns empty arguments of a kind, nil if there is no such kind.
func NewArgs(kind Kind) Args {
	switch kind {
	case KindGetAttr:
		return new(GetAttr)
	case KindSetAttr:
		return new(SetAttr)
	case KindLookup:
		return new(Lookup)
	case KindAccess:
		return new(Access)
	case KindReadLink:
		return new(ReadLink)
	case KindRead:
		return new(Read)
	case KindWrite:
		return new(Write)
	case KindCreate:
		return new(Create)
	case KindMkdir:
		return new(Mkdir)
	case KindSymlink:
		return new(Symlink)
	case KindMknod:
		return new(Mknod)
	case KindRemove:
		return new(Remove)
	case KindRmdir:
		return new(Rmdir)
	case KindRename:
		return new(Rename)
	case KindLink:
		return new(Link)
	case KindReadDir:
		return new(ReadDir)
	case KindStatFS:
		return new(StatFS)
	case KindResolve:
		return new(Resolve)
	case KindSetPolicy:
		return new(SetPolicy)
	case KindGetPolicy:
		return new(GetPolicy)
	case KindListExports:
		return new(ListExports)
	case KindSetKey:
		return new(SetKey)
	case KindGetKeys:
		return new(GetKeys)
	default:
		return newLockArgs(kind)
	}
}

// NewResult returns a result of a kind of operation that holds nothing but a status, nil if there is no such kind.
func NewResult(kind Kind, s Status) Result {
	h := Head{Status: s}
	switch kind {
	case KindGetAttr:
		return &GetAttrResult{Head: h}
	case KindSetAttr:
		return &SetAttrResult{Head: h}
	case KindLookup, KindResolve:
		return &LookupResult{Head: h}
	case KindAccess:
		return &AccessResult{Head: h}
	case KindReadLink:
		return &ReadLinkResult{Head: h}
	case KindRead:
		return &ReadResult{Head: h}
	case KindWrite:
		return &WriteResult{Head: h}
	case KindCreate, KindMkdir, KindSymlink, KindMknod:
		return &CreateResult{Head: h}
	case KindRemove, KindRmdir:
		return &RemoveResult{Head: h}
	case KindRename:
		return &RenameResult{Head: h}
	case KindLink:
		return &LinkResult{Head: h}
	case KindReadDir:
		return &ReadDirResult{Head: h}
	case KindStatFS:
		return &StatFSResult{Head: h}
	case KindSetPolicy:
		return &SetPolicyResult{Head: h}
	case KindGetPolicy:
		return &GetPolicyResult{Head: h}
	case KindListExports:
		return &ListExportsResult{Head: h}
	case KindSetKey:
		return &SetKeyResult{Head: h}
	case KindGetKeys:
		return &GetKeysResult{Head: h}
	default:
		return newLockResult(kind, h)
	}
}
