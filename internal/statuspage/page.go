package statuspage

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"bfsd/replica"
	"bfsd/replica/config"
)

// Config says who serves the page, and of what.
type Config struct {
	Cluster *config.Cluster
	Name    string       // who serves it, such as "gateway-100"
	Log     *slog.Logger // nil: slog.Default()
	Calls   *Load        // of this process's own front end; nil: it has none
	Fetch   Fetch        // nil: by HTTP from the replicas' status addresses
}

//go:embed static
var static embed.FS

// policy is the page's Content-Security-Policy: its own script and style, data from its own address, nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at /, and what it is made of.
func Handler(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	g := newGatherer(cfg)
	mux := http.NewServeMux()
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic("statuspage: the embedded files are not there: " + err.Error())
	}
	for path, file := range map[string]struct{ name, kind string }{
		"/{$}": {"index.html", "text/html; charset=utf-8"}, "/page.css": {"page.css", "text/css; charset=utf-8"},
		"/page.js": {"page.js", "text/javascript; charset=utf-8"}, "/draw.js": {"draw.js", "text/javascript; charset=utf-8"}, "/icon.svg": {"icon.svg", "image/svg+xml"},
	} {
		content, err := fs.ReadFile(files, file.name)
		if err != nil {
			panic("statuspage: an embedded file is not there: " + err.Error())
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind)
			_, _ = w.Write(content) // who has gone need not read it
		})
	}
	mux.HandleFunc("GET /api/cluster", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(g.picture(r.Context())); err != nil {
			cfg.Log.Debug("the cluster's picture was not sent", "to", r.RemoteAddr, "err", err)
		}
	})
	return guarded(mux, hostNames(cfg.Cluster))
}

// Source is a replica that tells what it knows.
type Source interface {
	Watch(ctx context.Context) (replica.Report, error)
}

// ServeReport serves what one replica knows, at /api/replica: it is what those who serve the page ask each replica for.
func ServeReport(node Source, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report, err := node.Watch(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(report); err != nil {
			log.Debug("report not sent", "to", r.RemoteAddr, "err", err)
		}
	})
}

// guarded sets the headers that keep a browser from doing anything with the page but show it, and refuses requests that name
// another host: a name that somebody had resolve to this address, to read the page through a visitor's browser.
func guarded(next http.Handler, names map[string]bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !hostAllowed(r.Host, names) {
			http.Error(w, "this page is served by its address, not by that name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostNames are the names that cluster.toml uses.
func hostNames(cluster *config.Cluster) map[string]bool {
	names := map[string]bool{"localhost": true}
	for _, r := range cluster.Replicas {
		for _, addr := range []string{r.Peer, r.NFS, r.Status} {
			if host, _, err := net.SplitHostPort(addr); err == nil {
				names[strings.ToLower(host)] = true
			}
		}
	}
	return names
}

// hostAllowed takes IP addresses, which nobody can have resolve to something else, and known names.
func hostAllowed(host string, names map[string]bool) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return names[host]
}
