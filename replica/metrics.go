package replica

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/auth"
	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// metrics are a node's counters. What the core, the links and the store count themselves is read from them when asked for.
// deploy/METRICS.md documents every one of them; a test compares.
type metrics struct {
	executed    prometheus.Counter
	queried     prometheus.Counter
	refused     *prometheus.CounterVec // by sender and reason
	events      *prometheus.CounterVec // by pbft.TraceEvent
	viewChanges *prometheus.CounterVec // by pbft.Reason
	suspicions  *prometheus.CounterVec // by replica and what
	corruptions prometheus.Counter

	batchRequests, batchBytes, batchCommit prometheus.Histogram

	storeFaults *prometheus.CounterVec // by what went wrong
	syncs       prometheus.Histogram   // seconds
	checkpoints prometheus.Histogram   // seconds
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	return &metrics{
		executed:    counter("bfsd_operations_executed_total", "Ordered operations executed, tentatively or not."),
		queried:     counter("bfsd_operations_queried_total", "Read-only operations answered without ordering."),
		refused:     vector("bfsd_messages_refused_total", "Messages refused, by sender and reason.", "from", "reason"),
		events:      vector("bfsd_protocol_events_total", "What happened in the protocol, by event.", "event"),
		viewChanges: vector("bfsd_view_changes_total", "Views that this replica left, by reason.", "reason"),
		suspicions:  vector("bfsd_suspicions_total", "What other replicas did that a correct one does not, by replica.", "replica", "what"),
		corruptions: counter("bfsd_state_corruptions_total", "Times that this replica's own state differed from what 2f+1 announced, and was fetched anew."),

		batchRequests: histogram("bfsd_batch_requests", "Requests in a proposed batch.", prometheus.ExponentialBuckets(1, 2, 8)),
		batchBytes:    histogram("bfsd_batch_bytes", "Size of a PRE-PREPARE message.", prometheus.ExponentialBuckets(256, 4, 8)),
		batchCommit:   histogram("bfsd_batch_commit_seconds", "Time from a batch's PRE-PREPARE until it committed here.", prometheus.ExponentialBuckets(100e-6, 2, 17)),

		storeFaults: vector("bfsd_store_faults_total", "Faults of the disk that were noticed, by what went wrong.", "fault"),
		syncs:       histogram("bfsd_store_sync_seconds", "How long it took to make a group of log records durable.", prometheus.ExponentialBuckets(50e-6, 2, 18)), // 50 µs to 6.5 s
		checkpoints: histogram("bfsd_checkpoint_write_seconds", "How long it took to make a stable checkpoint durable.", prometheus.ExponentialBuckets(1e-3, 2, 16)),
	}
}

// The reasons for which a message is refused.
const (
	refusedMalformed  = "malformed"  // it does not decode
	refusedUnverified = "unverified" // its origin is not proven
	refusedForbidden  = "forbidden"  // its sender may not ask for this
	refusedKey        = "old_key"    // it was made with a key that was replaced before its place in the order
)

func refusalReason(err error) string {
	if errors.Is(err, auth.ErrUnverified) {
		return refusedUnverified
	}
	return refusedMalformed
}

// label is a name as Prometheus writes labels' values.
func label(name string) string { return strings.ReplaceAll(name, " ", "_") }

// prime makes the counters that alerts look at exist before they first count: what was never there cannot increase.
func (m *metrics) prime(n *Node) {
	for _, e := range pbft.TraceEvents() {
		m.events.WithLabelValues(label(e.String()))
	}
	for _, r := range pbft.Reasons() {
		m.viewChanges.WithLabelValues(r.String())
	}
	for _, p := range n.peers {
		for _, what := range suspicionKinds() {
			m.suspicions.WithLabelValues(strconv.FormatUint(uint64(p.ID), 10), what)
		}
		for _, reason := range []string{refusedMalformed, refusedUnverified} {
			m.refused.WithLabelValues(p.String(), reason)
		}
	}
	m.storeFaults.WithLabelValues("slow_sync")
}

// register makes the counters readable, and with them what the core, the links and the store count themselves.
func (m *metrics) register(reg prometheus.Registerer, n *Node) error {
	if reg == nil {
		return nil
	}
	m.prime(n)
	all := []prometheus.Collector{
		m.executed, m.queried, m.refused, m.events, m.viewChanges, m.suspicions, m.corruptions,
		m.batchRequests, m.batchBytes, m.batchCommit, m.storeFaults, m.syncs, m.checkpoints,
		linkCollector{n},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bfsd_replica_info", Help: "Always 1; who this replica is.",
			ConstLabels: prometheus.Labels{"replica": fmt.Sprint(n.self), "durability": string(n.cluster.Durability)},
		}, func() float64 { return 1 }),
	}
	if n.keys.service != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bfsd_client_keys_replaced", Help: "Clients that have a key by an operator's order.",
		}, n.keys.count))
	}
	all = append(all, n.coreMetrics()...)
	all = append(all, n.progressMetrics()...)
	if n.store != nil {
		all = append(all, diskCollectors(n.store)...)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering a replica's metrics: %w", err)
		}
	}
	return nil
}

// coreMetrics are what the core says of itself.
func (n *Node) coreMetrics() []prometheus.Collector {
	gauge := func(name, help string, value func(*pbft.Info) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(n.info.Load()) })
	}
	return []prometheus.Collector{
		gauge("bfsd_view", "The view.", func(i *pbft.Info) float64 { return float64(i.View) }),
		gauge("bfsd_view_active", "1 in normal operation, 0 between leaving a view and the start of the next.", func(i *pbft.Info) float64 { return truth(i.Active) }),
		gauge("bfsd_primary_id", "The number of the view's primary.", func(i *pbft.Info) float64 { return float64(i.Primary) }),
		gauge("bfsd_is_primary", "1 if that is this replica.", func(i *pbft.Info) float64 { return truth(i.Primary == n.self) }),
		gauge("bfsd_executed_sequence", "The last batch executed, tentatively or not.", func(i *pbft.Info) float64 { return float64(i.Executed) }),
		gauge("bfsd_committed_sequence", "The last batch executed and committed.", func(i *pbft.Info) float64 { return float64(i.Committed) }),
		gauge("bfsd_stable_sequence", "The last stable checkpoint.", func(i *pbft.Info) float64 { return float64(i.Stable.Seq) }),
		gauge("bfsd_window_low_sequence", "The low water mark h.", func(i *pbft.Info) float64 { return float64(i.Low) }),
		gauge("bfsd_window_high_sequence", "The high water mark H.", func(i *pbft.Info) float64 { return float64(i.High) }),
		gauge("bfsd_in_flight_batches", "Batches proposed and not executed, at the primary.", func(i *pbft.Info) float64 { return float64(i.InFlight) }),
		gauge("bfsd_queued_requests", "Requests that wait to be proposed, at the primary.", func(i *pbft.Info) float64 { return float64(i.Queued) }),
		gauge("bfsd_waiting_requests", "Requests that run the view-change timer.", func(i *pbft.Info) float64 { return float64(i.Waiting) }),
		gauge("bfsd_in_doubt", "1 while the replica may have forgotten what it said, and does not vote.", func(i *pbft.Info) float64 { return truth(i.Doubt) }),
	}
}

// progressMetrics tell how the replica comes up to the others.
func (n *Node) progressMetrics() []prometheus.Collector {
	report := func() Rejoin { return n.progress.report(time.Now()) }
	gauge := func(name, help string, value func(Rejoin) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(report()) })
	}
	total := func(name, help string, value func(Rejoin) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return value(report()) })
	}
	return []prometheus.Collector{
		gauge("bfsd_ahead_sequence", "How far a correct replica has certainly got, as far as this one knows.", func(r Rejoin) float64 { return float64(r.Target) }),
		gauge("bfsd_behind_batches", "Batches that this replica is behind that.", func(r Rejoin) float64 { return float64(r.behind()) }),
		gauge("bfsd_state_transfer_fetched_bytes", "Bytes of the state transfer under way: fetched, or here already.", func(r Rejoin) float64 { return float64(r.FetchedBytes + r.KeptBytes) }),
		gauge("bfsd_state_transfer_size_bytes", "Bytes of the state that is being fetched, as the others say; 0 while none is.", func(r Rejoin) float64 { return float64(r.StateBytes) }),
		total("bfsd_replayed_batches_total", "Batches executed again from this replica's own log when it started.", func(r Rejoin) float64 { return float64(r.Replayed) }),
		total("bfsd_adopted_batches_total", "Batches that others vouched for (DECIDED).", func(r Rejoin) float64 { return float64(r.Adopted) }),
		total("bfsd_state_transfers_total", "State transfers that were finished.", func(r Rejoin) float64 { return float64(r.Transfers) }),
		total("bfsd_state_transfer_bytes_total", "Bytes fetched by state transfers.", func(r Rejoin) float64 { return float64(r.TransferredBytes) }),
	}
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

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// proposals remembers when the batches in flight were proposed. The loop alone uses it.
type proposals [64]struct {
	seq  wire.Seq
	view wire.View
	at   time.Time
}

// proposed notes a PRE-PREPARE, sent or received, the first time.
func (n *Node) proposed(m *wire.PrePrepare, bytes int) {
	p := &n.proposals[m.Seq%wire.Seq(len(n.proposals))]
	if p.seq == m.Seq && p.view == m.View || m.Seq <= n.info.Load().Committed {
		return
	}
	p.seq, p.view, p.at = m.Seq, m.View, time.Now()
	n.metrics.batchRequests.Observe(float64(len(m.Batch().Requests)))
	n.metrics.batchBytes.Observe(float64(bytes))
}

// decided notes that a batch committed.
func (n *Node) decided(seq wire.Seq) {
	if p := &n.proposals[seq%wire.Seq(len(n.proposals))]; p.seq == seq && !p.at.IsZero() {
		took := time.Since(p.at)
		n.metrics.batchCommit.Observe(took.Seconds())
		n.load.commits++
		n.load.commitTime += took
		p.at = time.Time{}
	}
}
