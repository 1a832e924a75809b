package nlm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

const (
	// lookMin and lookMax are how often the state is asked whose locks were granted, while somebody waits through this
	// front end: often after something has happened, then less and less. The other front ends' calls grant them too.
	lookMin = 20 * time.Millisecond
	lookMax = 150 * time.Millisecond
	// lookAgain is how long after a question without an answer the next is asked.
	lookAgain = time.Second
	// deliveriesMax bounds the clients that are called at the same time.
	deliveriesMax = 64
	// A client that could not be told is called again after a second, then twice that, up to retryMax.
	retryMin = time.Second
	retryMax = 15 * time.Second
)

// grants tells clients that locks which they wait for are theirs.
type grants struct {
	lookNow chan struct{}

	mu         sync.Mutex
	delivering map[uint64]struct{} // by LockGrant.ID
}

func (g *grants) init() {
	g.lookNow, g.delivering = make(chan struct{}, 1), make(map[uint64]struct{})
}

// look has the state asked soon: somebody waits, or was granted a lock.
func (g *grants) look() {
	select {
	case g.lookNow <- struct{}{}:
	default:
	}
}

// run asks the state once at the start, because the process before this one may have left something to do, then while
// somebody waits.
func (g *grants) run(s *Server) {
	interval := lookMin
	for s.ctx.Err() == nil {
		res, err := s.listGrants()
		var next <-chan time.Time
		var timer *time.Timer
		switch {
		case err != nil:
			s.cfg.Log.Debug("cannot ask for granted locks", "err", err)
			timer = time.NewTimer(lookAgain)
		case res.Waiting || res.More || len(res.Grants) > 0:
			g.deliver(s, res.Grants)
			timer = time.NewTimer(interval)
			interval = min(2*interval, lookMax)
		}
		if timer != nil {
			next = timer.C
		}
		select {
		case <-next:
		case <-g.lookNow:
			interval = lookMin
		case <-s.ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

func (s *Server) listGrants() (*fsstate.LockGrantsResult, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.CallTimeout)
	defer cancel()
	res, err := s.invoke(ctx, &fsstate.Op{Args: &fsstate.LockGrants{Front: s.cfg.Front}})
	if err != nil {
		return nil, err
	}
	r, ok := res.(*fsstate.LockGrantsResult)
	if !ok || r.Status != fsstate.OK {
		return nil, fmt.Errorf("list granted locks: status %d", res.Code())
	}
	return r, nil
}

// deliver begins to tell those clients that are not being told already.
func (g *grants) deliver(s *Server, list []fsstate.LockGrant) {
	for i := range list {
		grant := list[i]
		g.mu.Lock()
		_, busy := g.delivering[grant.ID]
		busy = busy || len(g.delivering) >= deliveriesMax
		if !busy {
			g.delivering[grant.ID] = struct{}{}
		}
		g.mu.Unlock()
		if busy {
			continue
		}
		s.wg.Go(func() {
			s.tell(&grant)
			g.mu.Lock()
			delete(g.delivering, grant.ID)
			g.mu.Unlock()
			g.look()
		})
	}
}

// tell calls a client until it has answered, or the state says that there is nothing to tell any more: the client has asked
// again by itself, given the lock up, or restarted. Before each call the state is told, because a lock may be taken back
// from a client that refuses it just if no earlier call can have convinced it.
func (s *Server) tell(g *fsstate.LockGrant) {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		if !s.record(g, fsstate.GrantSending) {
			return
		}
		switch status, err := s.callGranted(g); {
		case err == nil && status == Granted:
			s.record(g, fsstate.GrantAccepted)
			return
		case err == nil && status != DeniedGracePeriod:
			s.record(g, fsstate.GrantRefused)
			return
		case err == nil || errors.Is(err, rpc.ErrNotSent):
			if !s.record(g, fsstate.GrantUndelivered) {
				return
			}
			fallthrough
		default:
			s.cfg.Log.Info("a client could not be told that its lock is granted", "client", g.Machine, "name", g.Owner.Client.Name,
				"err", err, "retry_in", wait)
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return
		}
	}
}

// record tells the state how it stands with a grant; false if there is nothing to tell the client any more, or the state
// cannot be reached, in which case it is asked again for what there is to tell.
func (s *Server) record(g *fsstate.LockGrant, answer fsstate.GrantAnswer) bool {
	res, err := s.invoke(s.ctx, &fsstate.Op{Args: &fsstate.LockAnswer{Object: g.Object, ID: g.ID, Answer: answer}})
	if err != nil {
		s.cfg.Log.Debug("cannot record what became of a granted lock", "err", err)
		return false
	}
	return res.Code() == fsstate.OK
}

// callGranted calls GRANTED (XNFS §10.3.6).
func (s *Server) callGranted(g *fsstate.LockGrant) (Status, error) {
	client, err := netip.ParseAddr(g.Machine)
	if err != nil {
		return 0, errors.Join(rpc.ErrNotSent, err)
	}
	local, err := netip.ParseAddr(g.Server)
	if err != nil {
		local = netip.Addr{}
	}
	args := &TestArgs{Exclusive: g.Exclusive, Lock: Lock{
		Caller: g.Owner.Client.Name, FH: s.cfg.FH(g.Object), OH: []byte(g.Owner.OH), SVID: g.Owner.SVID,
		Offset: g.Range.Offset, Length: g.Range.Length,
	}}
	args.Cookie = fmt.Appendf(nil, "%016x", g.ID)
	results, err := s.callClient(s.ctx, client, local, ProcGranted, args.Encode)
	var accept *rpc.AcceptError
	var denied *rpc.DeniedError
	if errors.As(err, &accept) || errors.As(err, &denied) { // it was not executed
		return 0, errors.Join(rpc.ErrNotSent, err)
	}
	if err != nil {
		return 0, err
	}
	var res Res
	d := xdr.NewDecoder(results)
	if res.Decode(d); d.Finish() != nil {
		return 0, fmt.Errorf("decode the answer to GRANTED: %w", d.Err())
	}
	return res.Status, nil
}
