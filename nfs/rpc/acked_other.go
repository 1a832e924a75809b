//go:build !linux

package rpc

import "net"

// ackedBytes does not know elsewhere: what counts then is when a whole write has ended.
func ackedBytes(net.Conn) (uint64, bool) { return 0, false }
