package fsstate

// Limits that every replica shares, because a limit that differs between replicas is a divergence.
const (
	// NameMax is the longest directory entry name, in bytes (POSIX NAME_MAX on Linux).
	NameMax = 255
	// PathMax is the longest symbolic link target, in bytes: Linux's PATH_MAX without the terminating NUL.
	PathMax = 4095
	// LinkMax is the highest link count of an inode (ext4's limit, which Linux tools expect).
	LinkMax = 65000
	// IOMax is the largest Read or Write in one operation, in bytes.
	IOMax = 1 << 20
	// GroupsMax bounds the supplementary groups of a credential (RFC 5531 §8.2, AUTH_SYS: gids<16>).
	GroupsMax = 16
	// OpMax bounds an encoded operation, in bytes: a Write of IOMax and its envelope.
	OpMax = IOMax + 16<<10
)

// Time is nanoseconds since 1970-01-01T00:00:00Z. It only ever comes from an operation: the agreed time of its batch,
// or a time a client set.
type Time int64

// Handle names an inode for ever: Ino may be used again after removal, the pair never is.
type Handle struct {
	Ino uint64
	Gen uint64
}

// FrontEnd is who vouches for an operation's credential and machine: the number of the principal whose key authenticated
// it. A replica's own front end has the replica's number; gateways, which users run on their own machines, have those from
// FirstGateway on.
type FrontEnd uint32

const (
	// FirstGateway is the lowest number of a gateway.
	FirstGateway FrontEnd = 100
	// LocalFrontEnd is the front end of a server that is not replicated.
	LocalFrontEnd FrontEnd = 1<<32 - 1
	// NoFrontEnd is none: an export for it alone is for nobody.
	NoFrontEnd FrontEnd = 1<<32 - 2
)

// FileType is the kind of an inode.
type FileType uint8

// The file types, in RFC 1813's ftype3 order (§2.6).
const (
	TypeNone FileType = iota
	TypeRegular
	TypeDirectory
	TypeBlock
	TypeChar
	TypeSymlink
	TypeSocket
	TypeFIFO
)

// Attr is an inode's attributes.
type Attr struct {
	Type  FileType
	Mode  uint32 // permission bits with set-id and sticky: 07777 at most
	Nlink uint32
	UID   uint32
	GID   uint32
	Size  uint64 // bytes
	Used  uint64 // bytes of storage; holes are free
	Major uint32 // device numbers, for TypeBlock and TypeChar
	Minor uint32
	Ino   uint64
	Gen   uint64
	Atime Time
	Mtime Time
	Ctime Time
}

// PreAttr is what RFC 1813 §2.6 calls wcc_attr: enough to tell whether a cache was current before the operation.
type PreAttr struct {
	Size  uint64
	Mtime Time
	Ctime Time
}

// Wcc is an object's attributes before and after an operation, taken atomically with it. Either may be nil when the
// object could not be reached.
type Wcc struct {
	Before *PreAttr
	After  *Attr
}

// TimeHow says where a time to be set comes from (RFC 1813 §2.6, time_how).
type TimeHow uint8

// The sources of a time.
const (
	TimeKeep   TimeHow = iota // leave it as it is
	TimeServer                // the batch's agreed time
	TimeClient                // the time given
)

// SetTime is one settable timestamp.
type SetTime struct {
	How  TimeHow
	Time Time // with TimeClient
}

// SetAttrs is a set of attribute changes; a nil pointer and TimeKeep leave the attribute alone.
type SetAttrs struct {
	Mode  *uint32
	UID   *uint32
	GID   *uint32
	Size  *uint64
	Atime SetTime
	Mtime SetTime
}

// Cred is the identity an operation runs under.
type Cred struct {
	UID  uint32
	GID  uint32
	GIDs []uint32 // supplementary groups, GroupsMax at most
}
