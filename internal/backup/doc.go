// Package backup is the archive that bfsd export writes and bfsd import reads: a tar that any tar unpacks, from which the
// very state it was made of can be made again, root and all, and with it what proves that root. It knows the file system
// (fsstate) and tar; whose signatures prove a root it leaves to the caller.
//
// # Format
//
// POSIX pax interchange format (IEEE Std 1003.1, pax), sparse files as GNU tar's format 1.0 has them, padded to 10 KiB:
//
//	bfsd-backup/manifest.toml   what this is a backup of: see Manifest
//	bfsd-backup/cluster.toml    that cluster's configuration, with the public keys of those who signed
//	bfsd-backup/state           the skeleton of the state (fsstate.Snapshot.Skeleton), pair by pair: key (16 bytes), the
//	                            value's length (2 bytes, big-endian), value
//	bfsd-backup/files/          the root directory, and below it every name, depth first, a directory's by name.
//	                            Further names of a file are hard links to its first. Sockets, for which tar has no
//	                            type, are in state alone.
//	bfsd-backup/deep/N/         a directory (inode N) whose path would be too long for programs, with what is in it
//
// The same state gives the same archive but for what is told in the manifest. state says all that the headers of files/
// say, and more; a reader derives from it each header that must come next and compares. So nothing in a header is ever
// believed or used: not a name, a link's target, an owner. The sizes of what is in the way from one header to the next,
// and a sparse file's map, are all that is read.
//
// Start reading at Write, then Read.
package backup
