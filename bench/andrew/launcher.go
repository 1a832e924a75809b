package main

import (
	"context"
	"net"
	"os/exec"
	"syscall"

	"bfsd/internal/kernelclient"
	"bfsd/internal/loopback"
)

// launcher is where servers run: this machine, or the private network of the kernel client.
type launcher struct {
	network *kernelclient.Network // nil: this machine
	host    string
	port    func(ctx context.Context) (int, error)
	command func(ctx context.Context, name string, args ...string) *exec.Cmd
	dial    func(ctx context.Context, address string) (net.Conn, error)
}

// localLauncher runs servers on the loopback interface of this machine.
func localLauncher() launcher {
	return launcher{
		host: loopback.Host(),
		port: func(context.Context) (int, error) {
			const roomForReplicas = 50
			return loopback.Ports(roomForReplicas)
		},
		command: func(ctx context.Context, name string, args ...string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			cmd.WaitDelay = stopTimeout
			return cmd
		},
		dial: func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
}

// nfsPort is free in a private network, of which nobody else uses ports.
const nfsPort = 2049

// networkLauncher runs servers in a private network.
func networkLauncher(n *kernelclient.Network) launcher {
	return launcher{
		network: n,
		host:    kernelclient.Address,
		port:    func(context.Context) (int, error) { return nfsPort, nil },
		command: n.Command,
		dial:    n.Dial,
	}
}
