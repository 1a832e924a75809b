package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"bfsd/replica"
)

// Fetch gets one replica's report.
type Fetch func(ctx context.Context, id int) (replica.Report, error)

const (
	reportBytesMax = 2 << 20                // of a replica's answer: flows of a large group are some hundred KiB
	askTimeout     = time.Second            // a replica that takes longer is shown as not answering
	freshFor       = 500 * time.Millisecond // many who look cost the replicas no more than one
)

// gatherer asks all replicas, at most so often.
type gatherer struct {
	cfg Config

	mu    sync.Mutex // held while asking: others wait for the same answer
	asked time.Time
	last  Picture
}

func newGatherer(cfg Config) *gatherer {
	if cfg.Fetch == nil {
		cfg.Fetch = overHTTP(cfg)
	}
	return &gatherer{cfg: cfg}
}

// answer is what came of asking a replica.
type answer struct {
	report replica.Report
	err    error
}

func (g *gatherer) picture(ctx context.Context) Picture {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.asked) < freshFor {
		return g.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout) // the answer is for others, too
	defer cancel()
	answers := make([]answer, g.cfg.Cluster.N())
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i].report, answers[i].err = g.cfg.Fetch(ctx, i) })
	}
	wg.Wait()
	g.last = draw(g.cfg.Cluster.F(), answers, time.Now())
	g.last.Server = g.cfg.Name
	if g.cfg.Calls != nil {
		g.last.Calls = g.cfg.Calls.Samples()
	}
	g.asked = time.Now()
	return g.last
}

// overHTTP asks at the status addresses in cluster.toml.
func overHTTP(cfg Config) Fetch {
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: askTimeout}).DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it sends us elsewhere") },
	}
	return func(ctx context.Context, id int) (report replica.Report, err error) {
		addr := cfg.Cluster.Replicas[id].Status
		if addr == "" {
			return report, errors.New("it has no status address in cluster.toml")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/replica", nil)
		if err != nil {
			return report, err
		}
		resp, err := client.Do(req)
		if err != nil {
			var where *url.Error // the address is said already
			if errors.As(err, &where) {
				err = where.Err
			}
			return report, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return report, fmt.Errorf("it answers %s", resp.Status)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, reportBytesMax+1))
		if err != nil {
			return report, err
		}
		if len(body) > reportBytesMax {
			return report, fmt.Errorf("its answer is longer than %d bytes", reportBytesMax)
		}
		if err := json.Unmarshal(body, &report); err != nil {
			return report, fmt.Errorf("its answer is none: %w", err)
		}
		return report, nil
	}
}
