package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"bfsd/replica"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// errRecover ends a replica that is to start anew.
var errRecover = errors.New("proactive recovery")

// watchdog makes its replica start anew once in a period, whether it seems to need it or not (TOCS section 5): what somebody
// has changed in its memory is gone then, its links have new session keys, and it takes part again only after its whole state was
// compared with the root that 2f+1 replicas have signed, or fetched from them.
//
// There is no trusted coordinator and no trusted hardware here: the time of day gives each replica a slot of its own,
// period/n long, so that two correct replicas whose clocks agree within a slot do not recover at the same time. The paper's
// watchdog and read-only program are hardware; a replica that somebody owns for good simply does not do this.
type watchdog struct {
	id, n  int
	period time.Duration
	now    func() time.Time
	linked func(context.Context) int // to how many other replicas there are links
	log    *slog.Logger
}

// newWatchdog is nil where replicas do not recover.
func newWatchdog(cluster *config.Cluster, id wire.ReplicaID, node *replica.Node, log *slog.Logger) *watchdog {
	if cluster.Recovery.Period() == 0 {
		return nil
	}
	return &watchdog{
		id: int(id), n: cluster.N(), period: cluster.Recovery.Period(), now: time.Now, log: log,
		linked: func(ctx context.Context) int {
			s, err := node.Status(ctx)
			if err != nil {
				return 0
			}
			return s.Peers
		},
	}
}

// slot is how long one replica may recover before the next may.
func (w *watchdog) slot() time.Duration { return w.period / time.Duration(w.n) }

// next is the beginning of this replica's first slot after a time.
func (w *watchdog) next(after time.Time) time.Time {
	since := after.UnixNano() - int64(w.id)*int64(w.slot())
	k := since / int64(w.period) // both are far from zero, and positive
	return time.Unix(0, (k+1)*int64(w.period)+int64(w.id)*int64(w.slot()))
}

// watchdogPoll is how often the time of day is looked at: it may be set.
const watchdogPoll = time.Second

// run returns errRecover when it is time, or nil when ctx ends.
func (w *watchdog) run(ctx context.Context) error {
	begin := w.next(w.now())
	tick := time.NewTicker(min(watchdogPoll, w.slot()/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := w.now()
		if begin.Sub(now) > w.period { // the clock was set back
			begin = w.next(now)
		}
		if now.Before(begin) {
			continue
		}
		if !w.due(now, begin, w.linked(ctx)) {
			if now.Sub(begin) >= w.slot() { // the process was stopped, or the clock set: this slot is another's
				begin = w.next(now)
			}
			continue
		}
		w.log.Info("proactive recovery: starting anew", "replica", w.id, "period", w.period)
		return errRecover
	}
}

// due says whether to start anew now, within the slot that has begun. While another replica is missing that would make two. But
// whoever owns that one must not be able to prevent recoveries by hiding: half a slot is all that it can win.
func (w *watchdog) due(now, begin time.Time, linked int) bool {
	into := now.Sub(begin)
	switch {
	case into < 0 || into >= w.slot()*3/4: // too late to be done within it
		return false
	case linked == w.n-1:
		return true
	default:
		return into >= w.slot()/2
	}
}

// startAnew replaces this process by a new one of the same program, arguments and process id.
func startAnew(log *slog.Logger, ended error) error {
	if !errors.Is(ended, errRecover) {
		return ended
	}
	self, err := os.Executable()
	if err == nil {
		log.Debug("proactive recovery", "program", self, "ended", ended)
		err = syscall.Exec(self, os.Args, os.Environ())
	}
	return fmt.Errorf("proactive recovery: starting %s again: %w; start this replica by hand", self, err)
}
