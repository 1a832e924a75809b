// Package gonfs is the other NFS front end: github.com/willscott/go-nfs, serving a go-billy file system whose every call is
// one fsstate operation or a few, on any nfs.Backend. On an unreplicated backend it is plain NFS as a Go program would
// otherwise serve it, the baseline; on a replicated one it shows what package nfs's own server gains.
//
// It knows nothing of replicas and, of fsstate, only operations and results. Start reading at [Server] in server.go;
// [FS] in fs.go is the go-billy file system by paths, for any use; handle.go says what go-nfs is given instead of paths.
// The path of a call is conn.Read, screen, go-nfs, handler and export, call.
//
// # Identity
//
// go-nfs hands no credentials to a file system. Every operation runs as Config.Cred, which is root unless set: whoever
// reaches the port may do everything, files belong to root whoever makes them, ACCESS grants whatever is asked for, and
// mode bits restrain nobody but through the client's own kernel. It is for a benchmark, a trusted network or one user.
//
// # What stands around go-nfs
//
// Each connection has a go-nfs server of its own, on a net.Conn (conn.go) that shows it whole calls only, reassembled
// and checked (screen.go); go-nfs neither reassembles fragments nor bounds what it allocates, leaves connections open
// that it stops serving, drops the reply it is still writing when a client has sent its last call, and waits for ever
// when it cannot write. go-nfs does not recover from panics: one in its goroutine ends the process. Its
// helpers.CachingHandler, which makes handles of paths, is not used: a rename turns its handles stale, so does being the
// least recently used, every call costs it a pass over all handles, and paths once seen are kept for ever. Handles here
// are those of package nfs: inode and generation. They outlive renames and restarts and hold on every front end.
//
// The screen keeps out every way to make go-nfs v0.0.4 panic or allocate without bound that reading it and fuzzing
// (FuzzServer) has shown. What remains is a panic that neither has found.
//
// # What go-nfs cannot do
//
// As of v0.0.4, and as seen through this package:
//
//   - One call at a time per connection, and a Linux mount is one connection: a slow call holds up all others.
//   - A call is several operations (see TestOperationsPerCall: 1 for GETATTR, 2 for LOOKUP, READ and WRITE, 3 to 5
//     for what makes something), so it is not atomic, and with replicas costs as many rounds. Two GUARDED creations of one
//     name at the same time may both succeed; MKDIR is one creation and one wins.
//   - A call that a client sends again after a reconnection is executed again: there is no duplicate-request cache
//     across operations. A resent REMOVE may find nothing.
//   - EXCLUSIVE creation answers NFS3ERR_NOTSUPP; Linux falls back to GUARDED. go-nfs takes LINK's arguments for
//     SYMLINK's, confirms character devices it does not make, and drops set-id and sticky bits; the screen answers
//     NFS3ERR_NOTSUPP to all of these, which Linux users read as "Unknown error 524".
//   - Most failures are NFS3ERR_ACCES or NFS3ERR_IO whatever the file system says: removing a directory that is not
//     empty is an input/output error to the user, as is ENAMETOOLONG in many places.
//   - atime and ctime are reported as mtime, and setting one of atime and mtime sets the other to the old mtime. Other
//     clients may therefore take a change of mode or owner for none until their caches expire.
//   - A directory is read whole for every listing, and listed as it was then: entries that come and go meanwhile are not
//     seen. Going on with a listing is NFS3ERR_BAD_COOKIE if the directory changed and the listing is not kept any more,
//     because 16 others were begun on the connection, or it is another connection.
//   - FSINFO promises transfers of 1 GiB, and PATHCONF 1 link per file. MOUNT knows NULL, MNT and UMNT.
//   - There are no locks (NLM).
package gonfs
