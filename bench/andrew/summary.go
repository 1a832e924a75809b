package main

import (
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
}

// summary is DIR/summary.json.
type summary struct {
	Date       time.Time          `json:"date"`
	Command    []string           `json:"command"`
	Workload   string             `json:"workload"`
	Client     string             `json:"client"`
	Kernel     string             `json:"kernel,omitempty"`
	Scale      int                `json:"scale"`
	Durability string             `json:"durability"`
	Compiler   string             `json:"compiler,omitempty"`
	Baseline   string             `json:"baseline,omitempty"`
	Files      int                `json:"files"`
	Bytes      int64              `json:"bytes"`
	Units      map[phase]string   `json:"units,omitempty"` // of rates
	Targets    []targetSummary    `json:"targets"`
	Load       *measure.Statistic `json:"load"` // averages over the minute before each run
	Machine    measure.Machine    `json:"machine"`
}

// summarize groups observations by target, in the order of first appearance, and compares with the baseline if it has runs.
func summarize(observations []observation, baseline string) []targetSummary {
	var names []string
	groups := map[string][]observation{}
	failed := map[string]int{}
	for _, o := range observations {
		if !slices.Contains(names, o.Target) {
			names = append(names, o.Target)
		}
		if o.Verified {
			groups[o.Target] = append(groups[o.Target], o)
		} else {
			failed[o.Target]++
		}
	}
	var summaries []targetSummary
	for _, name := range names {
		s := summarizeTarget(groups[name])
		s.Target, s.Failed, s.Runs = name, failed[name], len(groups[name])+failed[name]
		for _, o := range observations {
			if o.Target == name {
				s.Fault, s.Replicas, s.Durability = o.Fault, o.Replicas, o.Durability
			}
		}
		summaries = append(summaries, s)
	}
	base := slices.IndexFunc(summaries, func(s targetSummary) bool { return s.Target == baseline })
	if base < 0 {
		return summaries
	}
	for i := range summaries {
		summaries[i].compare(&summaries[base])
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
}
