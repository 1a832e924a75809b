package main

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/client"
	"bfsd/replica/wire"
)

// clientCollector tells what a front end's client knows of the group, from one look at its counters.
type clientCollector struct{ client *client.Client }

// clientMetrics describe the collector's metrics: a table.
var clientMetrics = struct {
	view, slots, used, waiting, started, completed, reads, ordered, retransmissions, missing, late, replies, up *prometheus.Desc
}{
	view:            prometheus.NewDesc("bfsd_client_view", "The view that f+1 replicas at least have reached.", nil, nil),
	slots:           prometheus.NewDesc("bfsd_client_slots", "Operations that this front end may have in flight.", nil, nil),
	used:            prometheus.NewDesc("bfsd_client_slots_in_use", "Operations in flight.", nil, nil),
	waiting:         prometheus.NewDesc("bfsd_client_calls_waiting", "Operations that wait for a slot.", nil, nil),
	started:         prometheus.NewDesc("bfsd_client_calls_started_total", "Operations sent to the group.", nil, nil),
	completed:       prometheus.NewDesc("bfsd_client_calls_completed_total", "Operations that have their result.", nil, nil),
	reads:           prometheus.NewDesc("bfsd_client_reads_total", "Operations tried without ordering.", nil, nil),
	ordered:         prometheus.NewDesc("bfsd_client_reads_ordered_total", "Of these, ordered in the end: writes went on, or replicas disagreed.", nil, nil),
	retransmissions: prometheus.NewDesc("bfsd_client_retransmissions_total", "Requests sent again after a timeout.", nil, nil),
	missing:         prometheus.NewDesc("bfsd_client_results_missing_total", "Operations whose designated replier did not send the result that a quorum agreed on.", nil, nil),
	late:            prometheus.NewDesc("bfsd_client_late_replies_total", "Replies that came after the result: the normal fate of the slowest.", nil, nil),
	replies:         prometheus.NewDesc("bfsd_client_replies_total", "Replies compared with the result, by replica and outcome: matched, mismatched, read_differed or invalid.", []string{"replica", "outcome"}, nil),
	up:              prometheus.NewDesc("bfsd_client_link_up", "1 while this front end has a link to the replica.", []string{"replica"}, nil),
}

// Describe implements prometheus.Collector.
func (clientCollector) Describe(out chan<- *prometheus.Desc) {
	m := &clientMetrics
	for _, d := range []*prometheus.Desc{
		m.view, m.slots, m.used, m.waiting, m.started, m.completed, m.reads, m.ordered, m.retransmissions, m.missing, m.late, m.replies, m.up,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c clientCollector) Collect(out chan<- prometheus.Metric) {
	m, s := &clientMetrics, c.client.Stats()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(m.view, float64(s.View))
	gauge(m.slots, float64(s.Slots))
	gauge(m.used, float64(s.InFlight))
	gauge(m.waiting, float64(s.Waiting))
	counter(m.started, s.Invoked)
	counter(m.completed, s.Completed)
	counter(m.reads, s.Reads)
	counter(m.ordered, s.Fallbacks)
	counter(m.retransmissions, s.Retransmissions)
	counter(m.missing, s.MissingResults)
	counter(m.late, s.LateReplies)
	for i, r := range s.Replicas {
		id := strconv.Itoa(i)
		counter(m.replies, r.Matched, id, "matched")
		counter(m.replies, r.Contradicted, id, "mismatched")
		counter(m.replies, r.ReadsDiffered, id, "read_differed")
		counter(m.replies, r.FaultyReplies, id, "invalid")
		up := 0.0
		if c.client.Transport().Connected(replicaPrincipal(wire.ReplicaID(i))) {
			up = 1
		}
		gauge(m.up, up, id)
	}
}

// registerClient adds a front end's client to a registry.
func registerClient(reg prometheus.Registerer, c *client.Client) error {
	if err := reg.Register(clientCollector{c}); err != nil {
		return fmt.Errorf("registering the client's metrics: %w", err)
	}
	return nil
}
