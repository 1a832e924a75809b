package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// faultNone is the normal case. How late the primary is under slowPrimary is an option.
const (
	faultNone   = "none"
	slowPrimary = "slow-primary"
)

// fault is something that is wrong with a cluster while a workload runs. Replicas that it makes faulty for good are left out
// when the states of the others are compared in the end.
type fault struct {
	name  string
	about string
	// byzantine is what a replica built with the tag byzantine is told (replica/byzantine.go); nil: an ordinary build runs.
	byzantine func(o options) string
	// lost are the replicas that are faulty to the end and from the start, of n.
	lost func(n int) []int
	// begin happens before the workload.
	begin func(ctx context.Context, i *injection) error
	// strike happens in the middle of the workload's struck phase, beside it; its context ends with the workload.
	strike func(ctx context.Context, i *injection) error
}

// How long things last, and how much there is to fetch.
const (
	outage        = 10 * time.Second       // of a stopped primary
	stormViews    = 8                      // primaries that are stopped one after the other
	stormRespite  = 500 * time.Millisecond // of each new primary
	ballastBlocks = 64                     // of state that a replica misses
)

func last(n int) []int { return []int{n - 1} }

var faults = []fault{
	{name: faultNone, about: "nothing is wrong"},
	{
		name: "crashed-backup", about: "a backup was killed before the run",
		lost: last,
		begin: func(ctx context.Context, i *injection) error {
			_, err := i.cluster.kill(ctx, i.cluster.n()-1)
			return err
		},
	},
	{
		name: "crashed-primary", about: "the primary is killed in the middle of the run",
		strike: func(ctx context.Context, i *injection) error {
			id, _, err := i.cluster.primary(ctx)
			if err != nil {
				return err
			}
			i.lose(id)
			_, err = i.cluster.kill(ctx, id)
			return err
		},
	},
	{
		name: "stopped-primary", about: fmt.Sprintf("the primary stops for %v in the middle of the run, and goes on", outage),
		strike: func(ctx context.Context, i *injection) error {
			id, _, err := i.cluster.primary(ctx)
			if err != nil {
				return err
			}
			return i.stopped(id, func() error { pause(ctx, outage); return nil })
		},
	},
	{
		name: slowPrimary, about: "a Byzantine primary proposes every batch late, just not late enough to be replaced",
		lost: func(int) []int { return []int{0} },
		byzantine: func(o options) string {
			if o.Slow == 0 {
				return "0=slow"
			}
			return "0=slow:" + o.Slow.String()
		},
	},
	{
		name: "lying-replica", about: "a Byzantine backup answers clients with wrong results and vouches for wrong state",
		lost:      last,
		byzantine: func(o options) string { return fmt.Sprintf("%d=lie", o.Replicas-1) },
	},
	{
		name: "catching-up", about: fmt.Sprintf("a backup that missed %d MiB comes back in the middle of the run and fetches them", ballastBlocks*blockBytes>>20),
		begin:  missState,
		strike: func(_ context.Context, i *injection) error { return i.comeBack(i.cluster.n()-1, i.absent) },
	},
	{
		name: "restarting", about: "from the middle of the run on, a backup is killed and started again, over and over",
		strike: func(ctx context.Context, i *injection) error {
			id := i.cluster.n() - 1
			for ctx.Err() == nil {
				h, err := i.cluster.kill(i.whole, id)
				if err != nil {
					return err
				}
				if err := i.comeBack(id, h); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		name: "recovering", about: "from the middle of the run on, every replica in turn, the primary too, is killed and started again, each when the one before votes: proactive recovery without its pauses",
		strike: func(ctx context.Context, i *injection) error {
			for id := 0; id < i.cluster.n() && ctx.Err() == nil; id++ {
				h, err := i.cluster.kill(i.whole, id)
				if err != nil {
					return err
				}
				if err := i.comeBack(id, h); err != nil {
					return err
				}
				if err := i.cluster.awaitVoting(i.whole, id); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		name: "view-change-storm", about: fmt.Sprintf("from the middle of the run on, each new primary is stopped %v after it came to lead, %d times at most", stormRespite, stormViews),
		strike: storm,
	},
}

// missState takes a backup away and writes what it will have to fetch.
func missState(ctx context.Context, i *injection) (err error) {
	if i.absent, err = i.cluster.kill(ctx, i.cluster.n()-1); err != nil {
		return err
	}
	fs, err := newNFSFS(ctx, i.cluster.server)
	if err != nil {
		return err
	}
	defer fs.client.Close()
	all := newContent(0)
	return fs.WriteStream(ctx, "/ballast", ballastBlocks, all.fill, func(int, float64) {})
}

// storm stops every primary until another leads.
func storm(ctx context.Context, i *injection) error {
	for range stormViews {
		id, view, err := i.cluster.primary(i.whole)
		if err != nil {
			return err
		}
		err = i.stopped(id, func() error {
			return await(i.whole, fmt.Sprintf("a view after %d", view), func() (bool, error) {
				now, err := i.cluster.view(i.whole)
				return err == nil && now > view || ctx.Err() != nil, nil
			})
		})
		if err != nil || ctx.Err() != nil {
			return err
		}
		i.count++
		pause(ctx, stormRespite)
	}
	return nil
}

// pause lets a fault last: until the time is over or the workload is.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// chooseFaults resolves the names of faults; "all" are all, and no names are none.
func chooseFaults(names []string) ([]fault, error) {
	if len(names) == 0 {
		names = []string{faultNone}
	}
	var chosen []fault
	for _, f := range faults {
		if slices.Contains(names, "all") || slices.Contains(names, f.name) {
			chosen = append(chosen, f)
		}
	}
	for _, name := range names {
		if name != "all" && !slices.ContainsFunc(faults, func(f fault) bool { return f.name == name }) {
			return nil, fmt.Errorf("no fault is called %q; there are all and %s", name, strings.Join(faultNames(), ", "))
		}
	}
	return chosen, nil
}

func faultNames() (names []string) {
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// stopped runs during while a replica is stopped.
func (i *injection) stopped(id int, during func() error) (err error) {
	if err := i.cluster.signal(id, syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() {
		if cont := i.cluster.signal(id, syscall.SIGCONT); err == nil {
			err = cont
		}
	}()
	return during()
}
