package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"syscall"

	"bfsd/internal/kernelclient"
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
		host: "127.0.0.1",
		port: func(ctx context.Context) (int, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return 0, fmt.Errorf("find a free port: %w", err)
			}
			defer l.Close()
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(port)
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
