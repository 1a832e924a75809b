// Package netlab is a laboratory for distributed tests on one machine: several hosts, each a network namespace with one
// address, on one switch, between which packets can be lost on purpose.
//
// What [Lab.Cut] loses is lost without a word, as with a broken wire or a misconfigured switch: no socket is closed, no
// interface goes down, no error comes back, and TCP connections across the cut stay open and go on sending into the void.
// A cut has a direction, and concerns one pair of hosts; [Lab.Partition] and [Lab.Isolate] are made of cuts.
//
//	lab, err := netlab.New(ctx, netip.MustParsePrefix("10.7.0.1/24"))
//	defer lab.Close()
//	a, err := lab.AddHost(ctx, netip.MustParseAddr("10.7.0.11"))
//	server := a.Command(ctx, "bfsd", "replica", …)
//	err = lab.Isolate(ctx, a)
//	err = lab.Heal(ctx)
//
// [On] makes a lab of a switch that is there already, such as that of a kernel client's network.
//
// How it works: every host knows the others' hardware addresses by permanent neighbour entries (no ARP), and a cut replaces
// one entry by the address of a wire that leads nowhere. That needs no packet filter and no traffic control, which many a
// kernel does not have, and acts on established connections at once. A packet that is on its way is not caught.
//
// There is nothing on the host to clean up: namespaces and interfaces end with the processes that use them.
// It knows nothing of the programs that run in it. Start reading at Lab.
package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"bfsd/internal/netns"
)

const (
	hostsMax = 200
	// hole is the switch's port that leads nowhere, and holeMAC the address that it is known by there.
	hole    = "hole"
	holeMAC = "02:00:00:00:ff:ff"
	// hostInterface is the name of each host's interface, in the host's own namespace.
	hostInterface = "eth0"
)

// Host is one machine of a lab.
type Host struct {
	*netns.Namespace
	Address netip.Addr

	number int
	mac    string
	device string // its interface on the lab's network
	cut    map[*Host]bool
}

// Lab is a switch with hosts. Its methods may be called from many goroutines.
type Lab struct {
	hub    *Host
	bridge string
	bits   int  // of the network prefix
	own    bool // the hub's namespace is the lab's to close

	mu    sync.Mutex
	hosts []*Host // the hub first
}

// New makes a lab: a namespace with a switch that has the given address and network. Close gives it up.
func New(ctx context.Context, address netip.Prefix) (*Lab, error) {
	ns, err := netns.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a lab: %w", err)
	}
	const bridge = "switch"
	if err := ns.IP(ctx, "link add "+bridge+" type bridge", fmt.Sprintf("addr add %v dev %s", address, bridge), "link set "+bridge+" up"); err != nil {
		return nil, errors.Join(fmt.Errorf("make a lab: %w", err), ns.Close())
	}
	l, err := On(ctx, ns, bridge, address)
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	l.own = true
	return l, nil
}

// On makes a lab of the switch bridge, an interface of the namespace, which has the given address and network. The
// namespace stays the caller's.
func On(ctx context.Context, ns *netns.Namespace, bridge string, address netip.Prefix) (*Lab, error) {
	mac, err := hardwareAddress(ns, bridge)
	if err != nil {
		return nil, fmt.Errorf("make a lab: %w", err)
	}
	hub := &Host{Namespace: ns, Address: address.Addr(), mac: mac, device: bridge, cut: map[*Host]bool{}}
	l := &Lab{hub: hub, bridge: bridge, bits: address.Bits(), hosts: []*Host{hub}}
	if err := ns.IP(
		ctx,
		"link set "+bridge+" address "+mac, // else it changes with what is plugged in
		"link add "+hole+" type veth peer name "+hole+"-end",
		"link set "+hole+" master "+bridge+" up",
		"link set "+hole+"-end arp off up",
	); err != nil {
		return nil, fmt.Errorf("make a lab: %w", err)
	}
	// A frame to an address that the switch has not learned goes to every port; these shall trouble nobody.
	if out, err := ns.Command(ctx, "bridge", "fdb", "add", holeMAC, "dev", hole, "master", "static").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a lab: %w: %s", err, out)
	}
	return l, nil
}

// Hub is the lab's first host, the switch's own namespace: gateways and tests are well placed there.
func (l *Lab) Hub() *Host { return l.hub }

// AddHost plugs in a new host with an address of the lab's network. Cuts that were made before do not concern it.
func (l *Lab) AddHost(ctx context.Context, address netip.Addr) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.hosts) > hostsMax {
		return nil, fmt.Errorf("add host %v to a lab: it has its %d hosts", address, hostsMax)
	}
	for _, other := range l.hosts {
		if other.Address == address {
			return nil, fmt.Errorf("add host %v to a lab: there is one with that address", address)
		}
	}
	ns, err := netns.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("add host %v to a lab: %w", address, err)
	}
	number := len(l.hosts)
	h := &Host{
		Namespace: ns, Address: address, number: number, mac: fmt.Sprintf("02:00:00:00:01:%02x", number), device: hostInterface,
		cut: map[*Host]bool{},
	}
	if err := l.plug(ctx, h); err != nil {
		return nil, errors.Join(fmt.Errorf("add host %v to a lab: %w", address, err), ns.Close())
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// plug wires a host to the switch and makes it and the others known to each other.
func (l *Lab) plug(ctx context.Context, h *Host) error {
	port := fmt.Sprintf("host%d", h.number)
	if err := l.hub.IP(
		ctx,
		"link add "+port+" type veth peer name "+h.device+" address "+h.mac+" netns "+h.Path(),
		"link set "+port+" master "+l.bridge+" up",
	); err != nil {
		return err
	}
	commands := []string{fmt.Sprintf("addr add %v/%d dev %s", h.Address, l.bits, h.device), "link set " + h.device + " up"}
	for _, other := range l.hosts {
		commands = append(commands, h.neighbour(other, other.mac))
		if err := other.IP(ctx, other.neighbour(h, h.mac)); err != nil {
			return err
		}
	}
	return h.IP(ctx, commands...)
}

// neighbour is the command by which a host sends what is for another to a hardware address.
func (h *Host) neighbour(other *Host, mac string) string {
	return fmt.Sprintf("neigh replace %v lladdr %s nud permanent dev %s", other.Address, mac, h.device)
}

// Close gives the namespaces up. Processes are the caller's to stop: as long as one runs, its namespace lives.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, h := range l.hosts[1:] {
		errs = append(errs, h.Close())
	}
	l.hosts = l.hosts[:1]
	if l.own {
		errs = append(errs, l.hub.Close())
	}
	return errors.Join(errs...)
}
