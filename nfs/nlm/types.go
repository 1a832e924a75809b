package nlm

import "bfsd/nfs/xdr"

// Message is an argument or result of a procedure. Byte slices that were decoded alias the input.
type Message interface {
	Encode(e *xdr.Encoder)
	Decode(d *xdr.Decoder)
}

// Void is no argument and no result.
type Void struct{}

// Encode implements Message.
func (*Void) Encode(*xdr.Encoder) {}

// Decode implements Message.
func (*Void) Decode(*xdr.Decoder) {}

// Lock is nlm4_lock: a range of a file, and who locks it. A Length of 0 reaches to the end of the file.
type Lock struct {
	Caller string // the client's name for itself
	FH     []byte
	OH     []byte // opaque: tells owners of one process apart
	SVID   uint32 // the process
	Offset uint64
	Length uint64
}

func (l *Lock) encode(e *xdr.Encoder) {
	e.String(l.Caller)
	e.Opaque(l.FH)
	e.Opaque(l.OH)
	e.Uint32(l.SVID)
	e.Uint64(l.Offset)
	e.Uint64(l.Length)
}

func (l *Lock) decode(d *xdr.Decoder) {
	*l = Lock{d.String(nameMax), d.Opaque(netobjMax), d.Opaque(netobjMax), d.Uint32(), d.Uint64(), d.Uint64()}
}

// LockArgs is nlm4_lockargs, of LOCK, LOCK_MSG and NM_LOCK.
type LockArgs struct {
	Cookie    []byte // comes back with the answer
	Block     bool
	Exclusive bool
	Lock      Lock
	Reclaim   bool
	State     uint32 // the client's life, as NSM numbers them
}

// Encode implements Message.
func (a *LockArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Cookie)
	e.Bool(a.Block)
	e.Bool(a.Exclusive)
	a.Lock.encode(e)
	e.Bool(a.Reclaim)
	e.Uint32(a.State)
}

// Decode implements Message.
func (a *LockArgs) Decode(d *xdr.Decoder) {
	a.Cookie, a.Block, a.Exclusive = d.Opaque(netobjMax), d.Bool(), d.Bool()
	a.Lock.decode(d)
	a.Reclaim, a.State = d.Bool(), d.Uint32()
}

// CancelArgs is nlm4_cancargs, of CANCEL and CANCEL_MSG.
type CancelArgs struct {
	Cookie    []byte
	Block     bool
	Exclusive bool
	Lock      Lock
}

// Encode implements Message.
func (a *CancelArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Cookie)
	e.Bool(a.Block)
	e.Bool(a.Exclusive)
	a.Lock.encode(e)
}

// Decode implements Message.
func (a *CancelArgs) Decode(d *xdr.Decoder) {
	a.Cookie, a.Block, a.Exclusive = d.Opaque(netobjMax), d.Bool(), d.Bool()
	a.Lock.decode(d)
}

// TestArgs is nlm4_testargs, of TEST, TEST_MSG, GRANTED and GRANTED_MSG.
type TestArgs struct {
	Cookie    []byte
	Exclusive bool
	Lock      Lock
}

// Encode implements Message.
func (a *TestArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Cookie)
	e.Bool(a.Exclusive)
	a.Lock.encode(e)
}

// Decode implements Message.
func (a *TestArgs) Decode(d *xdr.Decoder) {
	a.Cookie, a.Exclusive = d.Opaque(netobjMax), d.Bool()
	a.Lock.decode(d)
}

// UnlockArgs is nlm4_unlockargs, of UNLOCK and UNLOCK_MSG.
type UnlockArgs struct {
	Cookie []byte
	Lock   Lock
}

// Encode implements Message.
func (a *UnlockArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Cookie)
	a.Lock.encode(e)
}

// Decode implements Message.
func (a *UnlockArgs) Decode(d *xdr.Decoder) {
	a.Cookie = d.Opaque(netobjMax)
	a.Lock.decode(d)
}

// Res is nlm4_res, what most procedures answer.
type Res struct {
	Cookie []byte
	Status Status
}

// Encode implements Message.
func (r *Res) Encode(e *xdr.Encoder) {
	e.Opaque(r.Cookie)
	e.Uint32(uint32(r.Status))
}

// Decode implements Message.
func (r *Res) Decode(d *xdr.Decoder) { *r = Res{d.Opaque(netobjMax), Status(d.Uint32())} }

// Holder is nlm4_holder: who is in the way.
type Holder struct {
	Exclusive bool
	SVID      uint32
	OH        []byte
	Offset    uint64
	Length    uint64
}

// TestRes is nlm4_testres. Holder is set just if Status is Denied.
type TestRes struct {
	Cookie []byte
	Status Status
	Holder Holder
}

// Encode implements Message.
func (r *TestRes) Encode(e *xdr.Encoder) {
	e.Opaque(r.Cookie)
	e.Uint32(uint32(r.Status))
	if r.Status != Denied {
		return
	}
	e.Bool(r.Holder.Exclusive)
	e.Uint32(r.Holder.SVID)
	e.Opaque(r.Holder.OH)
	e.Uint64(r.Holder.Offset)
	e.Uint64(r.Holder.Length)
}

// Decode implements Message.
func (r *TestRes) Decode(d *xdr.Decoder) {
	*r = TestRes{Cookie: d.Opaque(netobjMax), Status: Status(d.Uint32())}
	if r.Status == Denied {
		r.Holder = Holder{d.Bool(), d.Uint32(), d.Opaque(netobjMax), d.Uint64(), d.Uint64()}
	}
}

// ShareArgs is nlm4_shareargs, of SHARE and UNSHARE. Mode is what others are denied, Access what is accessed: 1 to read,
// 2 to write.
type ShareArgs struct {
	Cookie  []byte
	Caller  string
	FH      []byte
	OH      []byte
	Mode    uint32
	Access  uint32
	Reclaim bool
}

// shareModes is one past the last fsh4_mode and fsh4_access.
const shareModes = 4

// Encode implements Message.
func (a *ShareArgs) Encode(e *xdr.Encoder) {
	e.Opaque(a.Cookie)
	e.String(a.Caller)
	e.Opaque(a.FH)
	e.Opaque(a.OH)
	e.Uint32(a.Mode)
	e.Uint32(a.Access)
	e.Bool(a.Reclaim)
}

// Decode implements Message.
func (a *ShareArgs) Decode(d *xdr.Decoder) {
	*a = ShareArgs{
		d.Opaque(netobjMax), d.String(nameMax), d.Opaque(netobjMax), d.Opaque(netobjMax), d.Enum(shareModes), d.Enum(shareModes), d.Bool(),
	}
}

// ShareRes is nlm4_shareres.
type ShareRes struct {
	Cookie   []byte
	Status   Status
	Sequence uint32
}

// Encode implements Message.
func (r *ShareRes) Encode(e *xdr.Encoder) {
	e.Opaque(r.Cookie)
	e.Uint32(uint32(r.Status))
	e.Uint32(r.Sequence)
}

// Decode implements Message.
func (r *ShareRes) Decode(d *xdr.Decoder) {
	*r = ShareRes{d.Opaque(netobjMax), Status(d.Uint32()), d.Uint32()}
}

// Notify is nlm4_notify, of FREE_ALL: a client whose locks are not monitored has restarted.
type Notify struct {
	Name  string
	State uint32
}

// Encode implements Message.
func (n *Notify) Encode(e *xdr.Encoder) {
	e.String(n.Name)
	e.Uint32(n.State)
}

// Decode implements Message.
func (n *Notify) Decode(d *xdr.Decoder) { *n = Notify{d.String(nameMax), d.Uint32()} }

// NewArgs returns empty arguments for a procedure, nil if there is none of that number.
func NewArgs(p Proc) Message {
	switch p {
	case ProcNull:
		return new(Void)
	case ProcTest, ProcTestMsg, ProcGranted, ProcGrantedMsg:
		return new(TestArgs)
	case ProcLock, ProcLockMsg, ProcNMLock:
		return new(LockArgs)
	case ProcCancel, ProcCancelMsg:
		return new(CancelArgs)
	case ProcUnlock, ProcUnlockMsg:
		return new(UnlockArgs)
	case ProcTestRes:
		return new(TestRes)
	case ProcLockRes, ProcCancelRes, ProcUnlockRes, ProcGrantedRes:
		return new(Res)
	case ProcShare, ProcUnshare:
		return new(ShareArgs)
	case ProcFreeAll:
		return new(Notify)
	}
	return nil
}

// NewRes returns empty results for a procedure, nil if there is none of that number.
func NewRes(p Proc) Message {
	switch p {
	case ProcTest:
		return new(TestRes)
	case ProcLock, ProcCancel, ProcUnlock, ProcGranted, ProcNMLock:
		return new(Res)
	case ProcShare, ProcUnshare:
		return new(ShareRes)
	case ProcNull, ProcTestMsg, ProcLockMsg, ProcCancelMsg, ProcUnlockMsg, ProcGrantedMsg, ProcTestRes, ProcLockRes, ProcCancelRes,
		ProcUnlockRes, ProcGrantedRes, ProcFreeAll:
		return new(Void)
	}
	return nil
}
