package replica

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/wire"
)

// Loading follows what a replica does before it can take part: it reads its checkpoint, compares it with its certificate
// and executes its log again. With a large state that takes a while, in which somebody may want to know how far it is. The
// zero value is ready; its methods may be called on any goroutine.
type Loading struct {
	mu    sync.Mutex
	began time.Time // of Open
	how   RejoinHow
	since time.Time // when this part began
	done  uint64    // bytes of the checkpoint
	total uint64    // 0: not known
	took  time.Duration
}

// begin says that a part begins; RejoinNone ends the last one.
func (l *Loading) begin(how RejoinHow, total uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.began.IsZero() {
		l.began = now
	}
	l.how, l.since = how, now
	switch how {
	case RejoinLoading:
		l.done, l.total = 0, total
	case RejoinNone:
		l.took = now.Sub(l.began)
	default:
	}
}

func (l *Loading) add(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += uint64(bytes)
}

// pages counts what is read through it.
func (l *Loading) pages(pairs func(yield func(key, value []byte) error) error) func(yield func(key, value []byte) error) error {
	return func(yield func(key, value []byte) error) error {
		const often = 1 << 20
		gathered := 0
		err := pairs(func(key, value []byte) error {
			if gathered += len(key) + len(value); gathered >= often {
				l.add(gathered)
				gathered = 0
			}
			return yield(key, value)
		})
		l.add(gathered)
		return err
	}
}

// report adds to r what is under way, or what it took.
func (l *Loading) report(r *Rejoin, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.LoadedBytes, r.LoadMs = l.done, l.took.Milliseconds()
	if l.how == RejoinNone {
		return
	}
	r.How, r.LeftMs = l.how, -1
	r.LoadMs = now.Sub(l.began).Milliseconds()
	if l.how == RejoinLoading {
		r.StateBytes = l.total // what it says comes from a disk: it may be wrong
		r.Rate = rate(float64(l.done), now.Sub(l.since))
		if l.total > 0 {
			r.LeftMs = left(float64(l.total-min(l.total, l.done)), r.Rate)
		}
	}
}

// Status is a replica's status while it cannot be asked: before Open has returned.
func (l *Loading) Status(id wire.ReplicaID, durability string) Status {
	s := Status{ID: uint32(id), PID: os.Getpid(), Durability: durability}
	l.report(&s.Rejoin, time.Now())
	if s.Rejoin.How == RejoinNone {
		s.Rejoin.How, s.Rejoin.LeftMs = RejoinOpening, -1
	}
	s.UptimeMs = s.Rejoin.LoadMs
	return s
}

func (l *Loading) register(reg prometheus.Registerer) error {
	gauge := func(name, help string, value func(Rejoin) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			var r Rejoin
			l.report(&r, time.Now())
			return value(r)
		})
	}
	for _, c := range []prometheus.Collector{
		gauge("bfsd_loading", "1 while the replica reads its checkpoint and its log, before it can take part.", func(r Rejoin) float64 { return truth(r.How != RejoinNone) }),
		gauge("bfsd_loaded_bytes", "Bytes of the checkpoint read at the start.", func(r Rejoin) float64 { return float64(r.LoadedBytes) }),
		gauge("bfsd_loading_size_bytes", "Bytes of the checkpoint that is being read; 0 when none is, or if that is not known.", func(r Rejoin) float64 { return float64(r.StateBytes) }),
		gauge("bfsd_load_seconds", "How long the start took, or takes so far.", func(r Rejoin) float64 { return float64(r.LoadMs) / 1000 }),
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering a replica's metrics: %w", err)
		}
	}
	return nil
}
