package fsstate

// newLockArgs is NewArgs for the operations of this file.
func newLockArgs(kind Kind) Args {
	switch kind {
	case KindLock:
		return new(Lock)
	case KindLockTest:
		return new(LockTest)
	case KindLockCancel:
		return new(LockCancel)
	case KindUnlock:
		return new(Unlock)
	case KindShare:
		return new(Share)
	case KindUnshare:
		return new(Unshare)
	case KindLockRelease:
		return new(LockRelease)
	case KindLockGrants:
		return new(LockGrants)
	case KindLockAnswer:
		return new(LockAnswer)
	case KindLockClients:
		return new(LockClients)
	case KindLockRenew:
		return new(LockRenew)
	default:
		return nil
	}
}

// newLockResult is NewResult for the operations of this file.
func newLockResult(kind Kind, h Head) Result {
	switch kind {
	case KindLock, KindLockCancel, KindUnlock, KindShare, KindUnshare, KindLockRelease, KindLockAnswer, KindLockRenew:
		return &LockResult{Head: h}
	case KindLockTest:
		return &LockTestResult{Head: h}
	case KindLockGrants:
		return &LockGrantsResult{Head: h}
	case KindLockClients:
		return &LockClientsResult{Head: h}
	default:
		return nil
	}
}

// changeLocks runs an operation that changes the lock table.
func (fs *FS) changeLocks(via FrontEnd, op *Op, now Time) Result {
	switch a := op.Args.(type) {
	case *Lock:
		return fs.lock(via, op, a, now)
	case *LockCancel:
		return fs.lockCancel(op, a, now)
	case *Unlock:
		return fs.unlock(op, a, now)
	case *Share:
		return fs.share(via, op, a, now)
	case *Unshare:
		return fs.unshare(op, a, now)
	case *LockRelease:
		return fs.lockRelease(via, op, a, now)
	case *LockAnswer:
		return fs.lockAnswer(via, a, now)
	case *LockRenew:
		return fs.lockRenew(via, a, now)
	}
	return Head{Status: EBADOP}
}

// queryLocks runs an operation that reads the lock table.
func (v view) queryLocks(who caller, op *Op) Result {
	switch a := op.Args.(type) {
	case *LockTest:
		return v.lockTest(op, a)
	case *LockGrants:
		return v.lockGrants(who.via, a)
	case *LockClients:
		return v.lockClients(who.via, a)
	}
	return Head{Status: EBADOP}
}
