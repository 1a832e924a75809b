package replica

import (
	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

// linkCollector tells of a node's links, from one look at them. The replicas are told apart; clients, of whom there may be a
// thousand, are one.
type linkCollector struct{ node *Node }

// linkMetrics describe the collector's metrics: tables, which never change.
var linkMetrics = struct{ up, dropped, lost, bytes, queued, handshakes, clients, clientsLinked *prometheus.Desc }{
	up:            prometheus.NewDesc("bfsd_link_up", "1 while there is a link to the replica.", []string{"peer"}, nil),
	dropped:       prometheus.NewDesc("bfsd_link_frames_dropped_total", "Frames dropped at a full queue, by peer.", []string{"peer"}, nil),
	lost:          prometheus.NewDesc("bfsd_link_frames_lost_total", "Frames lost because their link broke, by peer.", []string{"peer"}, nil),
	bytes:         prometheus.NewDesc("bfsd_link_bytes_total", "Bytes of messages, by peer and direction.", []string{"peer", "direction"}, nil),
	queued:        prometheus.NewDesc("bfsd_link_queued_bytes", "Bytes of messages that wait for their link, by peer.", []string{"peer"}, nil),
	handshakes:    prometheus.NewDesc("bfsd_handshakes_refused_total", "Incoming connections that did not become links, by reason.", []string{"reason"}, nil),
	clients:       prometheus.NewDesc("bfsd_clients", "Clients that may send operations: replicas' own front ends, gateways, backup and operator keys.", nil, nil),
	clientsLinked: prometheus.NewDesc("bfsd_clients_linked", "Of them, those with a link to this replica.", nil, nil),
}

// Describe implements prometheus.Collector.
func (linkCollector) Describe(out chan<- *prometheus.Desc) {
	m := &linkMetrics
	for _, d := range []*prometheus.Desc{m.up, m.dropped, m.lost, m.bytes, m.queued, m.handshakes, m.clients, m.clientsLinked} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c linkCollector) Collect(out chan<- prometheus.Metric) {
	m := &linkMetrics
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	stats := c.node.links.Stats()
	each := func(name string, p *transport.PeerStats) {
		counter(m.dropped, p.FramesDropped, name)
		counter(m.lost, p.FramesLost, name)
		counter(m.bytes, p.BytesIn, name, "in")
		counter(m.bytes, p.BytesOut, name, "out")
		gauge(m.queued, float64(p.BytesQueued), name)
	}
	var clients transport.PeerStats
	known, linked := 0, 0
	for i := range stats.Peers {
		p := &stats.Peers[i]
		if p.Peer.Role == wire.RoleReplica {
			gauge(m.up, truth(p.Connected), p.Peer.String())
			each(p.Peer.String(), p)
			continue
		}
		known++
		if p.Connected {
			linked++
		}
		clients.FramesDropped += p.FramesDropped
		clients.FramesLost += p.FramesLost
		clients.BytesIn += p.BytesIn
		clients.BytesOut += p.BytesOut
		clients.BytesQueued += p.BytesQueued
	}
	each("clients", &clients)
	gauge(m.clients, float64(known))
	gauge(m.clientsLinked, float64(linked))
	counter(m.handshakes, stats.HandshakesRefused, "refused")
	counter(m.handshakes, stats.HandshakesLimited, "limited")
}
