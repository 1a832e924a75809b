package nlm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"bfsd/fsstate"
)

const (
	// renewInterval is how often clients that hold locks are looked after, renewAge how long one must not have been heard of
	// for that.
	renewInterval = time.Duration(fsstate.LockExpiry) / 6
	renewAge      = time.Duration(fsstate.LockExpiry) / 3
	// renewParallel bounds the clients that are called at the same time.
	renewParallel = 16
)

// renewAll keeps the locks of clients that are alive from expiring, for as long as the server runs.
func (s *Server) renewAll() {
	// The front ends of a cluster shall not all look at the same time: mostly the first one then does it for all.
	timer := time.NewTimer(renewInterval/2 + rand.N(renewInterval))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		if err := s.renew(time.Now()); err != nil {
			s.cfg.Log.Debug("cannot look after clients that hold locks", "err", err)
		}
		timer.Reset(renewInterval/2 + rand.N(renewInterval))
	}
}

// renew looks after the clients that were not heard of for long.
func (s *Server) renew(now time.Time) error {
	ctx, cancel := context.WithTimeout(s.ctx, renewInterval)
	defer cancel()
	slots := make(chan struct{}, renewParallel)
	for after, more := uint64(0), true; more; {
		res, err := s.invoke(ctx, &fsstate.Op{Args: &fsstate.LockClients{After: after}})
		if err != nil {
			return err
		}
		page, ok := res.(*fsstate.LockClientsResult)
		if !ok || page.Status != fsstate.OK {
			return fmt.Errorf("list clients that hold locks: status %d", res.Code())
		}
		alive := make(chan uint64, len(page.Clients))
		for _, c := range page.Clients {
			after = c.Number
			if now.Sub(time.Unix(0, int64(c.Seen))) < renewAge || c.Via != "" && c.Via != s.cfg.Via {
				continue
			}
			slots <- struct{}{}
			s.wg.Go(func() {
				if s.alive(ctx, c.Machine, now) {
					alive <- c.Number
				}
				<-slots
			})
		}
		for range renewParallel { // wait for all
			slots <- struct{}{}
		}
		for range renewParallel {
			<-slots
		}
		close(alive)
		renew := &fsstate.LockRenew{}
		for number := range alive {
			renew.Clients = append(renew.Clients, number)
		}
		if len(renew.Clients) > 0 {
			if _, err := s.invoke(ctx, &fsstate.Op{Args: renew}); err != nil {
				return err
			}
		}
		more = page.More
	}
	return nil
}

// alive reports whether a client calls, or its lock manager answers.
func (s *Server) alive(ctx context.Context, machine string, now time.Time) bool {
	addr, err := netip.ParseAddr(machine)
	if err != nil {
		return false
	}
	if now.Sub(s.cfg.Heard(addr)) < renewAge {
		return true
	}
	_, err = s.callClient(ctx, addr, netip.Addr{}, ProcNull, nil)
	return err == nil
}
