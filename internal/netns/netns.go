// Package netns makes private network namespaces and works in them: processes, sockets, interfaces. They are for tests and
// benchmarks, which can so have machines of their own and networks that nobody else sees.
//
// A [Namespace] has no name and no file: it ends with the last process and descriptor in it, however the program that made
// it ends. It knows nothing of what happens in it; a network of several namespaces is package netlab's. It needs root,
// ip(8) (iproute2) and nsenter(1) (util-linux). Start reading at Namespace.
package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminateWait is how long a process of Command has from SIGTERM to SIGKILL.
const terminateWait = 10 * time.Second

// Available tells why no namespace can be made on this machine, naming what to install; nil when one can, as far as can be
// seen without making one.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("a network namespace needs root: run as root")
	}
	if missing := MissingPackages(); len(missing) > 0 {
		return fmt.Errorf("a network namespace needs packages that are not installed: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// MissingPackages names the Debian packages that this package needs and that are not installed.
func MissingPackages() []string {
	var missing []string
	for _, need := range []struct{ program, debian string }{{"ip", "iproute2"}, {"nsenter", "util-linux"}} {
		if _, err := exec.LookPath(need.program); err != nil {
			missing = append(missing, need.debian)
		}
	}
	return missing
}

// Namespace is a private network namespace. Its methods may be called from many goroutines.
//
// One goroutine stays locked to the thread that is in the namespace; what must happen there is done by that thread.
type Namespace struct {
	calls  chan func()
	closed chan struct{}
	ended  chan struct{}
	file   *os.File
}

// New makes a namespace; its loopback interface is up, and there is no other. It fails with the reason of Available where
// that gives one.
func New(ctx context.Context) (*Namespace, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	n := &Namespace{calls: make(chan func()), closed: make(chan struct{}), ended: make(chan struct{})}
	started := make(chan error, 1)
	go n.serve(started)
	if err := <-started; err != nil {
		return nil, err
	}
	if err := n.IP(ctx, "link set lo up"); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// serve runs on the namespace's thread until Close. It never unlocks the thread, so the runtime destroys it at the end
// instead of lending a thread in a foreign namespace to other goroutines.
func (n *Namespace) serve(started chan<- error) {
	defer close(n.ended)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("make a network namespace: %w", err)
		return
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		started <- fmt.Errorf("open the new network namespace: %w", err)
		return
	}
	n.file = file
	started <- nil
	for {
		select {
		case call := <-n.calls:
			call()
		case <-n.closed:
			return
		}
	}
}

// Do runs f on the namespace's thread. That thread lives as long as the namespace, so processes whose parent-death signal
// is tied to it (the kernel ties that to the thread that forked) may be started there.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	select {
	case n.calls <- func() { result <- f() }:
		return <-result
	case <-n.closed:
		return errors.New("the network namespace is closed")
	}
}

// Path names the namespace for programs such as ip(8), for as long as this process lives and Close was not called.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Command is exec.CommandContext for a process inside the namespace. The process keeps its pid through the change of
// namespace, gets SIGTERM when ctx ends or this program dies, and SIGKILL ten seconds after the end of ctx. It is in a process
// group of its own, so that a terminal's Ctrl-C reaches the program alone, which can then stop things in their order.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.Path(), "--", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = terminateWait
	return cmd
}

// Listen opens a TCP listener inside the namespace for a server in this process. The host of address must be an IP address.
func (n *Namespace) Listen(ctx context.Context, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Do(func() (err error) {
		if _, err = netip.ParseAddrPort(address); err != nil {
			return fmt.Errorf("listen inside a network namespace: %w", err)
		}
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
		return err
	})
	return l, err
}

// Dial opens a TCP connection from inside the namespace. The host of address must be an IP address. Only one Dial or
// Listen of a namespace is under way at a time: give ctx a deadline where nobody may answer.
func (n *Namespace) Dial(ctx context.Context, address string) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() (err error) {
		if _, err = netip.ParseAddrPort(address); err != nil {
			return fmt.Errorf("dial inside a network namespace: %w", err)
		}
		c, err = new(net.Dialer).DialContext(ctx, "tcp", address)
		return err
	})
	return c, err
}

// IP runs iproute2 commands ("link add …", without "ip") inside the namespace, in order, in one process.
func (n *Namespace) IP(ctx context.Context, commands ...string) error {
	cmd := n.Command(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set up a network namespace (%s): %w: %s", strings.Join(commands, "; "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Closed reports whether Close was called.
func (n *Namespace) Closed() bool {
	select {
	case <-n.closed:
		return true
	default:
		return false
	}
}

// Close gives the namespace up, the second time it does nothing. Processes started with Command are the caller's to stop;
// as long as one runs, the namespace lives.
func (n *Namespace) Close() error {
	if n.Closed() {
		return nil
	}
	close(n.closed)
	<-n.ended
	return n.file.Close()
}
