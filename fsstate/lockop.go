package fsstate

// Byte-range locks and share reservations, for NFS version 3 clients and their lock protocol, NLM version 4 (X/Open,
// "Protocols for Interworking: XNFS", chapter 10). They are replicated state like files: whatever front end takes a call,
// and whichever replicas fail, there is one lock table. How it is kept is in lockrecord.go.

const (
	// LockNameMax bounds the names of a client and of a front end, in bytes.
	LockNameMax = 255
	// LockOwnerMax bounds LockOwner.OH, in bytes (XNFS §10.2: MAXNETOBJ_SZ).
	LockOwnerMax = 1024
	// LockListMax is how many entries one LockGrants, LockClients or LockRenew carries.
	LockListMax = 64
)

// LockClient tells client machines apart, together with Op.Machine: a name alone anybody can claim, and one address can
// stand for several machines.
type LockClient struct {
	Name string // what the machine calls itself
	Via  string // the front end, if the machine's address means something to that one only, such as 127.0.0.1; else ""
}

// LockOwner is who holds a lock or waits for one: locks of one owner never conflict.
type LockOwner struct {
	Client LockClient
	SVID   uint32 // the process, as the client numbers it
	OH     string // opaque bytes that tell owners of one process apart
}

// LockRange is a range of bytes. A Length of 0 reaches to the end of the file, however far that moves.
type LockRange struct {
	Offset uint64
	Length uint64
}

// bounds returns the first and the last byte of a range. EFBIG if it leaves what off_t can say.
func (r LockRange) bounds() (first, last uint64, s Status) {
	switch {
	case r.Offset > sizeMax || r.Length > 0 && r.Length-1 > sizeMax-r.Offset:
		return 0, 0, EFBIG
	case r.Length == 0:
		return r.Offset, sizeMax, OK
	}
	return r.Offset, r.Offset + r.Length - 1, OK
}

// Lock takes a lock, in place of those that its owner holds in the range (fcntl(2), F_SETLK). If another's is in the way,
// the status is EAGAIN; with Block it then waits in the queue, in order of arrival, unless that would never end
// (EDEADLK). A client that asks again for what it waits for keeps its place. ENOLCK: a limit of the table is reached.
type Lock struct {
	Object    Handle
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
	Block     bool
	// Reclaim asks for a lock that the client held before it believed the server to have restarted. It is granted just if
	// the owner holds it still: restarts do not lose locks, so what is gone was released, and others may have had it since.
	Reclaim bool
	// State is the client's incarnation (NSM's state number), 0 if it does not say. A newer one than before tells that
	// the client has restarted, which ends the locks of its former life.
	State  uint32
	Front  string // the front end that takes the call, and calls the client back once the lock is granted
	Server string // the address at which the client called it, from which it expects that call
}

// LockTest asks whether Lock would be granted, and if not, who is in the way (F_GETLK).
type LockTest struct {
	Object    Handle
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
}

// LockCancel takes back a Lock that waits. EAGAIN if there is none: it was granted meanwhile, and has to be unlocked.
type LockCancel struct {
	Object    Handle
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
}

// Unlock releases what the owner holds in the range, if anything.
type Unlock struct {
	Object Handle
	Owner  LockOwner
	Range  LockRange
}

// Share reserves a file against others' opening it (the share modes of DOS, XNFS §10.3.7): it conflicts with the
// reservation of another owner if that one denies what this one accesses, or the reverse (EAGAIN). It binds those who
// reserve, as locks bind those who lock. Owner.SVID is not part of who owns a reservation.
type Share struct {
	Object Handle
	Owner  LockOwner
	Access uint32 // ShareRead, ShareWrite or both
	Deny   uint32
	State  uint32
}

// The bits of Share's Access and Deny.
const (
	ShareRead  = 1
	ShareWrite = 2
	shareMask  = ShareRead | ShareWrite
)

// Unshare ends a reservation, if there is one.
type Unshare struct {
	Object Handle
	Owner  LockOwner
}

// LockRelease ends all that a client holds and waits for, because it has restarted: unless All, only if State is newer
// than the one that the client locked under, so that news which come late or twice change nothing.
type LockRelease struct {
	Client LockClient
	State  uint32
	All    bool
}

// LockGrants lists locks that waited, were granted, and whose clients a front end has yet to tell: those of its own requests.
type LockGrants struct {
	Front string
}

// LockAnswer records what became of telling a client that its lock is granted. A front end says GrantSending before it
// calls the client, and how the call ended after. ENOENT if there is nothing to tell any more.
type LockAnswer struct {
	Object Handle
	ID     uint64 // LockGrant.ID
	Answer GrantAnswer
}

// GrantAnswer is what LockAnswer records.
type GrantAnswer uint8

// The answers.
const (
	// GrantSending: the call is about to be made; from here on the client may know.
	GrantSending GrantAnswer = iota
	// GrantAccepted: the client has its lock.
	GrantAccepted
	// GrantRefused: the client does not wait for this lock. It is released, unless an earlier call, whose answer was
	// lost, may have told the client: then it may well hold the lock and have forgotten that it waited.
	GrantRefused
	// GrantUndelivered: the call certainly did not reach the client. If none did for long enough, the lock is released.
	GrantUndelivered
)

// LockClients lists the clients that have something on files which the front end serves, from number After+1 on.
type LockClients struct {
	After uint64
}

// LockRenew says that clients, by number, are alive, which keeps their locks from expiring. Those that LockClients would not
// show are left alone.
type LockRenew struct {
	Clients []uint64 // LockListMax at most
}

// LockResult answers the operations that change the lock table.
type LockResult struct {
	Head
	Blocked bool // of a Lock with EAGAIN: it waits
	Wake    bool // locks that others waited for were granted
}

// LockTestResult answers LockTest. Holder is who is in the way, with EAGAIN.
type LockTestResult struct {
	Head
	Holder *LockHolder
}

// LockHolder is a lock and its owner.
type LockHolder struct {
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
}

// LockGrant is a lock that waited and was granted.
type LockGrant struct {
	ID        uint64
	Object    Handle
	Machine   string // the client's address
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
	Server    string // Lock.Server
	Since     Time   // when it was granted
}

// LockGrantsResult answers LockGrants. Waiting says that others wait through this front end. More says that there are
// more than LockListMax.
type LockGrantsResult struct {
	Head
	Grants  []LockGrant
	Waiting bool
	More    bool
}

// LockClientInfo is a client that holds or waits for something: what it takes to see whether it is alive, and no more.
type LockClientInfo struct {
	Number  uint64
	Machine string
	Via     string // LockClient.Via
	Seen    Time   // when it was last known to be alive
}

// LockClientsResult answers LockClients. More says that there are more.
type LockClientsResult struct {
	Head
	Clients []LockClientInfo
	More    bool
}

// Kind implements Args.
func (*Lock) Kind() Kind { return KindLock }

// Kind implements Args.
func (*LockTest) Kind() Kind { return KindLockTest }

// Kind implements Args.
func (*LockCancel) Kind() Kind { return KindLockCancel }

// Kind implements Args.
func (*Unlock) Kind() Kind { return KindUnlock }

// Kind implements Args.
func (*Share) Kind() Kind { return KindShare }

// Kind implements Args.
func (*Unshare) Kind() Kind { return KindUnshare }

// Kind implements Args.
func (*LockRelease) Kind() Kind { return KindLockRelease }

// Kind implements Args.
func (*LockGrants) Kind() Kind { return KindLockGrants }

// Kind implements Args.
func (*LockAnswer) Kind() Kind { return KindLockAnswer }

// Kind implements Args.
func (*LockClients) Kind() Kind { return KindLockClients }

// Kind implements Args.
func (*LockRenew) Kind() Kind { return KindLockRenew }

// ReadOnly implements Args.
func (*Lock) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*LockTest) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*LockCancel) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Unlock) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Share) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Unshare) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*LockRelease) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*LockGrants) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*LockAnswer) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*LockClients) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*LockRenew) ReadOnly() bool { return false }

func (c *LockClient) check() *OpError {
	if len(c.Name) > LockNameMax || len(c.Via) > LockNameMax {
		return refuse(EBADOP, "lock client's name of %d bytes via %d, %d at most", len(c.Name), len(c.Via), LockNameMax)
	}
	return nil
}

func (o *LockOwner) check() *OpError {
	if len(o.OH) > LockOwnerMax {
		return refuse(EBADOP, "lock owner of %d bytes, %d at most", len(o.OH), LockOwnerMax)
	}
	return o.Client.check()
}

func (a *Lock) check() *OpError {
	if len(a.Front) > LockNameMax || len(a.Server) > machineMax {
		return refuse(EBADOP, "front end's name of %d bytes, address of %d", len(a.Front), len(a.Server))
	}
	return a.Owner.check()
}

func (a *Share) check() *OpError {
	if a.Access&^shareMask != 0 || a.Deny&^shareMask != 0 {
		return refuse(EBADOP, "share access %#x, deny %#x", a.Access, a.Deny)
	}
	return a.Owner.check()
}

// checkLock is Op.check for the operations of this file.
func checkLock(args Args) *OpError {
	switch a := args.(type) {
	case *Lock:
		return a.check()
	case *LockTest:
		return a.Owner.check()
	case *LockCancel:
		return a.Owner.check()
	case *Unlock:
		return a.Owner.check()
	case *Share:
		return a.check()
	case *Unshare:
		return a.Owner.check()
	case *LockRelease:
		return a.Client.check()
	case *LockGrants:
		if len(a.Front) > LockNameMax {
			return refuse(EBADOP, "front end's name of %d bytes, %d at most", len(a.Front), LockNameMax)
		}
		return nil
	case *LockAnswer:
		if a.Answer > GrantUndelivered {
			return refuse(EBADOP, "answer %d", a.Answer)
		}
		return nil
	case *LockClients:
		return nil
	case *LockRenew:
		if len(a.Clients) > LockListMax {
			return refuse(EBADOP, "%d clients to renew, %d at most", len(a.Clients), LockListMax)
		}
		return nil
	}
	return refuse(EBADOP, "no arguments")
}
