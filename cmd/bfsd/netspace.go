package main

import (
	"context"
	"net"
	"net/netip"

	"bfsd/nfs/nlm"
	"bfsd/nfs/rpcbind"
)

// netspace is a network namespace, by its name in /run/netns or its path; "" is the process's own.
//
// It is for a gateway on the machine that mounts it. That machine's own lock manager is at port 111 of all of its addresses,
// so the gateway's can only be at an address that is another machine's, as far as the kernel can see. Just the side that
// clients call is there: the replicas are called from the process's own namespace.
type netspace string

// listen is listen in the namespace.
func (n netspace) listen(ctx context.Context, what, addr string) (l net.Listener, err error) {
	err = n.do(func() (err error) {
		l, err = listen(ctx, what, addr)
		return err
	})
	return l, err
}

// listenUDP is listenUDP in the namespace.
func (n netspace) listenUDP(ctx context.Context, what string, addr netip.AddrPort) (pc *net.UDPConn, err error) {
	err = n.do(func() (err error) {
		pc, err = listenUDP(ctx, what, addr)
		return err
	})
	return pc, err
}

// dialer makes connections to clients from the namespace.
func (n netspace) dialer(local netip.Addr) rpcbind.Dialer {
	return netspaceDialer{n, nlm.DialFrom(local)}
}

type netspaceDialer struct {
	space netspace
	rpcbind.Dialer
}

// DialContext implements rpcbind.Dialer. The address is an IP address: looking up a name would leave the thread.
func (d netspaceDialer) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = d.space.do(func() (err error) {
		c, err = d.Dialer.DialContext(ctx, network, address)
		return err
	})
	return c, err
}
