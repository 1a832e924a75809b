// Package nfs is the NFS version 3 server: it turns each NFS call (RFC 1813) into exactly one fsstate operation, has a
// Backend run it, and turns the result into the reply. One call is one operation, so every call is atomic whatever the
// backend is: one file system behind a lock (Local), or a replicated group.
//
// NFS and MOUNT share one port, so that a client needs no rpcbind. So do the lock protocols of version 3, for which it does
// need one: packages nlm, nsm and rpcbind. Calls of a connection run at the same time; package
// rpc bounds them.
//
// It knows XDR and file-system operations; it does not know whether or how they are replicated, and keeps no state of
// its own about files: handles, verifiers and cookies mean the same on every server of a cluster. Start with Server and
// Backend, then call.go (the path of a call), then the proc_*.go files (the procedures).
package nfs
