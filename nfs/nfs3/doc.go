// Package nfs3 holds the protocol types of NFS version 3 (RFC 1813): arguments and results of all 22 procedures, each
// with its encoding in both directions, so that the server and the test client share one definition.
//
// Every type implements Message and cites the section it comes from. Lists that the RFC draws as chained structures are
// slices here, and its "follows" unions are nil pointers or slices. Decoded byte slices (handles, data) alias the input.
//
// It does not know what a call does or where files are kept. Start with Proc and Message.
package nfs3
