// Package fsstate is the replicated file system: inodes, directories, pages, permissions, locks and limits, as a deterministic
// function from operations to results. Whoever executes the same operations under the same agreed times holds the same
// bytes, and the same 32-byte root proves it (TOCS §6.2: hierarchical state partitions and their digests).
//
// The package knows nothing of NFS, XDR, replicas or clocks, starts no goroutine and draws no random number. Time comes
// only from the caller's agreed time.
//
// Start reading at [Op] and [Result], the vocabulary; then [FS.Execute], the one entry; then package tree, in which all
// state is kept, and keys.go, which says what is kept where.
package fsstate
