// Package opcall makes the envelope of a file-system operation from an RPC call: who calls, from where, and how the call is
// known if it comes again. All programs of the front end share it. It knows no procedure.
package opcall

import (
	"hash/crc32"
	"net/netip"

	"bfsd/fsstate"
	"bfsd/nfs/rpc"
)

// nobody is the user and group of calls without credentials (AUTH_NONE): the customary overflow id.
const nobody = 65534

// Room is about what surrounds the bulk of an encoded operation, in bytes: credential, machine, names, numbers.
const Room = 1 << 10

// New returns the operation that a call asks for.
func New(call *rpc.Call, args fsstate.Args) fsstate.Op {
	return fsstate.Op{
		Cred:    credential(&call.Cred),
		Machine: Machine(call.Peer),
		Caller:  crc32.ChecksumIEEE([]byte(call.Cred.Machine)),
		XID:     call.XID,
		Args:    args,
	}
}

// credential is the identity a call runs under.
func credential(c *rpc.Credential) fsstate.Cred {
	if c.Flavor == rpc.AuthNone {
		return fsstate.Cred{UID: nobody, GID: nobody}
	}
	return fsstate.Cred{UID: known(c.UID), GID: known(c.GID), GIDs: c.GIDs}
}

// known is a number that somebody may have: who says to have none is nobody, as on other servers.
func known(id uint32) uint32 {
	if id == 1<<32-1 {
		return nobody
	}
	return id
}

// Machine is a machine's address as operations carry it, without zone; "" if it is not known.
func Machine(peer netip.Addr) string {
	if !peer.IsValid() {
		return ""
	}
	return peer.WithZone("").String()
}
