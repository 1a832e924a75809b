package kernelclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bfsd/internal/netns"
)

// Address is where servers of a Network listen: its bridge. Every Network is isolated, so all use the same one.
const Address = "10.99.0.1"

const (
	guestSubnet   = "10.99.0.0/24"
	guestsMax     = 200 // addresses .2 to .201 of the subnet; the rest is for other machines
	scratchPrefix = "kernelclient-"
)

// Bridge is the network's bridge, an interface of its namespace: more machines can be plugged into it (package netlab).
const Bridge = "br0"

// bridgeMAC is the bridge's own; else it would change with what is plugged in, under the feet of those who know it.
const bridgeMAC = "02:00:00:00:00:01"

// Network is a private network namespace with a bridge at Address. It has no name and no file: it ends with the last
// process and descriptor in it, however the program that made it ends.
type Network struct {
	ns      *netns.Namespace
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
	ns, err := netns.New(ctx)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(scratch))
	}
	n := &Network{ns: ns, scratch: scratch}
	if err := ns.IP(ctx, "link add "+Bridge+" address "+bridgeMAC+" type bridge", "addr add "+Address+"/24 dev "+Bridge, "link set "+Bridge+" up"); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Namespace is where the network is: to plug other machines into its Bridge.
func (n *Network) Namespace() *netns.Namespace { return n.ns }

// Command is netns.Namespace.Command.
func (n *Network) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return n.ns.Command(ctx, name, args...)
}

// Listen is netns.Namespace.Listen.
func (n *Network) Listen(ctx context.Context, address string) (net.Listener, error) {
	return n.ns.Listen(ctx, address)
}

// Dial is netns.Namespace.Dial.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, error) {
	return n.ns.Dial(ctx, address)
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
	if !n.ns.Closed() {
		errs = append(errs, n.ns.Close(), os.RemoveAll(n.scratch))
	}
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
