package fsstate

// sampleLockArgs holds the arguments of every operation on locks, every field set.
func sampleLockArgs(h Handle) []Args {
	owner := LockOwner{Client: LockClient{Name: "client.example", Via: "gateway 100"}, SVID: 4711, OH: "4711@client\x00"}
	r := LockRange{Offset: 1 << 40, Length: 4096}
	return []Args{
		&Lock{
			Object: h, Owner: owner, Range: r, Exclusive: true, Block: true, Reclaim: true, State: 7, Front: "replica 2",
			Server: "192.0.2.9",
		},
		&LockTest{Object: h, Owner: owner, Range: r, Exclusive: true},
		&LockCancel{Object: h, Owner: owner, Range: r, Exclusive: true},
		&Unlock{Object: h, Owner: owner, Range: LockRange{Offset: 5}},
		&Share{Object: h, Owner: owner, Access: ShareRead, Deny: ShareRead | ShareWrite, State: 9},
		&Unshare{Object: h, Owner: owner},
		&LockRelease{Client: owner.Client, State: 11, All: true},
		&LockGrants{Front: "replica 2"},
		&LockAnswer{Object: h, ID: 1 << 50, Answer: GrantUndelivered},
		&LockClients{After: 3},
		&LockRenew{Clients: []uint64{1, 1 << 40}},
	}
}

// sampleLockResults holds a result of every operation on locks, every field set.
func sampleLockResults(h Handle) map[Kind]Result {
	owner := LockOwner{Client: LockClient{Name: "client.example", Via: "gateway 100"}, SVID: 4711, OH: "4711@client"}
	changed := &LockResult{Head: Head{EAGAIN}, Blocked: true, Wake: true}
	return map[Kind]Result{
		KindLock: changed, KindLockCancel: changed, KindUnlock: changed, KindShare: changed, KindUnshare: changed,
		KindLockRelease: changed, KindLockAnswer: changed, KindLockRenew: changed,
		KindLockTest: &LockTestResult{Head: Head{EAGAIN}, Holder: &LockHolder{Owner: owner, Range: LockRange{1, 2}, Exclusive: true}},
		KindLockGrants: &LockGrantsResult{Waiting: true, More: true, Grants: []LockGrant{{
			ID: 9, Object: h, Machine: "192.0.2.1", Owner: owner, Range: LockRange{1, 0}, Exclusive: true, Server: "192.0.2.9", Since: -5,
		}}},
		KindLockClients: &LockClientsResult{More: true, Clients: []LockClientInfo{{
			Number: 1, Machine: "192.0.2.1", Via: owner.Client.Via, Seen: 4,
		}}},
	}
}
