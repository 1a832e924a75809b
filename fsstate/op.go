package fsstate

// Kind tells the operations apart. The numeric values are part of the replicated encoding: append only.
type Kind uint8

// The operations.
const (
	KindNone Kind = iota
	KindGetAttr
	KindSetAttr
	KindLookup
	KindAccess
	KindReadLink
	KindRead
	KindWrite
	KindCreate
	KindMkdir
	KindSymlink
	KindMknod
	KindRemove
	KindRmdir
	KindRename
	KindLink
	KindReadDir
	KindStatFS
	KindResolve
	KindLock
	KindLockTest
	KindLockCancel
	KindUnlock
	KindShare
	KindUnshare
	KindLockRelease
	KindLockGrants
	KindLockAnswer
	KindLockClients
	KindLockRenew
	KindSetPolicy
	KindGetPolicy
	KindListExports
	KindSetKey
	KindGetKeys
	kindEnd
)

// Op is one operation: what a front end makes of one call, and the unit that is replicated and is atomic.
type Op struct {
	Cred    Cred
	Machine string // network address of the calling machine, without port; "" when the front end knows none
	Caller  uint32 // a checksum of the name that the machine gives itself: tells machines behind one address apart
	XID     uint32 // the call's transaction id, by which a resent call is known; 0 when there is none
	Args    Args
}

// Args is the argument of one kind of operation: a pointer to one of the structs below.
type Args interface {
	Kind() Kind
	// ReadOnly reports whether the operation can change nothing, so that it may take the read-only path.
	ReadOnly() bool
}

// GetAttr reads an inode's attributes.
type GetAttr struct {
	Object Handle
}

// SetAttr changes an inode's attributes; Size truncates or extends. With Guard, only if the ctime still equals it.
type SetAttr struct {
	Object Handle
	Set    SetAttrs
	Guard  *Time
}

// Lookup finds Name in Dir; "." and ".." are understood.
type Lookup struct {
	Dir  Handle
	Name string
}

// Access mask bits (RFC 1813 §3.3.4).
const (
	AccessRead    = 0x01
	AccessLookup  = 0x02
	AccessModify  = 0x04
	AccessExtend  = 0x08
	AccessDelete  = 0x10
	AccessExecute = 0x20
)

// Access asks which of the Mask bits the credential is granted.
type Access struct {
	Object Handle
	Mask   uint32
}

// ReadLink reads a symbolic link's target.
type ReadLink struct {
	Object Handle
}

// Read reads up to Count bytes (IOMax at most) at Offset.
type Read struct {
	Object Handle
	Offset uint64
	Count  uint32
}

// Write writes Data (IOMax bytes at most) at Offset, whole or not at all. Data may alias the decoded buffer.
type Write struct {
	Object Handle
	Offset uint64
	Data   []byte
}

// CreateHow is the mode of a Create (RFC 1813 §3.3.8).
type CreateHow uint8

// The create modes.
const (
	Unchecked CreateHow = iota
	Guarded
	Exclusive
)

// Create makes a regular file. Exclusive stores Verf with the inode and succeeds again for the same Verf.
type Create struct {
	Dir  Handle
	Name string
	How  CreateHow
	Set  SetAttrs // with Unchecked and Guarded
	Verf uint64   // with Exclusive
}

// Mkdir makes a directory.
type Mkdir struct {
	Dir  Handle
	Name string
	Set  SetAttrs
}

// Symlink makes a symbolic link to Target (PathMax bytes at most).
type Symlink struct {
	Dir    Handle
	Name   string
	Set    SetAttrs
	Target string
}

// Mknod makes a device node, socket or FIFO.
type Mknod struct {
	Dir   Handle
	Name  string
	Type  FileType
	Set   SetAttrs
	Major uint32 // with TypeBlock and TypeChar
	Minor uint32
}

// Remove removes the name of something that is not a directory.
type Remove struct {
	Dir  Handle
	Name string
}

// Rmdir removes an empty directory.
type Rmdir struct {
	Dir  Handle
	Name string
}

// Rename moves FromDir/FromName to ToDir/ToName, replacing what may be replaced.
type Rename struct {
	FromDir  Handle
	FromName string
	ToDir    Handle
	ToName   string
}

// Link adds the name Dir/Name to Object.
type Link struct {
	Object Handle
	Dir    Handle
	Name   string
}

// DirLimit is a budget for a directory listing: entries are added while
// Σ (PerEntry + len(name) rounded up to a multiple of 4) ≤ Bytes.
type DirLimit struct {
	Bytes    uint32
	PerEntry uint32
}

// ReadDir lists Dir from the entry after Cookie (0: from the start), "." and ".." included, within both Limits. With
// Plus each entry carries its attributes and handle. If not even one entry fits, the status is EINVAL: the caller's
// buffer is too small.
type ReadDir struct {
	Dir    Handle
	Cookie uint64
	Verf   uint64
	Plus   bool
	Limits [2]DirLimit // a zero DirLimit does not limit
}

// StatFS reads the file system's totals.
type StatFS struct {
	Object Handle
}

// Resolve walks an absolute slash-separated path from the root without following symbolic links: how a front end finds
// an export's root handle. "" and "/" are the root.
type Resolve struct {
	Path string
}

// Kind implements Args.
func (*GetAttr) Kind() Kind { return KindGetAttr }

// Kind implements Args.
func (*SetAttr) Kind() Kind { return KindSetAttr }

// Kind implements Args.
func (*Lookup) Kind() Kind { return KindLookup }

// Kind implements Args.
func (*Access) Kind() Kind { return KindAccess }

// Kind implements Args.
func (*ReadLink) Kind() Kind { return KindReadLink }

// Kind implements Args.
func (*Read) Kind() Kind { return KindRead }

// Kind implements Args.
func (*Write) Kind() Kind { return KindWrite }

// Kind implements Args.
func (*Create) Kind() Kind { return KindCreate }

// Kind implements Args.
func (*Mkdir) Kind() Kind { return KindMkdir }

// Kind implements Args.
func (*Symlink) Kind() Kind { return KindSymlink }

// Kind implements Args.
func (*Mknod) Kind() Kind { return KindMknod }

// Kind implements Args.
func (*Remove) Kind() Kind { return KindRemove }

// Kind implements Args.
func (*Rmdir) Kind() Kind { return KindRmdir }

// Kind implements Args.
func (*Rename) Kind() Kind { return KindRename }

// Kind implements Args.
func (*Link) Kind() Kind { return KindLink }

// Kind implements Args.
func (*ReadDir) Kind() Kind { return KindReadDir }

// Kind implements Args.
func (*StatFS) Kind() Kind { return KindStatFS }

// Kind implements Args.
func (*Resolve) Kind() Kind { return KindResolve }

// ReadOnly implements Args.
func (*GetAttr) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*SetAttr) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Lookup) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*Access) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*ReadLink) ReadOnly() bool { return true }

// ReadOnly implements Args. Reading does not change atime: a read that had to be agreed on would cost every reader a
// round of the protocol (the same choice as mounting noatime).
func (*Read) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*Write) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Create) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Mkdir) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Symlink) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Mknod) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Remove) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Rmdir) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Rename) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*Link) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*ReadDir) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*StatFS) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*Resolve) ReadOnly() bool { return true }
