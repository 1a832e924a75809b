package main

import (
	"fmt"
	"slices"
	"time"

	"bfsd/bench/internal/measure"
)

// targetSummary is a target's runs, those that failed left out of the figures.
type targetSummary struct {
	Target           string                       `json:"target"`
	Fault            string                       `json:"fault"`
	Replicas         int                          `json:"replicas"`
	Durability       string                       `json:"durability"`
	Runs             int                          `json:"runs"`
	Failed           int                          `json:"failed"`
	Phases           map[phase]*measure.Statistic `json:"phases"`
	Rates            map[phase]*measure.Statistic `json:"rates,omitempty"` // per second: see summary.Units
	Total            *measure.Statistic           `json:"total"`
	TotalWithoutMake *measure.Statistic           `json:"total_without_make"`
	LongestPause     *measure.Statistic           `json:"longest_pause"`
	RPCs             *measure.Statistic           `json:"rpcs,omitempty"`
	Probe            *measure.Statistic           `json:"probe,omitempty"`        // a prober's median call
	Recovered        *measure.Statistic           `json:"recovered,omitempty"`    // of a replica that was started again
	ViewChanges      *measure.Statistic           `json:"view_changes,omitempty"` // of bfs
	// ToNormal is the total's ratio to that of the same target without a fault.
	ToNormal *float64 `json:"to_normal,omitempty"`
}

// summary is DIR/summary.json.
type summary struct {
	Date       time.Time        `json:"date"`
	Command    []string         `json:"command"`
	Workload   string           `json:"workload"`
	Client     string           `json:"client"`
	Kernel     string           `json:"kernel,omitempty"`
	Scale      int              `json:"scale"`
	Durability string           `json:"durability"`
	Compiler   string           `json:"compiler,omitempty"`
	Baseline   string           `json:"baseline,omitempty"`
	Files      int              `json:"files"`
	Bytes      int64            `json:"bytes"`
	Units      map[phase]string `json:"units,omitempty"` // of rates
	// About says of each target and fault what it is.
	About    map[string]string  `json:"about"`
	Settings *settings          `json:"settings,omitempty"` // of the last cluster
	Targets  []targetSummary    `json:"targets"`
	Skipped  []skipped          `json:"skipped,omitempty"`
	Load     *measure.Statistic `json:"load"` // averages over the minute before each run
	Machine  measure.Machine    `json:"machine"`
}

// settings are what a cluster ran with that its figures depend on.
type settings struct {
	CheckpointInterval  uint64 `json:"checkpoint_interval"` // in batches
	BatchRequests       int    `json:"batch_requests"`
	BatchBytes          int    `json:"batch_bytes"`
	BatchWindow         int    `json:"batch_window"`
	ViewChangeTimeoutMS int    `json:"view_change_timeout_ms"`
	Processes           int    `json:"processes"` // replicas and gateway
}

// about describes what was run.
func (b *benchmark) about() map[string]string {
	list := map[string]string{}
	for _, t := range b.round() {
		list[t.target.name] = t.target.about
		if t.fault.name != faultNone {
			list[t.fault.name] = t.fault.about
		}
		if t.fault.name == slowPrimary && b.options.Slow > 0 {
			list[t.fault.name] = fmt.Sprintf("a Byzantine primary proposes every batch %v late", b.options.Slow)
		}
	}
	return list
}

// summarize groups observations by target and fault, in the order of first appearance, and compares with the baseline if it
// has runs.
func summarize(observations []observation, baseline string) []targetSummary {
	type key struct{ target, fault string }
	var order []key
	groups := map[key][]observation{}
	for _, o := range observations {
		k := key{o.Target, o.Fault}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], o)
	}
	var summaries []targetSummary
	for _, k := range order {
		all := groups[k]
		good := slices.DeleteFunc(slices.Clone(all), func(o observation) bool { return !o.Verified })
		s := summarizeTarget(good)
		s.Target, s.Fault, s.Replicas, s.Durability = k.target, k.fault, all[0].Replicas, all[0].Durability
		s.Runs, s.Failed = len(all), len(all)-len(good)
		summaries = append(summaries, s)
	}
	find := func(target string) *targetSummary {
		i := slices.IndexFunc(summaries, func(s targetSummary) bool { return s.Target == target && s.Fault == faultNone })
		if i < 0 {
			return nil
		}
		return &summaries[i]
	}
	for i := range summaries {
		s := &summaries[i]
		if base := find(baseline); base != nil {
			s.compare(base)
		}
		if normal := find(s.Target); normal != nil && s.Fault != faultNone && s.Total != nil && normal.Total != nil {
			ratio := s.Total.Median / normal.Total.Median
			s.ToNormal = &ratio
		}
	}
	return summaries
}

func summarizeTarget(runs []observation) targetSummary {
	s := targetSummary{Phases: map[phase]*measure.Statistic{}, Rates: map[phase]*measure.Statistic{}}
	of := func(value func(observation) (float64, bool)) *measure.Statistic {
		var values []float64
		for _, o := range runs {
			if v, ok := value(o); ok {
				values = append(values, v)
			}
		}
		return measure.NewStatistic(values)
	}
	for _, kind := range workloadKinds {
		for _, p := range kind.names() {
			if stat := of(func(o observation) (float64, bool) { v, ok := o.Phases[p]; return v, ok }); stat != nil {
				s.Phases[p] = stat
			}
			if stat := of(func(o observation) (float64, bool) { v, ok := o.Rates[p]; return v, ok }); stat != nil {
				s.Rates[p] = stat
			}
		}
	}
	s.Total = of(func(o observation) (float64, bool) { return o.Total, true })
	s.TotalWithoutMake = of(func(o observation) (float64, bool) { return o.Total - o.Phases[phaseMake], true })
	s.LongestPause = of(func(o observation) (float64, bool) { return o.LongestPause, true })
	s.Probe = of(func(o observation) (float64, bool) {
		if o.Probe == nil {
			return 0, false
		}
		return o.Probe.P50, true
	})
	s.Recovered = of(func(o observation) (float64, bool) { return o.Recovered, o.Recovered > 0 })
	s.ViewChanges = of(func(o observation) (float64, bool) { return float64(o.ViewChanges), o.Replicas > 0 })
	s.RPCs = of(func(o observation) (float64, bool) {
		if o.RPCs == nil {
			return 0, false
		}
		return float64(*o.RPCs), true
	})
	return s
}

func (s *targetSummary) compare(base *targetSummary) {
	for p, stat := range s.Phases {
		stat.Compare(base.Phases[p])
	}
	for p, stat := range s.Rates {
		stat.Compare(base.Rates[p])
	}
	s.Total.Compare(base.Total)
	s.TotalWithoutMake.Compare(base.TotalWithoutMake)
	s.LongestPause.Compare(base.LongestPause)
	s.RPCs.Compare(base.RPCs)
	s.Probe.Compare(base.Probe)
}
