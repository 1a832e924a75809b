package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"bfsd/internal/kernelclient"
)

// run starts the target, attaches the client, runs the phases under the fault, verifies, and takes everything down again.
func (b *benchmark) run(ctx context.Context, o *observation, t trial, tell func(mark)) (err error) {
	s, srv, detach, err := b.attach(ctx, o, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, detach()) }()
	if t.target.name != targetBFS {
		return b.work(ctx, o, s, srv, tell)
	}
	i, err := inject(ctx, srv, t.fault, b.workload.kind().struck)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.release()) }()
	b.settings = i.cluster.settings
	return b.workUnder(ctx, o, s, srv, i, tell)
}

// work runs the workload and verifies it.
func (b *benchmark) work(ctx context.Context, o *observation, s session, srv *server, tell func(mark)) error {
	if err := b.measure(ctx, o, s, srv, tell); err != nil {
		return err
	}
	return b.verify(ctx, o, s)
}

// workUnder is work while something is wrong with the cluster, and compares the correct replicas' states in the end.
func (b *benchmark) workUnder(ctx context.Context, o *observation, s session, srv *server, i *injection, tell func(mark)) error {
	err := b.measure(ctx, o, s, srv, func(m mark) {
		i.tell(m)
		tell(m)
	})
	if err = errors.Join(err, i.finish()); err != nil {
		return err
	}
	if err := b.verify(ctx, o, s); err != nil {
		return err
	}
	o.Verified = false // until the states were compared, too
	if err := i.compare(ctx, o); err != nil {
		return err
	}
	o.Verified = true
	return nil
}

// measure runs the workload, with a prober beside it where faults are measured.
func (b *benchmark) measure(ctx context.Context, o *observation, s session, srv *server, tell func(mark)) error {
	var p *prober
	if srv != nil && b.probes() {
		var err error
		if p, err = startProber(ctx, srv, b.options.Probe); err != nil {
			return err
		}
	}
	m, err := s.Run(ctx, b.workload, tell)
	if p != nil {
		probe, probeErr := p.stop(ctx)
		err = errors.Join(err, probeErr)
		o.Probe = &probe
	}
	if err != nil {
		return err
	}
	o.measurement = *m
	if o.Probe != nil && o.Probe.Longest > o.LongestPause {
		o.LongestPause, o.LongestPauseOp = o.Probe.Longest, "prober's write"
	}
	return nil
}

// probes says whether a prober runs beside all workloads: beside those without a fault too, for they are compared.
func (b *benchmark) probes() bool {
	for _, f := range b.faults {
		if f.name != faultNone {
			return b.options.Probe > 0
		}
	}
	return false
}

func (b *benchmark) verify(ctx context.Context, o *observation, s session) error {
	v, err := s.Verify(ctx, b.workload)
	if err != nil {
		return err
	}
	o.Verified, o.VerifiedFiles, o.VerifiedBytes = true, v.Files, v.Bytes
	return nil
}

// attach starts what the target needs and connects the client to it; detach undoes both. There is no server where a path is
// measured.
func (b *benchmark) attach(ctx context.Context, o *observation, t trial) (s session, srv *server, detach func() error, err error) {
	if isPath(t.target.name) {
		o.Kernel = "native"
		s, err := newPathSession(strings.TrimPrefix(t.target.name, targetPathPrefix), b.options.Keep)
		if err != nil {
			return nil, nil, nil, err
		}
		return s, nil, func() error { return s.Close(ctx) }, nil
	}
	l, err := b.place(ctx, o.Client, t.target)
	if err != nil {
		return nil, nil, nil, err
	}
	start := time.Now()
	if srv, err = b.startServer(ctx, l, t); err != nil {
		return nil, nil, nil, err
	}
	o.StartSeconds = time.Since(start).Seconds()
	if o.Client == clientKernel {
		o.Kernel = string(b.kernel.guest.Kind())
		s, err = b.kernel.session(ctx, srv)
	} else {
		s = &librarySession{srv}
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, srv.stop())
	}
	return s, srv, func() error { return errors.Join(s.Close(ctx), srv.stop()) }, nil
}

// place makes what is needed where a target runs: a private network if its client is a kernel's, with that client, or if it
// wants one.
func (b *benchmark) place(ctx context.Context, client string, t target) (l launcher, err error) {
	if client != clientKernel && !t.private {
		return localLauncher(), nil
	}
	if b.network == nil {
		if b.network, err = kernelclient.NewNetwork(ctx); err != nil {
			return l, err
		}
	}
	if client == clientKernel && b.kernel == nil {
		if b.kernel, err = newKernelClient(ctx, b.network, b.options.MemoryMiB, b.workload); err != nil {
			return l, err
		}
	}
	return networkLauncher(b.network), nil
}

// closeNetwork ends the private network and the machines in it.
func (b *benchmark) closeNetwork() error {
	network := b.network
	b.network, b.kernel = nil, nil
	if network == nil {
		return nil
	}
	return network.Close()
}
