package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens a TCP listener for what, and turns a taken port into advice.
func listen(ctx context.Context, what, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &exitError{exitPortBusy, fmt.Errorf(
			"listening for %s on %s: the port is taken by another program; stop that program (ss -ltnp shows it), or choose another HOST:PORT", what, addr)}
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("listening for %s on %s: not permitted; ports below 1024 need root: choose a higher one", what, addr)
	}
	return nil, fmt.Errorf("listening for %s on %s: %w", what, addr, err)
}
