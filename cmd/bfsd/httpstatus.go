package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bfsd/internal/statuspage"
	"bfsd/replica"
	"bfsd/replica/wire"
)

// statusSource says how a replica is: how its start goes, and then what the node itself says.
type statusSource struct {
	id         wire.ReplicaID
	durability string
	loading    replica.Loading
	node       atomic.Pointer[replica.Node] // nil: it is not open yet
}

// Status implements what the status page asks.
func (s *statusSource) Status(ctx context.Context) (replica.Status, error) {
	if node := s.node.Load(); node != nil {
		return node.Status(ctx)
	}
	return s.loading.Status(s.id, s.durability), nil
}

// Watch implements statuspage.Source.
func (s *statusSource) Watch(ctx context.Context) (replica.Report, error) {
	if node := s.node.Load(); node != nil {
		return node.Watch(ctx)
	}
	status, err := s.Status(ctx)
	return replica.Report{Status: status}, err
}

// serveStatus serves the status page, the replica's status as JSON and its metrics until ctx ends.
func serveStatus(ctx context.Context, l net.Listener, node *statusSource, page http.Handler, metrics *prometheus.Registry, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := node.Status(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s); err != nil {
			log.Debug("status not sent", "to", r.RemoteAddr, "err", err)
		}
	})
	mux.Handle("GET /api/replica", statuspage.ServeReport(node, log))
	mux.Handle("/", page)
	mux.Handle("GET /metrics", metricsHandler(metrics))
	return serveHTTP(ctx, l, mux, log)
}

func metricsHandler(metrics *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// servePage serves the status page and metrics of a process that is no replica until ctx ends.
func servePage(ctx context.Context, l net.Listener, page http.Handler, metrics *prometheus.Registry, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("GET /metrics", metricsHandler(metrics))
	return serveHTTP(ctx, l, mux, log)
}

func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the status page on %s: %w", l.Addr(), err)
	}
	return nil
}
