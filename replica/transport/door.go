package transport

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// door counts the incoming connections that have not said who they are. They cost memory and a signature check each, and
// anybody who can reach the port can make them, so there is a limit for each address and one for all.
type door struct {
	perHost, total int

	mu      sync.Mutex
	inside  int
	byHost  map[netip.Addr]int
	limited atomic.Uint64
}

func (d *door) init(perHost, total int) {
	d.perHost, d.total, d.byHost = perHost, total, make(map[netip.Addr]int)
}

// enter lets one more in, or says false.
func (d *door) enter(host netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside >= d.total || d.byHost[host] >= d.perHost {
		d.limited.Add(1)
		return false
	}
	d.inside++
	d.byHost[host]++
	return true
}

func (d *door) leave(host netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	if d.byHost[host]--; d.byHost[host] == 0 {
		delete(d.byHost, host)
	}
}

// hostOf is the IP address of a connection's other end; an IPv6 one counts by its /64, all of which one host can use.
func hostOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if !ip.Is6() {
		return ip
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.Addr()
}
