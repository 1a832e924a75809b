package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bfsd/replica/config"
)

// The parts of the benchmark.
const (
	partGroups     = "groups"
	partSwitches   = "switches"
	partViewChange = "view-change"
	partCheckpoint = "checkpoint"
)

const (
	modeOrdered  = "rw"
	modeReadOnly = "ro"
)

// measurement is one window in one group.
type measurement struct {
	mode     string
	size     size
	clients  int
	pages    int64 // not 0: writes of pages of the state
	kill     bool  // the primary, when the window has begun
	duration time.Duration
}

// step is one group with all that is measured in it, one after the other.
type step struct {
	part         string
	setting      setting
	measurements []measurement
}

// plan is what one run is made of, in order; nil for flags that cannot be carried out.
func (o *options) plan() ([]step, error) {
	if o.Quick {
		o.quicken()
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	var steps []step
	for i, part := range o.Parts {
		if slices.Contains(o.Parts[:i], part) {
			return nil, fmt.Errorf("--parts names %s twice", part)
		}
		add, err := o.planPart(part)
		if err != nil {
			return nil, err
		}
		steps = append(steps, add...)
	}
	if len(steps) == 0 {
		return nil, errors.New("--parts names nothing to measure")
	}
	return steps, nil
}

func (o *options) planPart(part string) ([]step, error) {
	switch part {
	case partGroups:
		return o.planGroups()
	case partSwitches:
		return o.planSwitches()
	case partViewChange:
		return o.planViewChange(), nil
	case partCheckpoint:
		return o.planCheckpoint(), nil
	}
	return nil, fmt.Errorf("--parts: there is no part %q, but %s, %s, %s, %s", part, partGroups, partSwitches, partViewChange, partCheckpoint)
}

// quicken makes a run of a few seconds that still goes everywhere.
func (o *options) quicken() {
	o.Runs, o.Duration, o.Warmup, o.Outage = 1, 20*time.Millisecond, 5*time.Millisecond, 1500*time.Millisecond
	o.Clients, o.Replicas, o.Intervals, o.StateMiB = []int{1, 4}, []int{4}, []int{16, 64}, []int64{1}
}

func (o *options) check() error {
	const runsMax, clientsMax, gatewaysMax, stateMax = 1000, 1024, 64, 1 << 14
	tunables := config.DefaultTunables()
	switch {
	case len(o.Ops) == 0 || len(o.SwitchOps) == 0 || len(o.Modes) == 0 || len(o.Clients) == 0 || len(o.Replicas) == 0 ||
		len(o.Intervals) == 0 || len(o.StateMiB) == 0:
		return errors.New("a list is empty")
	case o.Runs < 1 || o.Runs > runsMax:
		return fmt.Errorf("--runs must be 1 to %d", runsMax)
	case o.Duration < time.Millisecond || o.Duration > time.Hour || o.Warmup < 0 || o.Warmup > time.Hour:
		return errors.New("--duration must be 1ms to 1h, --warmup up to 1h")
	case o.Outage < tunables.ViewChangeTimeout() || o.Outage > time.Hour:
		return fmt.Errorf("--outage must be %v, the view-change timeout, to 1h", tunables.ViewChangeTimeout())
	case o.Gateways < 1 || o.Gateways > gatewaysMax:
		return fmt.Errorf("--gateways must be 1 to %d", gatewaysMax)
	}
	slots := tunables.ClientSlots
	for _, n := range o.Clients {
		if n < 1 || n > clientsMax || n > o.Gateways*slots {
			return fmt.Errorf("--clients %d: want 1 to %d, and at most %d for each of the --gateways", n, clientsMax, slots)
		}
	}
	for _, n := range o.Replicas {
		if !slices.Contains([]int{4, 7, 10, 13}, n) {
			return fmt.Errorf("--replicas %d: want 3f+1 of them, one of 4, 7, 10, 13", n)
		}
	}
	for _, k := range o.Intervals {
		if window := tunables.BatchWindow; k < window || k > 512 {
			return fmt.Errorf("--intervals %d: want %d to 512", k, window)
		}
	}
	for _, mib := range o.StateMiB {
		if mib < 1 || mib > stateMax {
			return fmt.Errorf("--state %d: want 1 to %d MiB", mib, stateMax)
		}
	}
	return nil
}

// base is the setting that all parts start from.
func (o *options) base(replicas int) setting {
	return setting{replicas: replicas, durability: config.Durability(o.Durability), gateways: o.Gateways, warmup: o.Warmup}
}

// planGroups: every operation, mode and number of clients, on the unreplicated server and on each size of group.
func (o *options) planGroups() ([]step, error) {
	var all []measurement
	for _, text := range o.Ops {
		s, err := parseSize(text)
		if err != nil {
			return nil, err
		}
		for _, mode := range o.Modes {
			for _, clients := range o.Clients {
				all = append(all, measurement{mode: mode, size: s, clients: clients, duration: o.Duration})
			}
		}
	}
	var steps []step
	for _, n := range append([]int{0}, o.Replicas...) {
		steps = append(steps, step{partGroups, o.base(n), all})
	}
	return steps, nil
}

// planSwitches: all on, then each off, with the fewest and the most clients.
func (o *options) planSwitches() ([]step, error) {
	names, err := parseSwitches(o.Switches)
	if err != nil {
		return nil, err
	}
	var all []measurement
	for _, text := range o.SwitchOps {
		s, err := parseSize(text)
		if err != nil {
			return nil, err
		}
		for _, mode := range o.Modes {
			if mode == modeReadOnly && s.args > 0 {
				continue
			}
			for _, clients := range o.fewestAndMost() {
				all = append(all, measurement{mode: mode, size: s, clients: clients, duration: o.Duration})
			}
		}
	}
	var steps []step
	for _, name := range append([]string{""}, names...) {
		s := o.base(o.Replicas[0])
		s.off = name
		steps = append(steps, step{partSwitches, s, all})
	}
	return steps, nil
}

// planViewChange: the primary of a fresh group of each size is killed under load.
func (o *options) planViewChange() []step {
	var steps []step
	for _, n := range o.Replicas {
		m := measurement{mode: modeOrdered, clients: slices.Max(o.Clients), kill: true, duration: o.Outage}
		steps = append(steps, step{partViewChange, o.base(n), []measurement{m}})
	}
	return steps
}

// planCheckpoint: pages of a state of several sizes are overwritten, with checkpoints at several intervals.
func (o *options) planCheckpoint() []step {
	var steps []step
	for _, mib := range o.StateMiB {
		for _, k := range o.Intervals {
			s := o.base(o.Replicas[0])
			s.interval, s.state = k, mib<<20
			var all []measurement
			for _, clients := range o.fewestAndMost() {
				all = append(all, measurement{
					mode: modeOrdered, clients: clients, pages: s.state / pageBytes, size: size{args: pageBytes}, duration: o.Duration,
				})
			}
			steps = append(steps, step{partCheckpoint, s, all})
		}
	}
	return steps
}

func (o *options) fewestAndMost() []int {
	return slices.Compact([]int{slices.Min(o.Clients), slices.Max(o.Clients)})
}
