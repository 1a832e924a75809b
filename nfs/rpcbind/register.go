package rpcbind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// Socket is where a machine's own rpcbind takes registrations.
const Socket = "/run/rpcbind.sock"

// probeTimeout bounds how long a program that is registered already may take to show that it is there.
const probeTimeout = 2 * time.Second

// TakenError says that another program is registered in a service's place, and answers there.
type TakenError struct {
	Entry Entry // of the one that is there
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("rpcbind: program %d version %d (%s) is registered by another server, at %s, owner %s",
		e.Entry.Prog, e.Entry.Vers, e.Entry.Netid, e.Entry.Addr, e.Entry.Owner)
}

// Registration is services that are entered with a machine's rpcbind.
type Registration struct {
	socket  string
	entries []Entry
}

// addrIn is the address of a server that listens at host, for a transport; false if it cannot be reached by that.
func addrIn(netid string, host netip.Addr) (netip.Addr, bool) {
	switch v6 := netid == TCP6 || netid == UDP6; {
	case host.IsUnspecified() && v6:
		return netip.IPv6Unspecified(), true
	case host.IsUnspecified():
		return netip.IPv4Unspecified(), true
	default:
		return host.Unmap(), v6 == host.Unmap().Is6()
	}
}

// Register enters services at an address with the rpcbind whose socket is given: those that can be reached there, or all
// if it is the unspecified one. What is registered by a server that is gone is replaced; if another one is there, nothing is registered and the error is a
// *TakenError.
func Register(ctx context.Context, socket string, host netip.Addr, services []Service) (*Registration, error) {
	var entries []Entry
	for _, s := range services {
		if a, ok := addrIn(s.Netid, host); ok {
			entries = append(entries, Entry{s.Prog, s.Vers, s.Netid, UniversalAddr(netip.AddrPortFrom(a, s.Port)), "bfsd"})
		}
	}
	r := &Registration{socket: socket}
	err := r.with(ctx, func(c *rpc.Client) error {
		stale, err := stale(ctx, c, entries)
		if err != nil {
			return err
		}
		for i := range stale {
			if _, err := change(ctx, c, ProcUnset, &stale[i]); err != nil {
				return err
			}
		}
		for i := range entries {
			e := &entries[i]
			ok, err := change(ctx, c, ProcSet, e)
			if err == nil && !ok {
				err = fmt.Errorf("it refused program %d version %d at %s", e.Prog, e.Vers, e.Addr)
			}
			if err != nil {
				return err
			}
			r.entries = append(r.entries, *e)
		}
		return nil
	})
	if err == nil {
		return r, nil
	}
	err = fmt.Errorf("register with rpcbind at %s: %w", socket, err)
	if len(r.entries) > 0 {
		err = errors.Join(err, r.Close(ctx))
	}
	return nil, err
}

// Close takes the services out again.
func (r *Registration) Close(ctx context.Context) error {
	err := r.with(ctx, func(c *rpc.Client) error {
		for i := range r.entries {
			if _, err := change(ctx, c, ProcUnset, &r.entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("take services out of rpcbind at %s: %w", r.socket, err)
	}
	return nil
}

func (r *Registration) with(ctx context.Context, f func(c *rpc.Client) error) error {
	nc, err := new(net.Dialer).DialContext(ctx, "unix", r.socket)
	if err != nil {
		return fmt.Errorf("is it running? %w", err)
	}
	c := rpc.NewClient(nc)
	defer c.Close()
	return f(c)
}

// stale returns the entries that are in the way and whose servers are gone.
func stale(ctx context.Context, c *rpc.Client, entries []Entry) ([]Entry, error) {
	results, err := c.Call(ctx, rpc.Call{Prog: Program, Vers: VersionRpcb4, Proc: uint32(ProcDump)}, nil)
	if err != nil {
		return nil, fmt.Errorf("list what is registered: %w", err)
	}
	d := xdr.NewDecoder(results)
	have := decodeList[Entry](d)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("list what is registered: %w", err)
	}
	var stale []Entry
	for _, e := range entries {
		at := slices.IndexFunc(have, func(h Entry) bool { return h.Prog == e.Prog && h.Vers == e.Vers && h.Netid == e.Netid })
		if at < 0 || have[at].Addr == e.Addr {
			continue
		}
		if answers(ctx, &have[at]) {
			return nil, &TakenError{have[at]}
		}
		stale = append(stale, have[at])
	}
	return stale, nil
}

// answers reports whether a registered program answers its procedure 0, whatever it says.
func answers(ctx context.Context, e *Entry) bool {
	a, err := ParseUniversalAddr(e.Addr)
	if err != nil {
		return true // not to be touched
	}
	host := a.Addr()
	if host.IsUnspecified() {
		host = netip.MustParseAddr(map[bool]string{true: "127.0.0.1", false: "::1"}[host.Is4()])
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	network := e.Netid[:min(len(e.Netid), len(TCP))]
	nc, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host.String(), strconv.Itoa(int(a.Port()))))
	if err != nil {
		return false
	}
	null := rpc.Call{Prog: e.Prog, Vers: e.Vers}
	if network == UDP {
		defer nc.Close()
		_, err = rpc.CallPacket(ctx, nc, null, nil)
	} else {
		c := rpc.NewClient(nc)
		defer c.Close()
		_, err = c.Call(ctx, null, nil)
	}
	var accept *rpc.AcceptError
	var denied *rpc.DeniedError
	return err == nil || errors.As(err, &denied) || errors.As(err, &accept) && accept.Outcome != rpc.ProgUnavail
}

// change calls RPCBPROC_SET or RPCBPROC_UNSET.
func change(ctx context.Context, c *rpc.Client, proc Proc, e *Entry) (bool, error) {
	results, err := c.Call(ctx, rpc.Call{Prog: Program, Vers: VersionRpcb4, Proc: uint32(proc)}, e.Encode)
	if err != nil {
		return false, err
	}
	d := xdr.NewDecoder(results)
	ok := d.Bool()
	return ok, d.Finish()
}
