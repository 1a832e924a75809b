// Package nlm is the network lock manager protocol, program 100021 version 4 (X/Open, "Protocols for Interworking: XNFS",
// chapter 10 and appendix G), by which clients of NFS version 3 take byte-range locks, and a server of it: each call is one
// fsstate operation on a backend, as package nfs does it for files.
//
// The server keeps no lock itself. When a lock that a client waits for is granted, by whatever call through whatever front
// end, the state lists that client under the front end that it called last; that one asks for the list while there is
// somebody to wait for, and calls the client back (grant.go). So a front end may die at any time, and what it had to do is
// still there when it comes back.
//
// Start reading at proto.go and types.go for the protocol, server.go for the procedures.
package nlm
