// Package xdr reads and writes External Data Representation (RFC 4506), the encoding under ONC RPC, MOUNT and NFS.
//
// It is a bounded cursor, not a reflective codec: the caller says for each variable-length item how long it may be, and
// no length from the wire leads to an allocation larger than the bytes that came with it. The decoder returns opaque
// data without copying; the encoder can splice in data by reference, so that a 1 MiB READ or WRITE is not copied here.
//
// It does not know what the items mean. Start with Decoder and Encoder.
package xdr
