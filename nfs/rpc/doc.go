// Package rpc is ONC RPC version 2 (RFC 5531) over TCP, both ends: record marking, call and reply headers, AUTH_NONE
// and AUTH_SYS.
//
// The server runs many calls of a connection at the same time and writes replies as they finish, several per system
// call where they pile up. Everything a peer can make it hold is bounded (Limits); past a bound it stops reading, which
// is back-pressure the peer's TCP feels. A call that cannot be answered is answered with the error RFC 5531 names; a
// byte stream that makes no sense ends its own connection and no other.
//
// It does not know what programs do: they register as Program values. Start with NewServer and Program; the path of a
// call is conn.read → conn.serve → conn.send. The client is Client.
package rpc
