package rpcbind

import (
	"context"
	"net/netip"
	"time"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// NewProgram returns the service itself, for a server that listens at port 111. It tells where the services are, on
// whatever address it was called at. Nothing can be registered with it, and it makes no calls on behalf of others (CALLIT),
// which would lend them its address.
func NewProgram(services []Service) rpc.Program {
	s := server(services)
	return rpc.Program{Number: Program, Low: VersionPmap, High: VersionRpcb4, Serve: s.serve, Datagrams: true}
}

type server []Service

func (s server) serve(_ context.Context, call *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	d := xdr.NewDecoder(call.Args)
	answer := s.rpcb
	if call.Vers == VersionPmap {
		answer = s.pmap
	}
	outcome := answer(call, d, reply)
	if outcome == rpc.Success && d.Finish() != nil {
		return rpc.GarbageArgs
	}
	return outcome
}

// pmap answers a call of version 2.
func (s server) pmap(call *rpc.Call, d *xdr.Decoder, reply *xdr.Encoder) rpc.Outcome {
	var m Mapping
	switch Proc(call.Proc) {
	case ProcNull:
	case ProcSet, ProcUnset:
		m.Decode(d)
		reply.Bool(false)
	case ProcGet:
		m.Decode(d)
		netid := map[uint32]string{protoTCP: TCP, protoUDP: UDP}[m.Proto]
		reply.Uint32(uint32(s.port(m.Prog, m.Vers, netid)))
	case ProcDump:
		if call.Datagram {
			return rpc.ProcUnavail // an answer longer than the question, to an address that anybody can forge
		}
		encodeList(reply, s.mappings())
	default:
		return rpc.ProcUnavail
	}
	return rpc.Success
}

// rpcb answers a call of version 3 or 4.
func (s server) rpcb(call *rpc.Call, d *xdr.Decoder, reply *xdr.Encoder) rpc.Outcome {
	var r Entry
	switch p := Proc(call.Proc); {
	case p == ProcNull:
	case p == ProcSet, p == ProcUnset:
		r.Decode(d)
		reply.Bool(false)
	case p == ProcGet, p == ProcGetVersAddr && call.Vers == VersionRpcb4:
		r.Decode(d)
		reply.String(s.addr(call, &r))
	case p == ProcDump && !call.Datagram:
		encodeList(reply, s.entries(call.Local))
	case p == ProcGetTime:
		reply.Uint32(uint32(time.Now().Unix()))
	default:
		return rpc.ProcUnavail
	}
	return rpc.Success
}

// port returns where a version of a program is, 0 if nowhere.
func (s server) port(prog, vers uint32, netid string) uint16 {
	for _, service := range s {
		if service.Prog == prog && service.Vers == vers && service.Netid == netid {
			return service.Port
		}
	}
	return 0
}

// addr returns the universal address of a program on the address that was called, "" if it is not there.
func (s server) addr(call *rpc.Call, r *Entry) string {
	netid := r.Netid
	if netid == "" { // version 3: that of the call
		netid = netidFor(map[bool]string{false: TCP, true: UDP}[call.Datagram], call.Local)
	}
	port := s.port(r.Prog, r.Vers, netid)
	if port == 0 || !call.Local.IsValid() || netid != netidFor(netid[:len(TCP)], call.Local) {
		return ""
	}
	return UniversalAddr(netip.AddrPortFrom(call.Local, port))
}

func (s server) mappings() []Mapping {
	var list []Mapping
	for _, service := range s {
		proto, ok := map[string]uint32{TCP: protoTCP, UDP: protoUDP}[service.Netid]
		if ok {
			list = append(list, Mapping{service.Prog, service.Vers, proto, uint32(service.Port)})
		}
	}
	return list
}

func (s server) entries(local netip.Addr) []Entry {
	var list []Entry
	for _, service := range s {
		if local.IsValid() && service.Netid == netidFor(service.Netid[:len(TCP)], local) {
			addr := UniversalAddr(netip.AddrPortFrom(local, service.Port))
			list = append(list, Entry{service.Prog, service.Vers, service.Netid, addr, "bfsd"})
		}
	}
	return list
}
