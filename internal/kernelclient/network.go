package kernelclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Address is where servers of a Network listen: its bridge. Every Network is isolated, so all use the same one.
const Address = "10.99.0.1"

const (
	guestSubnet   = "10.99.0.0/24"
	guestsMax     = 200 // addresses .2 to .201 of the subnet
	terminateWait = 10 * time.Second
	scratchPrefix = "kernelclient-"
)

// Network is a private network namespace with a bridge at Address. It has no name and no file: it ends with the last
// process and descriptor in it, however the program that made it ends.
//
// One goroutine stays locked to the thread that is in the namespace; what must happen there is done by that thread. It also
// starts the guests, because the kernel ties a child's parent-death signal to the thread that forked it.
type Network struct {
	calls   chan func()
	closed  chan struct{}
	ended   chan struct{}
	ns      *os.File
	scratch string // symbolic link to this program, user-mode Linux's own files

	mu     sync.Mutex
	guests []*Guest
	used   int
}

// NewNetwork makes a namespace with a bridge in it. It fails with the reason of Available where that gives one.
func NewNetwork(ctx context.Context) (*Network, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	removeStaleScratch(os.TempDir())
	scratch, err := os.MkdirTemp("", scratchPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("make a scratch directory for a guest network: %w", err)
	}
	n := &Network{calls: make(chan func()), closed: make(chan struct{}), ended: make(chan struct{}), scratch: scratch}
	started := make(chan error, 1)
	go n.serve(started)
	if err := <-started; err != nil {
		return nil, errors.Join(err, os.RemoveAll(scratch))
	}
	if err := n.ip(ctx, "link set lo up", "link add br0 type bridge", "addr add "+Address+"/24 dev br0", "link set br0 up"); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// serve runs on the namespace's thread until Close. It never unlocks the thread, so the runtime destroys it at the end
// instead of lending a thread in a foreign namespace to other goroutines.
func (n *Network) serve(started chan<- error) {
	defer close(n.ended)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("make a network namespace: %w", err)
		return
	}
	ns, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		started <- fmt.Errorf("open the new network namespace: %w", err)
		return
	}
	n.ns = ns
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

// do runs f on the namespace's thread.
func (n *Network) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case n.calls <- func() { result <- f() }:
		return <-result
	case <-n.closed:
		return errors.New("guest network is closed")
	}
}

// Command is exec.CommandContext for a process inside the namespace. The process keeps its pid through the change of
// namespace, gets SIGTERM when ctx ends or this program dies, and SIGKILL ten seconds after the end of ctx. It is in a process
// group of its own, so that a terminal's Ctrl-C reaches the program alone, which can then stop things in their order.
func (n *Network) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	ns := fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), n.ns.Fd())
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{ns, "--", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = terminateWait
	return cmd
}

// Listen opens a TCP listener inside the namespace for a server in this process. The host of address must be an IP address.
func (n *Network) Listen(ctx context.Context, address string) (net.Listener, error) {
	var l net.Listener
	err := n.do(func() (err error) {
		if _, err = netip.ParseAddrPort(address); err != nil {
			return fmt.Errorf("listen inside the guest network: %w", err)
		}
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
		return err
	})
	return l, err
}

// Dial opens a TCP connection from inside the namespace. The host of address must be an IP address.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, error) {
	var c net.Conn
	err := n.do(func() (err error) {
		if _, err = netip.ParseAddrPort(address); err != nil {
			return fmt.Errorf("dial inside the guest network: %w", err)
		}
		c, err = new(net.Dialer).DialContext(ctx, "tcp", address)
		return err
	})
	return c, err
}

// ip runs iproute2 commands inside the namespace, in one process.
func (n *Network) ip(ctx context.Context, commands ...string) error {
	cmd := n.Command(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set up the guest network (%s): %w: %s", strings.Join(commands, "; "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Close stops the guests and gives the namespace up. Processes started with Command are the caller's to stop; as long as one
// runs, the namespace lives.
func (n *Network) Close() error {
	n.mu.Lock()
	guests := n.guests
	n.guests = nil
	n.mu.Unlock()
	var errs []error
	for _, g := range guests {
		errs = append(errs, g.Close())
	}
	select {
	case <-n.closed:
		return errors.Join(errs...)
	default:
	}
	close(n.closed)
	<-n.ended
	errs = append(errs, n.ns.Close(), os.RemoveAll(n.scratch))
	return errors.Join(errs...)
}

// removeStaleScratch removes the scratch directories of programs that were killed before they could.
func removeStaleScratch(dir string) {
	found, err := filepath.Glob(filepath.Join(dir, scratchPrefix+"*-*"))
	if err != nil {
		return
	}
	for _, path := range found {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), scratchPrefix), "-")
		id, err := strconv.Atoi(pid)
		if err != nil || id <= 0 {
			continue
		}
		if errors.Is(unix.Kill(id, 0), unix.ESRCH) {
			_ = os.RemoveAll(path) // another program's left-over: not worth failing for
		}
	}
}
