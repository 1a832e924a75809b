package fsstate

import "bytes"

// SetKey gives a member of the cluster another key. It takes effect with the operations that are ordered after it.
type SetKey struct {
	Order     []byte // an encoded KeyOrder
	Signature []byte // of an operator, on KeyOrderDomain and then Order
}

// KeyOrder is what an operator signs. An order that was executed cannot be executed again, since it names the version of
// the table that it replaces. For which cluster it is, the signature tells (see Config.Signed).
type KeyOrder struct {
	Replaces uint64 // version of the table before
	Member   FrontEnd
	Number   uint32 // of the key among the member's: above those it had
	Key      []byte
}

// KeyOrderDomain begins what is signed, so that the signature is not one of anything else.
const KeyOrderDomain = "bfsd/member-key/1 "

// EncodeKeyOrder returns the encoding of an order.
func EncodeKeyOrder(o *KeyOrder) []byte { return appendValue(nil, o) }

// SetKeyResult answers SetKey: EPERM if no operator signed the order, ENOTSYNC if it does not replace the version in use,
// EINVAL if the key is none, or its number not above those before; ENOENT, ENOTSUPP and EEXIST come from Config.MayHave;
// EFBIG if the member's key was replaced as often as it can be, ENOSPC if the table is full.
type SetKeyResult struct {
	Head
	Version uint64 // of the table in use, in any case
	Number  uint32 // of the member's key in use, if the order could be read
}

// GetKeys reads the table of members' keys.
type GetKeys struct{}

// GetKeysResult answers GetKeys.
type GetKeysResult struct {
	Head
	Version uint64
	Keys    []MemberKey // by member: those that have one by an order
}

// Kind implements Args.
func (*SetKey) Kind() Kind { return KindSetKey }

// Kind implements Args.
func (*GetKeys) Kind() Kind { return KindGetKeys }

// ReadOnly implements Args.
func (*SetKey) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*GetKeys) ReadOnly() bool { return true }

const keyOrderMax = memberKeyMax + 64 // bytes

func (a *SetKey) check() *OpError {
	if len(a.Order) > keyOrderMax || len(a.Signature) > signatureMax {
		return refuse(EBADOP, "order of a key of %d bytes with a signature of %d", len(a.Order), len(a.Signature))
	}
	return nil
}

func (fs *FS) setKey(a *SetKey) *SetKeyResult {
	version, keys := fs.MemberKeys()
	r := &SetKeyResult{Version: version}
	var o KeyOrder
	if r.Status = fs.decodeOrder(KeyOrderDomain, a.Order, a.Signature, &o); r.Status != OK {
		return r
	}
	now, replaced := fs.MemberKey(o.Member)
	r.Number = now.Number
	switch {
	case o.Replaces != version || version == ^uint64(0):
		r.Status = ENOTSYNC
	case o.Number > KeyNumberMax:
		r.Status = EFBIG
	case o.Number <= now.Number || len(o.Key) == 0 || len(o.Key) > memberKeyMax:
		r.Status = EINVAL
	case fs.mayHave == nil:
		r.Status = ENOTSUPP
	case !replaced && len(keys) == MemberKeysMax:
		r.Status = ENOSPC
	default:
		r.Status = fs.mayHave(fs.super.keys.find, o.Member, o.Key)
	}
	if r.Status != OK {
		return r
	}
	fs.storeKey(MemberKey{Member: o.Member, Number: o.Number, Version: version + 1, Key: bytes.Clone(o.Key)})
	r.Version, r.Number = version+1, o.Number
	return r
}

func (v view) getKeys() *GetKeysResult {
	r := new(GetKeysResult)
	r.Version, r.Keys = v.memberKeys()
	return r
}

// RefuseOp is the result of an operation that is not executed, whatever it is.
func RefuseOp(op []byte, s Status) []byte {
	o, err := DecodeOp(op)
	if err != nil {
		return EncodeResult(refusal(err))
	}
	return EncodeResult(refused(o, s))
}
