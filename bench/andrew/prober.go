package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// probing is what a prober saw. Times are in seconds.
type probing struct {
	Calls   int     `json:"calls"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Longest float64 `json:"longest"`
}

// prober is a user who writes a few bytes at regular times and waits until they are safe, beside the workload: the kernel's
// client hides pauses behind its caches, and a workload that reads does not notice that writes stand still.
type prober struct {
	client *nfsclient.Client
	file   nfs3.FH
	cancel context.CancelFunc
	ended  chan error
	took   []time.Duration
}

const probeFile = "probe"

// startProber begins to write to a server.
func startProber(ctx context.Context, s *server, interval time.Duration) (*prober, error) {
	client, root, err := s.library(ctx)
	if err != nil {
		return nil, err
	}
	p := &prober{client: client, ended: make(chan error, 1)}
	if p.file, err = client.WriteFile(ctx, root, probeFile, nil, 0o644); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	probing, cancel := context.WithCancel(ctx)
	p.cancel = cancel
	go func() { p.ended <- p.run(ctx, probing, interval) }()
	return p, nil
}

// run writes until probing ends; a call that is under way then is waited for, under ctx.
func (p *prober) run(ctx, probing context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		start := time.Now()
		if err := p.client.WriteAt(ctx, p.file, 0, probeText(len(p.took))); err != nil {
			return fmt.Errorf("call %d of the prober: %w", len(p.took), err)
		}
		p.took = append(p.took, time.Since(start))
		select {
		case <-tick.C:
		case <-probing.Done():
			return nil
		}
	}
}

func probeText(i int) []byte { return fmt.Appendf(nil, "%016d", i) }

// stop ends the prober, and checks that what it wrote last is what the server has.
func (p *prober) stop(ctx context.Context) (r probing, err error) {
	p.cancel()
	defer func() { err = errors.Join(err, p.client.Close()) }()
	if err := <-p.ended; err != nil {
		return r, err
	}
	data, err := p.client.ReadFile(ctx, p.file)
	if err != nil {
		return r, fmt.Errorf("read what the prober wrote: %w", err)
	}
	if want := probeText(len(p.took) - 1); string(data) != string(want) {
		return r, fmt.Errorf("the prober's file has %q; %q was written last", data, want)
	}
	slices.Sort(p.took)
	at := func(share float64) float64 { return p.took[int(share*float64(len(p.took)-1))].Seconds() }
	return probing{Calls: len(p.took), P50: at(0.5), P99: at(0.99), Longest: at(1)}, nil
}
