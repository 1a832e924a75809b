package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bfsd/replica"
	"bfsd/replica/wire"
)

// statusPage is what a person sees at a replica's status address.
var statusPage = template.Must(template.New("status").Funcs(template.FuncMap{"disk": describeDisk}).Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>bfsd replica {{.ID}}</title>
<style>body{font:16px system-ui;margin:2em;max-width:60em}td,th{text-align:left;padding:.2em 1em .2em 0}code{word-break:break-all}</style>
<h1>Replica {{.ID}}</h1>
<table>
<tr><th>Process<td>{{.PID}}
<tr><th>View<td>{{.View}} (primary: replica {{.Primary}})
<tr><th>Executed<td>{{.Executed}}
<tr><th>Committed<td>{{.Committed}}
<tr><th>Stable checkpoint<td>{{.Stable}}
<tr><th>Root<td><code>{{if .Fetching}}being fetched{{else if .Rejoin.How.Starting}}not loaded yet{{else}}{{.Root}}{{end}}</code>
<tr><th>Compared with the others<td>{{.Rejoin}}
<tr><th>Durability<td>{{.Durability}}
{{with .Disk}}<tr><th>Disk<td>{{disk .}}
{{end}}<tr><th>Linked replicas<td>{{.Peers}}
</table>
<p>This replica's own word; compare it with the others'. Also here: <a href="/status">/status</a> (JSON), <a href="/metrics">/metrics</a> (Prometheus).
`))

// describeDisk tells a person what a replica takes of its disk.
func describeDisk(d *replica.DiskUse) string {
	text := fmt.Sprintf("%s, of which the log takes %s", formatBytes(d.Bytes), formatBytes(d.LogBytes))
	if d.FreeBytes > 0 {
		text += fmt.Sprintf("; %s are free", formatBytes(d.FreeBytes))
	}
	if d.SyncLongestMs > 0 {
		text += fmt.Sprintf("; a sync takes %.1f ms, %.1f ms at most", d.SyncMs, d.SyncLongestMs)
	}
	if d.GivenBytes > 0 {
		text += fmt.Sprintf("; %.2f bytes written for each byte to be kept", float64(d.WrittenBytes)/float64(d.GivenBytes))
	}
	return text
}

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

// serveStatus serves a replica's status page, its status as JSON and its metrics until ctx ends.
func serveStatus(ctx context.Context, l net.Listener, node *statusSource, metrics *prometheus.Registry, log *slog.Logger) error {
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
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, err := node.Status(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := statusPage.Execute(w, s); err != nil {
			log.Debug("status page not sent", "to", r.RemoteAddr, "err", err)
		}
	})
	mux.Handle("GET /metrics", metricsHandler(metrics))
	return serveHTTP(ctx, l, mux, log)
}

func metricsHandler(metrics *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// serveMetrics serves metrics alone until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, metrics *prometheus.Registry, log *slog.Logger) error {
	mux := http.NewServeMux()
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
