package nfs3

import (
	"fmt"

	"bfsd/nfs/xdr"
)

// The RPC program and its version (RFC 1813 §2.1).
const (
	Program = 100003
	Version = 3
)

// Sizes (RFC 1813 §2.4).
const (
	FHMax          = 64
	CookieVerfSize = 8
	CreateVerfSize = 8
	WriteVerfSize  = 8
)

const (
	// nameLimit bounds names and paths on the wire, in bytes. The RFC sets no limit; what is longer than a server's own
	// gets NFS3ERR_NAMETOOLONG, so the decoder must let it through.
	nameLimit = 64 << 10
	// anyLen leaves the bounding of file data to the record that holds it: decoding does not copy it.
	anyLen = 1<<31 - 1
)

// Proc is a procedure number (RFC 1813 §3).
type Proc uint32

// The procedures.
const (
	ProcNull Proc = iota
	ProcGetAttr
	ProcSetAttr
	ProcLookup
	ProcAccess
	ProcReadLink
	ProcRead
	ProcWrite
	ProcCreate
	ProcMkdir
	ProcSymlink
	ProcMknod
	ProcRemove
	ProcRmdir
	ProcRename
	ProcLink
	ProcReadDir
	ProcReadDirPlus
	ProcFSStat
	ProcFSInfo
	ProcPathConf
	ProcCommit
)

// ProcEnd is one past the last procedure.
const ProcEnd = 22

var procNames = [ProcEnd]string{
	"NULL", "GETATTR", "SETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "WRITE", "CREATE", "MKDIR", "SYMLINK", "MKNOD",
	"REMOVE", "RMDIR", "RENAME", "LINK", "READDIR", "READDIRPLUS", "FSSTAT", "FSINFO", "PATHCONF", "COMMIT",
}

// String gives the RFC's name.
func (p Proc) String() string {
	if p < ProcEnd {
		return procNames[p]
	}
	return fmt.Sprintf("procedure %d", uint32(p))
}

// Message is the arguments or the results of a procedure.
type Message interface {
	Encode(e *xdr.Encoder)
	// Decode replaces the message's contents; what went wrong is the decoder's error.
	Decode(d *xdr.Decoder)
}

// Result is the results of a procedure other than NULL.
type Result interface {
	Message
	Code() Status
}

// Void is the arguments and results of NULL (RFC 1813 §3.3.0).
type Void struct{}

// Encode implements Message.
func (*Void) Encode(*xdr.Encoder) {}

// Decode implements Message.
func (*Void) Decode(*xdr.Decoder) {}

// NewArgs returns empty arguments for a procedure, nil if there is none of that number.
func NewArgs(p Proc) Message {
	switch p {
	case ProcNull:
		return new(Void)
	case ProcGetAttr, ProcReadLink, ProcFSStat, ProcFSInfo, ProcPathConf:
		return new(HandleArgs)
	case ProcSetAttr:
		return new(SetAttrArgs)
	case ProcLookup, ProcRemove, ProcRmdir:
		return new(DirOpArgs)
	case ProcAccess:
		return new(AccessArgs)
	case ProcRead:
		return new(ReadArgs)
	case ProcWrite:
		return new(WriteArgs)
	case ProcCreate:
		return new(CreateArgs)
	case ProcMkdir:
		return new(MkdirArgs)
	case ProcSymlink:
		return new(SymlinkArgs)
	case ProcMknod:
		return new(MknodArgs)
	case ProcRename:
		return new(RenameArgs)
	case ProcLink:
		return new(LinkArgs)
	case ProcReadDir:
		return new(ReadDirArgs)
	case ProcReadDirPlus:
		return new(ReadDirPlusArgs)
	case ProcCommit:
		return new(CommitArgs)
	}
	return nil
}

// NewRes returns empty results for a procedure, nil if there is none of that number.
func NewRes(p Proc) Message {
	switch p {
	case ProcNull:
		return new(Void)
	case ProcGetAttr:
		return new(GetAttrRes)
	case ProcSetAttr, ProcRemove, ProcRmdir:
		return new(WccRes)
	case ProcLookup:
		return new(LookupRes)
	case ProcAccess:
		return new(AccessRes)
	case ProcReadLink:
		return new(ReadLinkRes)
	case ProcRead:
		return new(ReadRes)
	case ProcWrite:
		return new(WriteRes)
	case ProcCreate, ProcMkdir, ProcSymlink, ProcMknod:
		return new(CreateRes)
	case ProcRename:
		return new(RenameRes)
	case ProcLink:
		return new(LinkRes)
	case ProcReadDir:
		return new(ReadDirRes)
	case ProcReadDirPlus:
		return new(ReadDirPlusRes)
	case ProcFSStat:
		return new(FSStatRes)
	case ProcFSInfo:
		return new(FSInfoRes)
	case ProcPathConf:
		return new(PathConfRes)
	case ProcCommit:
		return new(CommitRes)
	}
	return nil
}
