package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// injection is one fault in one run.
type injection struct {
	fault   fault
	cluster *cluster
	struck  phase
	whole   context.Context // the run's; a strike's own ends with the workload
	lost    []int           // replicas that are faulty to the end
	absent  how             // a replica that is to come back
	view    uint64          // before the run

	started bool // the strike
	ctx     context.Context
	cancel  context.CancelFunc
	ended   chan error

	count     int // of restarts or view changes
	recovered time.Duration
}

// inject prepares the fault. The caller must call release.
func inject(ctx context.Context, s *server, f fault, struck phase) (*injection, error) {
	k, err := newCluster(s)
	if err != nil {
		return nil, err
	}
	i := &injection{fault: f, cluster: k, struck: struck, whole: ctx, ended: make(chan error, 1)}
	i.ctx, i.cancel = context.WithCancel(ctx)
	if f.lost != nil {
		i.lost = f.lost(k.n())
	}
	i.view, err = k.view(ctx)
	if err == nil && f.begin != nil {
		err = f.begin(ctx, i)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fault %s: %w", f.name, err), i.release())
	}
	return i, nil
}

// lose marks a replica as faulty to the end. A strike may call it, since it is over before the marks are read.
func (i *injection) lose(id int) { i.lost = append(i.lost, id) }

// tell starts the strike when the workload is where it happens. It does not wait for it.
func (i *injection) tell(m mark) {
	if i.fault.strike == nil || i.started || m != (mark{i.struck, phaseMiddle}) {
		return
	}
	i.started = true
	go func() { i.ended <- i.fault.strike(i.ctx, i) }()
}

// finish ends the strike, once the workload is over.
func (i *injection) finish() error {
	i.cancel()
	if i.fault.strike == nil {
		return nil
	}
	if !i.started {
		return fmt.Errorf("fault %s: the workload never came to the middle of %s", i.fault.name, i.struck)
	}
	err := <-i.ended
	i.started = false
	if err != nil {
		return fmt.Errorf("fault %s: %w", i.fault.name, err)
	}
	return nil
}

// compare waits until the correct replicas have one state, and writes into o what became of the fault.
func (i *injection) compare(ctx context.Context, o *observation) error {
	view, err := i.cluster.view(ctx)
	if err != nil {
		return err
	}
	o.ViewChanges = view - i.view
	o.FaultCount, o.Recovered = i.count, i.recovered.Seconds()
	o.ReplicasEqual, err = i.cluster.awaitEqual(ctx, i.lost)
	return err
}

// release ends the strike if it goes on, and stops what was started for the fault.
func (i *injection) release() error {
	var err error
	if i.started {
		err = i.finish()
	}
	i.cancel()
	return errors.Join(err, i.cluster.stop())
}

// comeBack starts a replica again and waits until it has the state, also past the end of the workload.
func (i *injection) comeBack(id int, h how) error {
	start := time.Now()
	if err := i.cluster.restart(i.whole, id, h); err != nil {
		return err
	}
	if err := i.cluster.awaitCaughtUp(i.whole, id); err != nil {
		return err
	}
	i.recovered = max(i.recovered, time.Since(start))
	i.count++
	return nil
}
