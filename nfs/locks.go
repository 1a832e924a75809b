package nfs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/nlm"
	"bfsd/nfs/nsm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/rpcbind"
)

// LockConfig configures the lock protocols, NLM and NSM.
type LockConfig struct {
	// Front names this front end among those of the cluster; the process that takes its place after a restart has the same
	// name.
	Front string
	// Via tells clients whose addresses mean something to this front end alone, such as 127.0.0.1, apart from those of
	// others. Empty where such clients are the same whatever front end they call. Private says which those addresses are;
	// nil: loopback.
	Via     string
	Private func(client netip.Addr) bool
	// Dial opens connections to clients, from an address that they called if that is valid. Nil: net.Dialer.
	Dial func(local netip.Addr) rpcbind.Dialer
}

// newLocks makes the part of a server that serves locks.
func (s *Server) newLocks(cfg *LockConfig) *nlm.Server {
	return nlm.NewServer(nlm.Config{
		Backend: s.backend, Front: cfg.Front, Via: cfg.Via, Private: cfg.Private, Dial: cfg.Dial, Log: s.log, CallTimeout: s.cfg.ReadTimeout,
		Handle: func(fh []byte) (fsstate.Handle, bool) { return s.handle(fh) },
		FH:     func(h fsstate.Handle) []byte { return s.fh(h) },
		Heard:  func(peer netip.Addr) time.Time { return s.rpc.Heard(peer) },
		Observe: func(procedure, status string, d time.Duration) {
			if s.cfg.Observe != nil {
				s.cfg.Observe(CallInfo{Procedure: "NLM/" + procedure, Status: status, Duration: d})
			}
		},
	})
}

// ServePacket serves by UDP what clients call that way: MOUNT and the lock protocols. It returns ErrServerClosed after
// Shutdown or Close, and closes pc.
func (s *Server) ServePacket(pc *net.UDPConn) error {
	err := s.rpc.ServePacket(pc)
	if errors.Is(err, rpc.ErrServerClosed) {
		return err
	}
	return fmt.Errorf("serve by udp: %w", err)
}

// Services are the programs of a server that listens at a port by TCP and, with packets, by UDP, as rpcbind names them.
func (s *Server) Services(port uint16, packets bool) []rpcbind.Service {
	type program struct {
		number, version uint32
		packets         bool
	}
	programs := []program{{nfs3.Program, nfs3.Version, false}, {mount.Program, mount.Version, true}}
	if s.locks != nil {
		programs = append(programs, program{nlm.Program, nlm.Version, true}, program{nsm.Program, nsm.Version, true})
	}
	var list []rpcbind.Service
	for _, p := range programs {
		netids := []string{rpcbind.TCP, rpcbind.TCP6}
		if p.packets && packets {
			netids = append(netids, rpcbind.UDP, rpcbind.UDP6)
		}
		for _, netid := range netids {
			list = append(list, rpcbind.Service{Prog: p.number, Vers: p.version, Netid: netid, Port: port})
		}
	}
	return list
}

// closeLocks ends the calls to clients, once no call of theirs is served any more.
func (s *Server) closeLocks() {
	if s.locks != nil {
		s.locks.Close()
	}
}
