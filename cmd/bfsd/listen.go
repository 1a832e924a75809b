package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// listen opens a TCP listener for what, and turns a taken port into advice.
func listen(ctx context.Context, what, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	return nil, listenError(what, addr, err)
}

// listenUDP opens a UDP socket for what, as listen does for TCP.
func listenUDP(ctx context.Context, what string, addr netip.AddrPort) (*net.UDPConn, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", addr.String())
	if err != nil {
		return nil, listenError(what, addr.String(), err)
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listening for %s on %s: %T is no UDP socket", what, addr, pc), pc.Close())
	}
	return udp, nil
}

// listenError turns an error of listening into advice.
func listenError(what, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &exitError{exitPortBusy, fmt.Errorf(
			"listening for %s on %s: the port is taken by another program; stop that program (ss -lntup shows it), or choose another HOST:PORT", what, addr)}
	}
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("listening for %s on %s: not permitted; ports below 1024 need root: choose a higher one", what, addr)
	}
	return fmt.Errorf("listening for %s on %s: %w", what, addr, err)
}
