package rpc

import (
	"net"

	"golang.org/x/sys/unix"
)

// ackedBytes is how many bytes the peer of a TCP connection has accepted in its life (tcp(7), TCP_INFO).
func ackedBytes(nc net.Conn) (n uint64, ok bool) {
	tcp, isTCP := nc.(*net.TCPConn)
	if !isTCP {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	if raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }) != nil || err != nil {
		return 0, false
	}
	return info.Bytes_acked, true
}
