package rpc

import (
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wantDestination has the kernel tell with each datagram which address it was sent to (ip(7), IP_PKTINFO).
func wantDestination(pc *net.UDPConn) error {
	raw, err := pc.SyscallConn()
	if err != nil {
		return err
	}
	var err4, err6 error
	if err := raw.Control(func(fd uintptr) {
		err6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		err4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}); err != nil {
		return err
	}
	if err4 != nil && err6 != nil { // a socket of either kind takes its own
		return err4
	}
	return nil
}

// destination reads the address that a datagram was sent to; the zero Addr if control messages do not say.
func destination(oob []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[8:12])) // in_pktinfo: interface (4), local address (4), destination (4)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(m.Data[:16])).Unmap()
		}
	}
	return netip.Addr{}
}

// sourceControl makes the control message that has a datagram sent from an address; nil leaves that to the kernel.
func sourceControl(from netip.Addr) []byte {
	switch {
	case from.Is4() || from.Is4In6():
		return control(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.Inet4Pktinfo{Spec_dst: from.Unmap().As4()})
	case from.Is6():
		return control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.Inet6Pktinfo{Addr: from.As16()})
	}
	return nil
}

// control makes a control message of one structure.
func control[T any](level, kind int32, data T) []byte {
	b := make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(data))))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(int(unsafe.Sizeof(data))))
	*(*T)(unsafe.Pointer(&b[unix.CmsgLen(0)])) = data
	return b
}
