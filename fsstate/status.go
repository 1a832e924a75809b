package fsstate

// Status is the outcome of an operation, named after the POSIX error it stands for. It is protocol-neutral; a front end
// maps it to its own numbers. The numeric values are part of the replicated encoding: append only.
type Status uint8

// The statuses. The ones without a POSIX name are those a handle-based protocol adds.
const (
	OK Status = iota
	EPERM
	ENOENT
	EIO
	EACCES
	EEXIST
	EXDEV
	ENODEV
	ENOTDIR
	EISDIR
	EINVAL
	EFBIG
	ENOSPC
	EROFS
	EMLINK
	ENAMETOOLONG
	ENOTEMPTY
	EDQUOT
	ESTALE     // the handle names an inode that is gone, or whose generation differs
	ENOTSYNC   // SetAttr's guard does not match the inode's ctime
	EBADCOOKIE // ReadDir's cookie or verifier cannot be resumed from
	ENOTSUPP   // the operation is well-formed but not one this file system offers
	EBADOP     // the operation's bytes do not decode; nothing was executed
	EBADTYPE   // Create asked for a file type that does not exist
	EAGAIN     // somebody else's lock is in the way
	EDEADLK    // waiting for the lock would never end
	ENOLCK     // the lock table is full
)
