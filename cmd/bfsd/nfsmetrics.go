package main

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"bfsd/nfs"
	"bfsd/nfs/rpc"
)

// nfsMetrics are those of an NFS front end: what users ask for, what is held for them, and what hostile or broken ones do.
type nfsMetrics struct {
	calls   *prometheus.CounterVec   // by procedure and status
	seconds *prometheus.HistogramVec // by procedure
}

func newNFSMetrics() *nfsMetrics {
	return &nfsMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bfsd_nfs_calls_total", Help: "NFS and MOUNT calls answered, by procedure and status.",
		}, []string{"procedure", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bfsd_nfs_call_seconds", Help: "How long they took, by procedure.", Buckets: prometheus.ExponentialBuckets(100e-6, 4, 9),
		}, []string{"procedure"}),
	}
}

// observe is nfs.Config.Observe.
func (m *nfsMetrics) observe(i nfs.CallInfo) {
	m.calls.WithLabelValues(i.Procedure, i.Status).Inc()
	m.seconds.WithLabelValues(i.Procedure).Observe(i.Duration.Seconds())
}

// register adds them, and what the server itself counts, to a registry.
func (m *nfsMetrics) register(reg prometheus.Registerer, s *nfs.Server) error {
	gauge := func(name, help string, value func(rpc.Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value(s.Stats())) })
	}
	all := []prometheus.Collector{
		m.calls, m.seconds,
		gauge("bfsd_nfs_connections", "Open connections of NFS clients.", func(st rpc.Stats) int { return st.Conns }),
		gauge("bfsd_nfs_calls_in_flight", "Calls that are being received, served or answered.", func(st rpc.Stats) int { return st.Calls }),
		gauge("bfsd_nfs_reserved_bytes", "Memory reserved for them.", func(st rpc.Stats) int { return st.Bytes }),
		gauge("bfsd_nfs_reserved_bulk_bytes", "Of this, what is for bulk data and shared by all connections.", func(st rpc.Stats) int { return st.Bulk }),
	}
	for _, e := range rpc.Events() {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "bfsd_nfs_events_total", Help: "What well-behaved NFS clients do not do, or what had to be done about it, by reason.",
			ConstLabels: prometheus.Labels{"reason": e.String()},
		}, func() float64 { return float64(s.Count(e)) }))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering the NFS front end's metrics: %w", err)
		}
	}
	return nil
}

const (
	connectionsMax = 1024
	// descriptorsKept is how many files and links a process may need besides its NFS clients' connections.
	descriptorsKept = 256
)

// connectionLimit is how many NFS connections this process may have, so that clients cannot take all its descriptors.
func connectionLimit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur >= connectionsMax+descriptorsKept {
		return connectionsMax
	}
	return max(16, int(l.Cur)-descriptorsKept)
}
