package nlm

import "fmt"

// The RPC program and its version. Versions 1 to 3, with offsets of 32 bits, are NFS version 2's.
const (
	Program = 100021
	Version = 4
)

// Proc is a procedure number (XNFS §10.3).
type Proc uint32

// The procedures. Those with Msg and Res are the asynchronous form: a call without results, answered by a call in the
// other direction.
const (
	ProcNull       Proc = 0
	ProcTest       Proc = 1
	ProcLock       Proc = 2
	ProcCancel     Proc = 3
	ProcUnlock     Proc = 4
	ProcGranted    Proc = 5
	ProcTestMsg    Proc = 6
	ProcLockMsg    Proc = 7
	ProcCancelMsg  Proc = 8
	ProcUnlockMsg  Proc = 9
	ProcGrantedMsg Proc = 10
	ProcTestRes    Proc = 11
	ProcLockRes    Proc = 12
	ProcCancelRes  Proc = 13
	ProcUnlockRes  Proc = 14
	ProcGrantedRes Proc = 15
	ProcShare      Proc = 20
	ProcUnshare    Proc = 21
	ProcNMLock     Proc = 22
	ProcFreeAll    Proc = 23
)

// procEnd is one past the last procedure.
const procEnd = 24

var procNames = [procEnd]string{
	"NULL", "TEST", "LOCK", "CANCEL", "UNLOCK", "GRANTED", "TEST_MSG", "LOCK_MSG", "CANCEL_MSG", "UNLOCK_MSG", "GRANTED_MSG",
	"TEST_RES", "LOCK_RES", "CANCEL_RES", "UNLOCK_RES", "GRANTED_RES", "", "", "", "", "SHARE", "UNSHARE", "NM_LOCK", "FREE_ALL",
}

// String gives the specification's name.
func (p Proc) String() string {
	if p < procEnd && procNames[p] != "" {
		return procNames[p]
	}
	return fmt.Sprintf("procedure %d", uint32(p))
}

// Status is nlm4_stats (XNFS, appendix G).
type Status uint32

// The statuses.
const (
	Granted           Status = 0
	Denied            Status = 1 // somebody else's lock is in the way
	DeniedNoLocks     Status = 2 // the server is out of room for locks
	Blocked           Status = 3 // the client will be called when it is granted
	DeniedGracePeriod Status = 4 // not now: ask again
	Deadlock          Status = 5
	ReadOnly          Status = 6
	StaleFH           Status = 7
	TooBig            Status = 8 // NLM4_FBIG: the range leaves what offsets can say
	Failed            Status = 9
)

var statusNames = [...]string{
	"NLM4_GRANTED", "NLM4_DENIED", "NLM4_DENIED_NOLOCKS", "NLM4_BLOCKED", "NLM4_DENIED_GRACE_PERIOD", "NLM4_DEADLCK", "NLM4_ROFS",
	"NLM4_STALE_FH", "NLM4_FBIG", "NLM4_FAILED",
}

// String gives the specification's name.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("nlm4_stats %d", uint32(s))
}

// Bounds, in bytes (XNFS §10.2: LM_MAXSTRLEN, MAXNETOBJ_SZ).
const (
	nameMax   = 1024
	netobjMax = 1024
)
