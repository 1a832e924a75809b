package netlab

import (
	"context"
	"fmt"
	"net"
	"slices"

	"bfsd/internal/netns"
)

// Cut loses all packets from one host to another, in this direction, until Heal.
func (l *Lab) Cut(ctx context.Context, from, to *Host) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.apply(ctx, map[*Host][]*Host{from: {to}}, true)
}

// Partition loses all packets between hosts of different groups, in both directions, until Heal. Hosts in no group stay in
// touch with all.
func (l *Lab) Partition(ctx context.Context, groups ...[]*Host) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cuts := map[*Host][]*Host{}
	for i, group := range groups {
		for j, others := range groups {
			if i == j {
				continue
			}
			for _, from := range group {
				cuts[from] = append(cuts[from], others...)
			}
		}
	}
	return l.apply(ctx, cuts, true)
}

// Isolate partitions some hosts, which stay in touch with each other, from all the rest.
func (l *Lab) Isolate(ctx context.Context, hosts ...*Host) error {
	return l.Partition(ctx, hosts, l.except(hosts))
}

// Deafen makes a host hear nothing from any other, though they hear it, until Heal.
func (l *Lab) Deafen(ctx context.Context, deaf *Host) error {
	others := l.except([]*Host{deaf})
	l.mu.Lock()
	defer l.mu.Unlock()
	cuts := map[*Host][]*Host{}
	for _, other := range others {
		cuts[other] = []*Host{deaf}
	}
	return l.apply(ctx, cuts, true)
}

// except is every host but these, the hub included.
func (l *Lab) except(hosts []*Host) []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.hosts), func(h *Host) bool { return slices.Contains(hosts, h) })
}

// Heal ends all cuts.
func (l *Lab) Heal(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cuts := map[*Host][]*Host{}
	for _, h := range l.hosts {
		for to := range h.cut {
			cuts[h] = append(cuts[h], to)
		}
	}
	return l.apply(ctx, cuts, false)
}

// apply makes or ends cuts, with one process for each host that sends.
func (l *Lab) apply(ctx context.Context, cuts map[*Host][]*Host, lose bool) error {
	for from, others := range cuts {
		var commands []string
		for _, to := range others {
			mac := to.mac
			if lose {
				mac = holeMAC
			}
			commands = append(commands, from.neighbour(to, mac))
		}
		if len(commands) == 0 {
			continue
		}
		if err := from.IP(ctx, commands...); err != nil {
			return fmt.Errorf("change what %v loses: %w", from.Address, err)
		}
		for _, to := range others {
			if lose {
				from.cut[to] = true
			} else {
				delete(from.cut, to)
			}
		}
	}
	return nil
}

// hardwareAddress is that of an interface inside a namespace.
func hardwareAddress(ns *netns.Namespace, device string) (mac string, err error) {
	err = ns.Do(func() error {
		i, err := net.InterfaceByName(device)
		if err != nil {
			return fmt.Errorf("find the hardware address of %s: %w", device, err)
		}
		mac = i.HardwareAddr.String()
		return nil
	})
	return mac, err
}
