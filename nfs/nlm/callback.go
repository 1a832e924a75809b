package nlm

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"time"

	"bfsd/nfs/rpc"
	"bfsd/nfs/rpcbind"
	"bfsd/nfs/xdr"
)

const (
	// answersMax bounds the answers to asynchronous calls that are on their way.
	answersMax = 64
	// findTimeout bounds how long a client may take to say at which port its lock manager is, and to accept a connection;
	// replyTimeout, how long it may take to answer a call.
	findTimeout  = 5 * time.Second
	replyTimeout = 10 * time.Second
)

// asynchronous says by which procedure the client hears the result of a call's asynchronous form.
var asynchronous = map[Proc]Proc{
	ProcTestMsg: ProcTestRes, ProcLockMsg: ProcLockRes, ProcCancelMsg: ProcCancelRes, ProcUnlockMsg: ProcUnlockRes,
	ProcGrantedMsg: ProcGrantedRes,
}

// answerLater calls a client to tell it a result. Past answersMax it does not: the client asks again.
func (s *Server) answerLater(rc *rpc.Call, proc Proc, res Message) {
	select {
	case s.answers <- struct{}{}:
	default:
		return
	}
	var e xdr.Encoder
	res.Encode(&e)
	message := bytes.Clone(e.Bytes()) // res refers to the call's arguments, which are gone when this returns
	peer, local := rc.Peer, rc.Local
	s.wg.Go(func() {
		defer func() { <-s.answers }()
		if _, err := s.callClient(s.ctx, peer, local, proc, func(e *xdr.Encoder) { e.Fixed(message) }); err != nil {
			s.cfg.Log.Debug("a client could not be told a result", "procedure", proc.String(), "client", peer, "err", err)
		}
	})
}

// callClient calls a client's lock manager, by TCP or, if it has none there, by UDP, from an address of this machine's if
// that is valid. An error that wraps rpc.ErrNotSent means that the client certainly did not get the call.
func (s *Server) callClient(ctx context.Context, client, local netip.Addr, proc Proc, args func(*xdr.Encoder)) ([]byte, error) {
	if !client.IsValid() {
		return nil, errors.Join(rpc.ErrNotSent, errors.New("the client's address is not known"))
	}
	d := s.cfg.Dial(local)
	var failed error
	for _, network := range [...]string{rpcbind.TCP, rpcbind.UDP} {
		results, err := callBy(ctx, d, network, client, proc, args)
		if !errors.Is(err, rpc.ErrNotSent) {
			return results, err
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

func callBy(ctx context.Context, d rpcbind.Dialer, network string, client netip.Addr, proc Proc, args func(*xdr.Encoder)) ([]byte, error) {
	find, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	port, err := rpcbind.Port(find, d, client, Program, Version, network)
	if err != nil {
		return nil, errors.Join(rpc.ErrNotSent, err)
	}
	nc, err := d.DialContext(find, network, netip.AddrPortFrom(client, port).String())
	if err != nil {
		return nil, errors.Join(rpc.ErrNotSent, err)
	}
	call := rpc.Call{Prog: Program, Vers: Version, Proc: uint32(proc), Cred: rpc.Credential{Flavor: rpc.AuthSys, Machine: hostName()}}
	ctx, cancel = context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	if network == rpcbind.UDP {
		defer nc.Close()
		return rpc.CallPacket(ctx, nc, call, args)
	}
	c := rpc.NewClient(nc)
	defer c.Close()
	return c.Call(ctx, call, args)
}

// hostName is this machine's name, as calls carry it; the process id tells if there is none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "bfsd-" + strconv.Itoa(os.Getpid())
	}
	return name
}
