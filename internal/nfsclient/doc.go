// Package nfsclient is an NFS version 3 and MOUNT version 3 client for tests and benchmarks (RFC 1813). It caches
// nothing, so that every method is the calls it names, and many goroutines may share one connection, so that a server's
// pipelining shows. It counts calls.
//
// It does not know the server, retry, or reconnect. Start with Dial, Mount and the typed methods; ReadFile, WriteFile,
// ReadDirAll and Walk are made of those.
package nfsclient
