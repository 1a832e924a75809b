// Package rpcbind is the service by which an RPC program's port is found, program 100000: version 2, the port mapper, and
// versions 3 and 4 (RFC 1833). NFS clients need it for what no mount option names the port of: the lock manager. A server
// may answer port 111 itself ([NewProgram]), or have its programs entered with the machine's own rpcbind ([Register]); a
// client asks for a port ([Port]).
//
// It does not know what the programs do. Start with Service.
package rpcbind

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"bfsd/nfs/xdr"
)

// The RPC program, its versions, and its port (RFC 1833 §2.1, §3.1).
const (
	Program       = 100000
	VersionPmap   = 2 // the port mapper
	VersionRpcb3  = 3
	VersionRpcb4  = 4
	WellKnownPort = 111
)

// Proc is a procedure number. Those up to 5 are numbered alike in all versions.
type Proc uint32

// The procedures (RFC 1833 §2.2.1, §3.2).
const (
	ProcNull        Proc = 0
	ProcSet         Proc = 1
	ProcUnset       Proc = 2
	ProcGet         Proc = 3 // PMAPPROC_GETPORT, RPCBPROC_GETADDR
	ProcDump        Proc = 4
	ProcCallIt      Proc = 5
	ProcGetTime     Proc = 6
	ProcGetVersAddr Proc = 9 // of version 4
)

// The transports' numbers in version 2.
const (
	protoTCP = 6
	protoUDP = 17
)

// The transports' names (netids) in versions 3 and 4.
const (
	TCP  = "tcp"
	UDP  = "udp"
	TCP6 = "tcp6"
	UDP6 = "udp6"
)

// Bounds of what is decoded, in bytes; the RFC sets none. entriesMax bounds lists.
const (
	stringMax  = 256
	entriesMax = 4096
)

// Service is a version of a program at a port.
type Service struct {
	Prog  uint32
	Vers  uint32
	Netid string
	Port  uint16
}

// Mapping is version 2's way to say Service, and the argument of its procedures (RFC 1833 §2.1).
type Mapping struct {
	Prog, Vers, Proto, Port uint32
}

// Encode appends the mapping.
func (m *Mapping) Encode(e *xdr.Encoder) {
	e.Uint32(m.Prog)
	e.Uint32(m.Vers)
	e.Uint32(m.Proto)
	e.Uint32(m.Port)
}

// Decode reads a mapping.
func (m *Mapping) Decode(d *xdr.Decoder) {
	*m = Mapping{d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32()}
}

// Entry is rpcb, versions 3 and 4's way to say Service, and the argument of their procedures (RFC 1833 §3.1).
type Entry struct {
	Prog, Vers         uint32
	Netid, Addr, Owner string
}

// Encode appends the entry.
func (r *Entry) Encode(e *xdr.Encoder) {
	e.Uint32(r.Prog)
	e.Uint32(r.Vers)
	e.String(r.Netid)
	e.String(r.Addr)
	e.String(r.Owner)
}

// Decode reads an entry.
func (r *Entry) Decode(d *xdr.Decoder) {
	*r = Entry{d.Uint32(), d.Uint32(), d.String(stringMax), d.String(stringMax), d.String(stringMax)}
}

// encodeList appends a list as RFC 1833 chains it.
func encodeList[T any, P interface {
	*T
	Encode(*xdr.Encoder)
}](e *xdr.Encoder, list []T) {
	for i := range list {
		e.Bool(true)
		P(&list[i]).Encode(e)
	}
	e.Bool(false)
}

// decodeList reads what encodeList appended.
func decodeList[T any, P interface {
	*T
	Decode(*xdr.Decoder)
}](d *xdr.Decoder) (list []T) {
	for d.Bool() {
		if len(list) == entriesMax {
			d.Fail(xdr.ErrTooLong)
			return nil
		}
		var v T
		P(&v).Decode(d)
		list = append(list, v)
	}
	return list
}

// UniversalAddr writes an address and port as versions 3 and 4 do (RFC 5665 §5.2.3): the port is two decimal bytes at the
// end, such as 192.0.2.1.0.111.
func UniversalAddr(a netip.AddrPort) string {
	return fmt.Sprintf("%s.%d.%d", a.Addr().WithZone(""), a.Port()>>8, a.Port()&0xff)
}

// ParseUniversalAddr reads what UniversalAddr writes.
func ParseUniversalAddr(s string) (netip.AddrPort, error) {
	rest, low, ok1 := cutLast(s)
	host, high, ok2 := cutLast(rest)
	addr, err := netip.ParseAddr(host)
	if !ok1 || !ok2 || err != nil {
		return netip.AddrPort{}, fmt.Errorf("rpcbind: %q is no universal address", s)
	}
	return netip.AddrPortFrom(addr, uint16(high)<<8|uint16(low)), nil
}

// cutLast cuts a decimal byte behind the last dot off.
func cutLast(s string) (rest string, b uint8, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 8)
	return s[:i], uint8(n), err == nil
}

// netidFor is the name of a network ("tcp" or "udp") for addresses of a family.
func netidFor(network string, host netip.Addr) string {
	if host.Is6() && !host.Is4In6() {
		return network + "6"
	}
	return network
}
