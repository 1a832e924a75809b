package replica

import (
	"fmt"
	"sync"
	"time"

	"bfsd/replica/store"
)

// storeFailed stops the node because it cannot write its store: what it promises from now on it could not keep.
func (n *Node) storeFailed(err error) {
	fault, advice := store.Explain(err)
	n.metrics.storeFaults.WithLabelValues(label(fault)).Inc()
	n.log.Error("the store cannot be written; the replica stops", "replica", n.self, "fault", fault, "err", err)
	n.fatal(fmt.Sprintf("%v; %s", err, advice))
}

// watchSync reports a sync that takes long, while it still does: one that hangs makes a replica silent, and somebody should
// know why. The caller calls the function it returns when the sync has ended.
func (n *Node) watchSync() (ended func()) {
	began := time.Now()
	slow := time.AfterFunc(store.SlowSync, func() {
		n.metrics.storeFaults.WithLabelValues("slow_sync").Inc()
		n.log.Warn("the disk is slow: a sync is taking long, and nothing leaves this replica before it ends", "replica", n.self, "so far", time.Since(began))
	})
	return func() {
		took := time.Since(began)
		n.metrics.syncs.Observe(took.Seconds())
		n.syncs.took(took)
		if !slow.Stop() {
			n.log.Warn("the slow sync has ended", "replica", n.self, "took", took)
		}
	}
}

// syncTimes remembers how long the disk takes.
type syncTimes struct {
	mu      sync.Mutex
	recent  time.Duration // a mean in which the last ones count most
	longest time.Duration
}

// syncMemory is how many syncs the mean is of, about.
const syncMemory = 32

func (s *syncTimes) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.longest == 0 {
		s.recent = d
	}
	s.recent += (d - s.recent) / syncMemory
	s.longest = max(s.longest, d)
}

func (s *syncTimes) get() (recent, longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent, s.longest
}
