package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"bfsd/nfs"
	"bfsd/nfs/rpc"
	"bfsd/nfs/rpcbind"
)

// The ways in which clients find the ports of this server's programs.
const (
	rpcbindOff      = "off"      // mount options name them; there are no locks over the network then
	rpcbindServe    = "serve"    // port 111 of the NFS address is answered here
	rpcbindRegister = "register" // the machine's own rpcbind answers
)

// announceTimeout bounds how long the machine's rpcbind may take.
const announceTimeout = 10 * time.Second

// announced is what makes a server's programs known to clients: who serves it, and how that ends.
type announced struct {
	server       *nfs.Server
	packets      *net.UDPConn // the NFS port by UDP
	ports        *rpc.Server  // answers port 111; nil if it is registered
	portListener net.Listener
	portPackets  *net.UDPConn
	registration *rpcbind.Registration // nil if port 111 is answered here
}

// announce makes the programs of a server that listens on l, in a network namespace, known as mode says; nil if it is off.
func announce(ctx context.Context, mode string, space netspace, f frontend, l net.Listener, log *slog.Logger) (*announced, error) {
	if mode == rpcbindOff {
		return nil, nil //nolint:nilnil // there is nothing to announce
	}
	if mode == rpcbindRegister && space != "" {
		return nil, &exitError{exitUsage, errors.New("--rpcbind register with --netns: the machine's rpcbind is not in that namespace; use --rpcbind serve")}
	}
	server, ok := f.(*nfs.Server)
	if !ok {
		return nil, &exitError{exitUsage, errors.New("--rpcbind needs --frontend bfsd: go-nfs serves no locks")}
	}
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("finding the port of %v for rpcbind: it is not a TCP address", l.Addr())
	}
	addr := tcp.AddrPort()
	a := &announced{server: server}
	var err error
	if a.packets, err = space.listenUDP(ctx, "locks by UDP, at the port of NFS", addr); err != nil {
		return nil, err
	}
	services := server.Services(addr.Port(), true)
	if mode == rpcbindServe {
		err = a.serve(ctx, space, services, addr.Addr(), log)
	} else {
		err = a.register(ctx, services, addr.Addr())
	}
	if err != nil {
		return nil, errors.Join(err, a.packets.Close())
	}
	return a, nil
}

// serve listens at port 111.
func (a *announced) serve(ctx context.Context, space netspace, services []rpcbind.Service, host netip.Addr, log *slog.Logger) (err error) {
	addr := netip.AddrPortFrom(host, rpcbind.WellKnownPort)
	if a.portListener, err = space.listen(ctx, "rpcbind (--rpcbind serve)", addr.String()); err != nil {
		return rpcbindAdvice(err)
	}
	if a.portPackets, err = space.listenUDP(ctx, "rpcbind (--rpcbind serve)", addr); err != nil {
		return errors.Join(rpcbindAdvice(err), a.portListener.Close())
	}
	a.ports = rpc.NewServer(rpc.Limits{Record: 4 << 10}, log, rpcbind.NewProgram(services))
	return nil
}

// rpcbindAdvice adds to an error of listening at port 111 what to do about it.
func rpcbindAdvice(err error) error {
	var coded *exitError
	if errors.As(err, &coded) && coded.code == exitPortBusy {
		return &exitError{exitPortBusy, fmt.Errorf("%w; if it is rpcbind, use --rpcbind register, or serve NFS at an address of its own", err)}
	}
	return err
}

// register enters the services with the machine's rpcbind.
func (a *announced) register(ctx context.Context, services []rpcbind.Service, host netip.Addr) (err error) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	a.registration, err = rpcbind.Register(ctx, rpcbind.Socket, host, services)
	var taken *rpcbind.TakenError
	if errors.As(err, &taken) {
		return fmt.Errorf("%w; only one server of a kind can be registered on a machine, and its own NFS client and rpc.statd are such servers: stop those, or give this one an address of its own and --rpcbind serve", err)
	}
	return err
}

// run serves until the servers are stopped.
func (a *announced) run(ended chan<- error) (n int) {
	serve := func(f func() error) {
		n++
		go func() { ended <- f() }()
	}
	serve(func() error { return a.server.ServePacket(a.packets) })
	if a.ports != nil {
		serve(func() error { return a.ports.Serve(a.portListener) })
		serve(func() error { return a.ports.ServePacket(a.portPackets) })
	}
	return n
}

// stop tells clients' questions no more where the server was.
func (a *announced) stop(ctx context.Context) error {
	if a.registration != nil {
		return a.registration.Close(ctx)
	}
	return a.ports.Shutdown(ctx)
}
