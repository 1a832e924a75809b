package gonfs

import (
	"encoding/binary"

	"bfsd/fsstate"
	"bfsd/nfs/xdr"
)

// What a call may be: RFC 5531 §9 (calls, replies), RFC 1813 §3.3 and §5.2 (procedures).
const (
	msgCall  = 0
	msgReply = 1

	replyAccepted = 0
	replyDenied   = 1

	acceptSuccess      = 0
	acceptProgUnavail  = 1
	acceptProgMismatch = 2
	acceptProcUnavail  = 3
	acceptGarbageArgs  = 4

	rejectRPCMismatch = 0
	rejectAuthError   = 1
	authBadCred       = 1

	rpcVersion = 2
	authNone   = 0
	authSys    = 1
	authMax    = 400 // bytes in a credential or verifier (RFC 5531 §8.2)
	callMin    = 40  // bytes in the shortest call header
	progNFS    = 100003
	progMount  = 100005
	version3   = 3
	mountPath  = 1024 // bytes in a path to mount (RFC 1813 §5.1.1, MNTPATHLEN)
	fileHandle = 64   // bytes in a file handle (RFC 1813 §2.4, NFS3_FHSIZE)
	errNotSupp = 10004

	typeBlockDev = 3 // ftype3 NF3BLK, NF3CHR, NF3SOCK, NF3FIFO
	typeCharDev  = 4
	typeSocket   = 6
	typeFIFO     = 7
)

// The procedures of NFSv3 whose arguments hold more than a handle and numbers.
const (
	procNull    = 0
	procSetattr = 2
	procLookup  = 3
	procWrite   = 7
	procCreate  = 8
	procMkdir   = 9
	procSymlink = 10
	procMknod   = 11
	procRemove  = 12
	procRmdir   = 13
	procRename  = 14
	procLink    = 15
	procLast    = 21 // COMMIT
	procMnt     = 1  // of MOUNT
	procUmnt    = 3  // of MOUNT
)

// screen reads a call before go-nfs does. It returns (nil, true) for a call that go-nfs is to serve, the reply to one that
// it is not, and (nil, false) if the record is no call at all and the connection must go.
//
// go-nfs allocates whatever length it reads, looks at no version of program or protocol, numbers the errors of RFC 5531
// wrongly (it says PROG_MISMATCH for PROC_UNAVAIL), and takes the arguments of LINK for those of SYMLINK. So a call passes here only if it is one that go-nfs can decode, with every length inside the
// record; the rest is answered as RFC 5531 says. What go-nfs would confirm without doing it (device nodes for
// characters, set-id and sticky bits) gets NFS3ERR_NOTSUPP.
func screen(rec []byte) (reply []byte, ok bool) {
	d := xdr.NewDecoder(rec)
	xid, kind := d.Uint32(), d.Uint32()
	if len(rec) < callMin || kind != msgCall {
		return nil, false
	}
	if d.Uint32() != rpcVersion {
		return denied(xid, rejectRPCMismatch, rpcVersion, rpcVersion), true
	}
	prog, vers, proc := d.Uint32(), d.Uint32(), d.Uint32()
	flavor := d.Uint32()
	d.Opaque(authMax)
	d.Uint32()
	d.Opaque(authMax)
	switch {
	case d.Err() != nil:
		return nil, false
	case flavor != authNone && flavor != authSys:
		return denied(xid, rejectAuthError, authBadCred), true
	case prog != progNFS && prog != progMount:
		return accepted(xid, acceptProgUnavail), true
	case vers != version3:
		return accepted(xid, acceptProgMismatch, version3, version3), true
	case prog == progNFS && proc > procLast, prog == progMount && proc != procNull && proc != procMnt && proc != procUmnt:
		return accepted(xid, acceptProcUnavail), true
	}
	unsupported := 0
	if prog == progMount {
		screenMount(d, proc)
	} else {
		unsupported = screenArgs(d, proc)
	}
	if d.Err() != nil {
		return accepted(xid, acceptGarbageArgs), true
	}
	if unsupported > 0 {
		words := make([]uint32, unsupported) // the status, and absent attributes
		words[0] = errNotSupp
		return accepted(xid, acceptSuccess, words...), true
	}
	return nil, true
}

func accepted(xid, stat uint32, body ...uint32) []byte {
	return words(append([]uint32{xid, msgReply, replyAccepted, authNone, 0, stat}, body...))
}

func denied(xid, stat uint32, body ...uint32) []byte {
	return words(append([]uint32{xid, msgReply, replyDenied, stat}, body...))
}

// words encodes a reply as a record of one fragment (RFC 5531 §11).
func words(w []uint32) []byte {
	b := make([]byte, 0, 4+4*len(w))
	b = binary.BigEndian.AppendUint32(b, lastFragment|uint32(4*len(w)))
	for _, v := range w {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func screenMount(d *xdr.Decoder, proc uint32) {
	if proc == procMnt || proc == procUmnt {
		d.Opaque(mountPath)
	}
}

// The lengths in words of the replies that refuse a call: the status and, absent, what RFC 1813 lets a failed call return.
const (
	wccFail  = 3 // status, pre_op_attr, post_op_attr
	linkFail = 4 // status, post_op_attr, pre_op_attr, post_op_attr
)

// screenArgs reads the arguments of an NFS procedure as far as they hold lengths. It returns the length in words of the
// reply NFS3ERR_NOTSUPP, or 0 if go-nfs does what the call asks for.
func screenArgs(d *xdr.Decoder, proc uint32) (unsupported int) {
	if proc == procNull {
		return 0
	}
	d.Opaque(fileHandle)
	switch proc {
	case procLink:
		return linkFail
	case procSetattr:
		return screenAttrs(d)
	case procWrite:
		d.Uint64() // offset
		d.Uint32() // count
		d.Uint32() // stable
		d.Opaque(d.Remaining())
	case procLookup, procRemove, procRmdir:
		screenName(d)
	case procCreate:
		screenName(d)
		if how := d.Uint32(); how < 2 { // UNCHECKED, GUARDED
			return screenAttrs(d)
		}
	case procMkdir:
		screenName(d)
		return screenAttrs(d)
	case procSymlink:
		screenName(d)
		screenAttrs(d) // the mode of a link means nothing
		d.Opaque(fsstate.PathMax)
	case procMknod:
		screenName(d)
		switch d.Uint32() {
		case typeCharDev:
			return wccFail
		case typeBlockDev, typeSocket, typeFIFO:
			return screenAttrs(d)
		}
	case procRename:
		screenName(d)
		d.Opaque(fileHandle)
		screenName(d)
	}
	return 0
}

// screenName reads a name. Whether it is too long for a file system is for that to say.
func screenName(d *xdr.Decoder) { d.Opaque(d.Remaining()) }

// screenAttrs reads a sattr3 (RFC 1813 §2.6) and refuses mode bits that go-nfs would drop.
func screenAttrs(d *xdr.Decoder) (unsupported int) {
	if d.Bool() && d.Uint32()&modeBits&^0o777 != 0 {
		unsupported = wccFail
	}
	for range 2 { // uid, gid
		if d.Bool() {
			d.Uint32()
		}
	}
	if d.Bool() {
		d.Uint64() // size
	}
	for range 2 { // atime, mtime
		if d.Enum(3) == 2 { // SET_TO_CLIENT_TIME
			d.Uint64()
		}
	}
	return unsupported
}
