// Package mount holds the protocol types of MOUNT version 3, by which a client turns an exported path into its first
// file handle (RFC 1813 appendix I). It does not know what is exported. Start with Proc; messages are nfs3.Message values.
package mount

import (
	"fmt"

	"bfsd/nfs/nfs3"
	"bfsd/nfs/xdr"
)

// The RPC program and its version (RFC 1813 §5.0.2).
const (
	Program = 100005
	Version = 3
)

// Sizes (RFC 1813 §5.1.2).
const (
	PathMax = 1024
	NameMax = 255
	// flavorsMax and groupsMax bound what a client accepts in a reply; the RFC sets no limit.
	flavorsMax = 64
	groupsMax  = 4096
)

// Proc is a procedure number (RFC 1813 §5.2).
type Proc uint32

// The procedures.
const (
	ProcNull Proc = iota
	ProcMnt
	ProcDump
	ProcUmnt
	ProcUmntAll
	ProcExport
)

// ProcEnd is one past the last procedure.
const ProcEnd = 6

var procNames = [ProcEnd]string{"NULL", "MNT", "DUMP", "UMNT", "UMNTALL", "EXPORT"}

// String gives the RFC's name.
func (p Proc) String() string {
	if p < ProcEnd {
		return procNames[p]
	}
	return fmt.Sprintf("procedure %d", uint32(p))
}

// Status is a mountstat3 (RFC 1813 §5.1.5).
type Status uint32

// The statuses.
const (
	OK             Status = 0
	ErrPerm        Status = 1
	ErrNoEnt       Status = 2
	ErrIO          Status = 5
	ErrAcces       Status = 13
	ErrNotDir      Status = 20
	ErrInval       Status = 22
	ErrNameTooLong Status = 63
	ErrNotSupp     Status = 10004
	ErrServerFault Status = 10006
)

var statusNames = map[Status]string{
	OK:             "MNT3_OK",
	ErrPerm:        "MNT3ERR_PERM",
	ErrNoEnt:       "MNT3ERR_NOENT",
	ErrIO:          "MNT3ERR_IO",
	ErrAcces:       "MNT3ERR_ACCES",
	ErrNotDir:      "MNT3ERR_NOTDIR",
	ErrInval:       "MNT3ERR_INVAL",
	ErrNameTooLong: "MNT3ERR_NAMETOOLONG",
	ErrNotSupp:     "MNT3ERR_NOTSUPP",
	ErrServerFault: "MNT3ERR_SERVERFAULT",
}

// String gives the RFC's name.
func (s Status) String() string {
	if name, ok := statusNames[s]; ok {
		return name
	}
	return fmt.Sprintf("mountstat3 %d", uint32(s))
}

// NewArgs returns empty arguments for a procedure, nil if there is none of that number.
func NewArgs(p Proc) nfs3.Message {
	switch p {
	case ProcMnt, ProcUmnt:
		return new(PathArgs)
	case ProcNull, ProcDump, ProcUmntAll, ProcExport:
		return new(nfs3.Void)
	}
	return nil
}

// NewRes returns empty results for a procedure, nil if there is none of that number.
func NewRes(p Proc) nfs3.Message {
	switch p {
	case ProcMnt:
		return new(MntRes)
	case ProcDump:
		return new(DumpRes)
	case ProcExport:
		return new(ExportRes)
	case ProcNull, ProcUmnt, ProcUmntAll:
		return new(nfs3.Void)
	}
	return nil
}

// PathArgs is a dirpath: the arguments of MNT and UMNT (RFC 1813 §5.2.1, §5.2.3).
type PathArgs struct {
	Path string
}

// Encode implements nfs3.Message.
func (a *PathArgs) Encode(e *xdr.Encoder) { e.String(a.Path) }

// Decode implements nfs3.Message.
func (a *PathArgs) Decode(d *xdr.Decoder) { a.Path = d.String(PathMax) }

// MntRes is mountres3 (RFC 1813 §5.2.1).
type MntRes struct {
	Status  Status
	Object  nfs3.FH
	Flavors []uint32 // the RPC authentication flavors that are served
}

// Encode implements nfs3.Message.
func (r *MntRes) Encode(e *xdr.Encoder) {
	e.Uint32(uint32(r.Status))
	if r.Status != OK {
		return
	}
	e.Opaque(r.Object)
	e.Uint32(uint32(len(r.Flavors)))
	for _, f := range r.Flavors {
		e.Uint32(f)
	}
}

// Decode implements nfs3.Message.
func (r *MntRes) Decode(d *xdr.Decoder) {
	*r = MntRes{Status: Status(d.Uint32())}
	if r.Status != OK {
		return
	}
	r.Object = d.Opaque(nfs3.FHMax)
	for range d.ArrayLen(flavorsMax, 4) {
		r.Flavors = append(r.Flavors, d.Uint32())
	}
}

// Mount is one entry of DUMP: who mounted what (RFC 1813 §5.2.2).
type Mount struct {
	Host string
	Path string
}

// DumpRes is mountlist (RFC 1813 §5.2.2).
type DumpRes struct {
	Mounts []Mount
}

// Encode implements nfs3.Message.
func (r *DumpRes) Encode(e *xdr.Encoder) {
	for _, m := range r.Mounts {
		e.Bool(true)
		e.String(m.Host)
		e.String(m.Path)
	}
	e.Bool(false)
}

// Decode implements nfs3.Message.
func (r *DumpRes) Decode(d *xdr.Decoder) {
	r.Mounts = nil
	for d.Bool() {
		r.Mounts = append(r.Mounts, Mount{Host: d.String(NameMax), Path: d.String(PathMax)})
	}
}

// Export is one exported path and the groups that may mount it; none means everyone (RFC 1813 §5.2.5).
type Export struct {
	Path   string
	Groups []string
}

// ExportRes is exports (RFC 1813 §5.2.5).
type ExportRes struct {
	Exports []Export
}

// Encode implements nfs3.Message.
func (r *ExportRes) Encode(e *xdr.Encoder) {
	for _, x := range r.Exports {
		e.Bool(true)
		e.String(x.Path)
		for _, g := range x.Groups {
			e.Bool(true)
			e.String(g)
		}
		e.Bool(false)
	}
	e.Bool(false)
}

// Decode implements nfs3.Message.
func (r *ExportRes) Decode(d *xdr.Decoder) {
	r.Exports = nil
	for d.Bool() {
		x := Export{Path: d.String(PathMax)}
		for d.Bool() {
			if len(x.Groups) == groupsMax {
				d.Fail(xdr.ErrTooLong)
				return
			}
			x.Groups = append(x.Groups, d.String(NameMax))
		}
		r.Exports = append(r.Exports, x)
	}
}
