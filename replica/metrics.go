package replica

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/transport"
)

// metrics are a node's counters. What the core and the links count themselves is read from them when asked for.
type metrics struct {
	executed prometheus.Counter
	queried  prometheus.Counter
	refused  *prometheus.CounterVec // by sender
	events   *prometheus.CounterVec // by pbft.TraceEvent

	storeFaults *prometheus.CounterVec // by what went wrong
	syncs       prometheus.Histogram   // seconds
}

func newMetrics() *metrics {
	return &metrics{
		executed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bfsd_operations_executed_total", Help: "Ordered operations executed, tentatively or not.",
		}),
		queried: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bfsd_operations_queried_total", Help: "Read-only operations answered without ordering.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bfsd_messages_refused_total", Help: "Messages that did not decode or did not prove their origin, by sender.",
		}, []string{"from"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bfsd_protocol_events_total", Help: "What happened in the protocol, by event.",
		}, []string{"event"}),
		storeFaults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bfsd_store_faults_total", Help: "Faults of the disk that were noticed, by what went wrong.",
		}, []string{"fault"}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bfsd_store_sync_seconds", Help: "How long it took to make a group of log records durable.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18), // 50 µs to 6.5 s
		}),
	}
}

// register makes the counters readable, and with them what the core and the links count themselves.
func (m *metrics) register(reg prometheus.Registerer, n *Node) error {
	if reg == nil {
		return nil
	}
	gauge := func(name, help string, value func(*pbft.Info) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(n.info.Load()) })
	}
	links := func(name, help string, value func(*transport.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s := n.links.Stats()
			return value(&s)
		})
	}
	report := func() Rejoin { return n.progress.report(time.Now()) }
	progress := func(name, help string, value func(Rejoin) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(report()) })
	}
	total := func(name, help string, value func(Rejoin) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return value(report()) })
	}
	collectors := []prometheus.Collector{
		m.executed, m.queried, m.refused, m.events, m.storeFaults, m.syncs,
		gauge("bfsd_view", "The view.", func(i *pbft.Info) float64 { return float64(i.View) }),
		gauge("bfsd_executed", "The last batch executed.", func(i *pbft.Info) float64 { return float64(i.Executed) }),
		gauge("bfsd_committed", "The last batch executed and committed.", func(i *pbft.Info) float64 { return float64(i.Committed) }),
		gauge("bfsd_stable", "The last stable checkpoint.", func(i *pbft.Info) float64 { return float64(i.Stable.Seq) }),
		gauge("bfsd_queued", "Requests that wait to be proposed, at the primary.", func(i *pbft.Info) float64 { return float64(i.Queued) }),
		progress("bfsd_ahead", "How far a correct replica has certainly got, as far as this one knows.", func(r Rejoin) float64 { return float64(r.Target) }),
		progress("bfsd_behind", "Batches that this replica is behind that.", func(r Rejoin) float64 { return float64(r.behind()) }),
		progress("bfsd_fetching_bytes", "Bytes of the state transfer that is under way: fetched, or here already.", func(r Rejoin) float64 { return float64(r.FetchedBytes + r.KeptBytes) }),
		progress("bfsd_fetching_size_bytes", "Bytes of the state that is being fetched, as the others say.", func(r Rejoin) float64 { return float64(r.StateBytes) }),
		total("bfsd_replayed_batches_total", "Batches executed again from this replica's own log when it started.", func(r Rejoin) float64 { return float64(r.Replayed) }),
		total("bfsd_adopted_batches_total", "Batches that others vouched for (DECIDED).", func(r Rejoin) float64 { return float64(r.Adopted) }),
		total("bfsd_state_transfers_total", "State transfers that were finished.", func(r Rejoin) float64 { return float64(r.Transfers) }),
		total("bfsd_state_transfer_bytes_total", "Bytes fetched by state transfers.", func(r Rejoin) float64 { return float64(r.TransferredBytes) }),
		gauge("bfsd_in_doubt", "1 while the replica may have forgotten what it said, and does not vote.", func(i *pbft.Info) float64 { return truth(i.Doubt) }),
		links("bfsd_links", "Links to other principals that are up.", func(s *transport.Stats) float64 { return float64(linked(s)) }),
		links("bfsd_frames_dropped", "Frames dropped at full queues.", func(s *transport.Stats) float64 {
			dropped := uint64(0)
			for _, p := range s.Peers {
				dropped += p.FramesDropped
			}
			return float64(dropped)
		}),
		links("bfsd_handshakes_refused", "Incoming connections that did not become links.", func(s *transport.Stats) float64 {
			return float64(s.HandshakesRefused + s.HandshakesLimited)
		}),
	}
	if n.store != nil {
		collectors = append(collectors, diskCollectors(n.store)...)
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering a replica's metrics: %w", err)
		}
	}
	return nil
}

// diskCollectors tell what the store takes of its disk.
func diskCollectors(s *store.Store) []prometheus.Collector {
	gauge := func(name, help string, value func(store.Usage) uint64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value(s.Usage())) })
	}
	total := func(name, help string, value func(store.Usage) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(s.Usage())) })
	}
	return []prometheus.Collector{
		gauge("bfsd_store_bytes", "What the store takes of its disk.", func(u store.Usage) uint64 { return u.Bytes }),
		gauge("bfsd_store_log_bytes", "What the log that is written ahead takes of that.", func(u store.Usage) uint64 { return u.Log }),
		gauge("bfsd_store_free_bytes", "What the store's file system has left; 0 if it does not tell.", func(u store.Usage) uint64 { return u.Free }),
		total("bfsd_store_given_bytes_total", "Bytes of log records and checkpoints that the store was given.", func(u store.Usage) uint64 { return u.Given }),
		total("bfsd_store_written_bytes_total", "Bytes written for them, rewriting included.", func(u store.Usage) uint64 { return u.Written }),
	}
}

func linked(s *transport.Stats) int {
	up := 0
	for _, p := range s.Peers {
		if p.Connected {
			up++
		}
	}
	return up
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
