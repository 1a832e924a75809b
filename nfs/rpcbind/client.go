package rpcbind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// ErrNotRegistered says that a program is not at any port of a machine.
var ErrNotRegistered = errors.New("the program is not registered with rpcbind")

// Dialer opens connections: a *net.Dialer, or one that works in another network namespace or from a certain address.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Port asks a machine's rpcbind at which port a version of a program is; network is "tcp" or "udp", and what the program
// is called by. It asks by TCP and, if that is refused, by UDP.
func Port(ctx context.Context, d Dialer, host netip.Addr, prog, vers uint32, network string) (uint16, error) {
	return PortAt(ctx, d, netip.AddrPortFrom(host, WellKnownPort), prog, vers, network)
}

// PortAt is Port for an rpcbind that is not at its well-known port.
func PortAt(ctx context.Context, d Dialer, rpcbind netip.AddrPort, prog, vers uint32, network string) (uint16, error) {
	port, err := ask(ctx, d, rpcbind, prog, vers, network)
	if err == nil && port == 0 {
		err = ErrNotRegistered
	}
	if err != nil {
		return 0, fmt.Errorf("ask rpcbind at %v for program %d version %d by %s: %w", rpcbind, prog, vers, network, err)
	}
	return port, nil
}

func ask(ctx context.Context, d Dialer, rpcbind netip.AddrPort, prog, vers uint32, network string) (uint16, error) {
	nc, err := d.DialContext(ctx, TCP, rpcbind.String())
	if err != nil {
		if nc, udpErr := d.DialContext(ctx, UDP, rpcbind.String()); udpErr == nil {
			defer nc.Close()
			return query(rpcbind, prog, vers, network, func(call rpc.Call, args func(*xdr.Encoder)) ([]byte, error) {
				return rpc.CallPacket(ctx, nc, call, args)
			})
		}
		return 0, err
	}
	c := rpc.NewClient(nc)
	defer c.Close()
	return query(rpcbind, prog, vers, network, func(call rpc.Call, args func(*xdr.Encoder)) ([]byte, error) {
		return c.Call(ctx, call, args)
	})
}

// query asks by version 2 where that can say the address, by versions 4 and 3 elsewhere, as Linux does.
func query(
	rpcbind netip.AddrPort, prog, vers uint32, network string, call func(rpc.Call, func(*xdr.Encoder)) ([]byte, error),
) (uint16, error) {
	if rpcbind.Addr().Unmap().Is4() {
		m := Mapping{Prog: prog, Vers: vers, Proto: map[string]uint32{TCP: protoTCP, UDP: protoUDP}[network]}
		results, err := call(rpc.Call{Prog: Program, Vers: VersionPmap, Proc: uint32(ProcGet)}, m.Encode)
		if err != nil {
			return 0, err
		}
		return decodePort(results)
	}
	r := Entry{Prog: prog, Vers: vers, Netid: netidFor(network, rpcbind.Addr()), Addr: UniversalAddr(rpcbind)}
	var results []byte
	var err error
	for _, v := range [...]uint32{VersionRpcb4, VersionRpcb3} {
		results, err = call(rpc.Call{Prog: Program, Vers: v, Proc: uint32(ProcGet)}, r.Encode)
		var accept *rpc.AcceptError
		if !errors.As(err, &accept) || accept.Outcome != rpc.ProgMismatch {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	return decodeAddrPort(results)
}

// decodePort reads the result of PMAPPROC_GETPORT.
func decodePort(results []byte) (uint16, error) {
	d := xdr.NewDecoder(results)
	port := d.Uint32()
	if err := d.Finish(); err != nil {
		return 0, fmt.Errorf("decode port: %w", err)
	}
	if port > 65535 {
		return 0, fmt.Errorf("decode port: %d is none", port)
	}
	return uint16(port), nil
}

// decodeAddrPort reads the port in the result of RPCBPROC_GETADDR. The address in it is not believed: a program is called
// on the machine that was asked.
func decodeAddrPort(results []byte) (uint16, error) {
	d := xdr.NewDecoder(results)
	uaddr := d.String(stringMax)
	if err := d.Finish(); err != nil {
		return 0, fmt.Errorf("decode address: %w", err)
	}
	if uaddr == "" {
		return 0, nil
	}
	a, err := ParseUniversalAddr(uaddr)
	return a.Port(), err
}
