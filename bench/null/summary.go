package main

import (
	"time"

	"bfsd/bench/internal/measure"
)

// figure is one quantity over the runs of a measurement. Its ratio compares it with the baseline's in the same run: the
// median of those ratios, and the smallest and the largest.
type figure struct {
	measure.Statistic
	RatioMin *float64 `json:"ratio_min,omitempty"`
	RatioMax *float64 `json:"ratio_max,omitempty"`
}

// key tells measurements apart: all that an observation says of what was measured.
type key struct {
	Part     string `json:"part"`
	Target   string `json:"target"`
	Replicas int    `json:"replicas"`
	Off      string `json:"switched_off,omitempty"`
	Fault    string `json:"fault"`
	Interval int    `json:"checkpoint_interval,omitempty"`
	StateMiB int64  `json:"state_mib"`
	Mode     string `json:"mode"`
	Op       string `json:"op"`
	Clients  int    `json:"clients"`
}

func keyOf(o *observation) key {
	return key{o.Part, o.Target, o.Replicas, o.Off, o.Fault, o.Interval, o.StateMiB, o.Mode, o.Op, o.Clients}
}

// baseline is what a measurement is compared with: the unreplicated server, all optimisations on, or the longest interval
// between checkpoints.
func (k key) baseline(longest int) (key, bool) {
	switch k.Part {
	case partGroups:
		k.Target, k.Replicas = targetPlain, 0
	case partSwitches:
		k.Off = ""
	case partCheckpoint:
		k.Interval = longest
	default:
		return key{}, false
	}
	return k, true
}

// entry is a measurement over all runs; those that failed are not in the figures. Times are in seconds.
type entry struct {
	key
	Runs         int     `json:"runs"`
	Failed       int     `json:"failed"`
	P50          *figure `json:"p50,omitempty"`
	P99          *figure `json:"p99,omitempty"`
	P999         *figure `json:"p999,omitempty"`
	Max          *figure `json:"max,omitempty"`
	LongestPause *figure `json:"longest_pause,omitempty"`
	Throughput   *figure `json:"throughput,omitempty"` // operations per second
	CPUPerOp     *figure `json:"cpu_per_op,omitempty"`
	OpsPerBatch  *figure `json:"ops_per_batch,omitempty"`
	After        *beside `json:"after_checkpoint,omitempty"`
	Otherwise    *beside `json:"otherwise,omitempty"`

	observations []*observation // those that did not fail
}

// beside are the latencies of the calls that followed a checkpoint, or of the others.
type beside struct {
	P50 *figure `json:"p50"`
	Max *figure `json:"max"`
}

// summary is DIR/summary.json.
type summary struct {
	Date       time.Time          `json:"date"`
	Command    []string           `json:"command"`
	Machine    measure.Machine    `json:"machine"`
	LoadBefore float64            `json:"load_before"` // the machine's load average before anything ran
	Durability string             `json:"durability"`
	Gateways   int                `json:"gateways"`
	Seconds    float64            `json:"seconds"` // of one measurement
	Runs       int                `json:"runs"`
	Echo       *measure.Statistic `json:"tcp_echo_p50,omitempty"`
	Entries    []*entry           `json:"entries"`
	Costs      []checkpointCost   `json:"checkpoint_costs,omitempty"`
}

// checkpointCost is the processor time of one checkpoint, on all replicas together, from the difference between the
// shortest and the longest interval: the median over the runs.
type checkpointCost struct {
	StateMiB int64              `json:"state_mib"`
	CPU      *measure.Statistic `json:"cpu"`
}

// summarize groups observations by what was measured, in the order of first appearance, and compares.
func summarize(observations []observation) (entries []*entry, echo *measure.Statistic) {
	byKey := map[key]*entry{}
	longest := 0
	var echoes []float64
	for i := range observations {
		o := &observations[i]
		if o.Target == targetEcho {
			echoes = append(echoes, o.Latency.P50)
			continue
		}
		k := keyOf(o)
		e := byKey[k]
		if e == nil {
			e = &entry{key: k}
			byKey[k] = e
			entries = append(entries, e)
		}
		e.Runs++
		longest = max(longest, o.Interval)
		if o.Verified {
			e.observations = append(e.observations, o)
		} else {
			e.Failed++
		}
	}
	for _, e := range entries {
		var base *entry
		if k, ok := e.baseline(longest); ok && k != e.key {
			base = byKey[k]
		}
		e.fill(base)
	}
	return entries, measure.NewStatistic(echoes)
}

func (e *entry) fill(base *entry) {
	for _, f := range []struct {
		figure **figure
		of     func(*observation) float64
	}{
		{&e.P50, func(o *observation) float64 { return o.Latency.P50 }},
		{&e.P99, func(o *observation) float64 { return o.Latency.P99 }},
		{&e.P999, func(o *observation) float64 { return o.Latency.P999 }},
		{&e.Max, func(o *observation) float64 { return o.Latency.Max }},
		{&e.LongestPause, func(o *observation) float64 { return o.LongestPause }},
		{&e.Throughput, func(o *observation) float64 { return o.Throughput }},
		{&e.CPUPerOp, func(o *observation) float64 { return o.CPUPerOp }},
		{&e.OpsPerBatch, func(o *observation) float64 { return o.OpsPerBatch }},
	} {
		*f.figure = newFigure(e, base, f.of)
	}
	e.After = e.beside(func(o *observation) *latency { return o.AfterCheckpoint })
	e.Otherwise = e.beside(func(o *observation) *latency { return o.Otherwise })
}

func (e *entry) beside(of func(*observation) *latency) *beside {
	told := &entry{key: e.key}
	for _, o := range e.observations {
		if of(o) != nil {
			told.observations = append(told.observations, o)
		}
	}
	if len(told.observations) == 0 {
		return nil
	}
	return &beside{
		P50: newFigure(told, nil, func(o *observation) float64 { return of(o).P50 }),
		Max: newFigure(told, nil, func(o *observation) float64 { return of(o).Max }),
	}
}

// newFigure is nil where nothing was measured: a zero is no measurement.
func newFigure(e, base *entry, of func(*observation) float64) *figure {
	var values, ratios []float64
	for _, o := range e.observations {
		v := of(o)
		if v == 0 {
			continue
		}
		values = append(values, v)
		if base == nil {
			continue
		}
		for _, b := range base.observations {
			if b.Run == o.Run && of(b) != 0 {
				ratios = append(ratios, v/of(b))
			}
		}
	}
	s := measure.NewStatistic(values)
	if s == nil {
		return nil
	}
	f := &figure{Statistic: *s}
	if r := measure.NewStatistic(ratios); r != nil {
		f.Ratio, f.RatioMin, f.RatioMax = &r.Median, &r.Min, &r.Max
	}
	return f
}

// checkpointCosts compares, with the most clients, the shortest interval with the longest.
func checkpointCosts(entries []*entry) []checkpointCost {
	var costs []checkpointCost
	for _, e := range entries {
		if e.Part != partCheckpoint {
			continue
		}
		short, long, clients := e, e, e.Clients
		for _, o := range entries {
			if o.Part != partCheckpoint || o.StateMiB != e.StateMiB {
				continue
			}
			clients = max(clients, o.Clients)
			if o.Clients == e.Clients && o.Interval < short.Interval {
				short = o
			}
			if o.Clients == e.Clients && o.Interval > long.Interval {
				long = o
			}
		}
		if e == long && e != short && e.Clients == clients {
			costs = append(costs, checkpointCost{e.StateMiB, costBetween(short, long)})
		}
	}
	return costs
}

// costBetween solves, for each run, CPU per operation = a + b × checkpoints per operation for b.
func costBetween(short, long *entry) *measure.Statistic {
	var costs []float64
	perOp := func(o *observation) float64 { return 1 / (o.OpsPerBatch * float64(o.Interval)) }
	for _, s := range short.observations {
		for _, l := range long.observations {
			if s.Run == l.Run && s.OpsPerBatch > 0 && l.OpsPerBatch > 0 && perOp(s) != perOp(l) {
				costs = append(costs, (s.CPUPerOp-l.CPUPerOp)/(perOp(s)-perOp(l)))
			}
		}
	}
	return measure.NewStatistic(costs)
}
