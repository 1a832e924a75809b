package main

import "bfsd/fsstate"

// locking is an operation on the locks of a file: on few bytes and by few processes, so that they meet those of others.
func (l *fileLoad) locking() fsstate.Args {
	owner := fsstate.LockOwner{Client: fsstate.LockClient{Name: "sim"}, SVID: l.rng.Uint32N(2)}
	r := fsstate.LockRange{Offset: l.rng.Uint64N(4), Length: l.rng.Uint64N(4)}
	exclusive := l.rng.IntN(2) == 0
	front := []string{"a", "b"}[l.rng.IntN(2)]
	switch l.rng.IntN(12) {
	case 0:
		return &fsstate.LockTest{Object: l.file(), Owner: owner, Range: r, Exclusive: exclusive}
	case 1:
		return &fsstate.LockCancel{Object: l.file(), Owner: owner, Range: r, Exclusive: exclusive}
	case 2, 3, 4:
		return &fsstate.Unlock{Object: l.file(), Owner: owner, Range: r}
	case 5:
		return &fsstate.LockGrants{Front: front}
	case 6:
		answer := fsstate.GrantAnswer(l.rng.IntN(int(fsstate.GrantUndelivered) + 1))
		return &fsstate.LockAnswer{Object: l.file(), ID: l.rng.Uint64N(64), Answer: answer}
	case 7:
		return &fsstate.Share{Object: l.file(), Owner: owner, Access: l.rng.Uint32N(4), Deny: l.rng.Uint32N(4)}
	case 8:
		return &fsstate.LockRelease{Client: owner.Client, State: l.rng.Uint32N(8), All: l.rng.IntN(2) == 0}
	}
	return &fsstate.Lock{
		Object: l.file(), Owner: owner, Range: r, Exclusive: exclusive, Block: l.rng.IntN(2) == 0, State: l.rng.Uint32N(8), Front: front,
	}
}
