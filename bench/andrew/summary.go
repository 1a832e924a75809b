package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// statistic describes one quantity over the runs of a target. Ratio compares its median with the baseline's.
type statistic struct {
	Median float64  `json:"median"`
	Min    float64  `json:"min"`
	Max    float64  `json:"max"`
	Ratio  *float64 `json:"ratio,omitempty"`
}

// targetSummary is a target's runs, those that failed left out of the figures.
type targetSummary struct {
	Target           string               `json:"target"`
	Fault            string               `json:"fault"`
	Replicas         int                  `json:"replicas"`
	Durability       string               `json:"durability"`
	Runs             int                  `json:"runs"`
	Failed           int                  `json:"failed"`
	Phases           map[phase]*statistic `json:"phases"`
	Total            *statistic           `json:"total"`
	TotalWithoutMake *statistic           `json:"total_without_make"`
	LongestPause     *statistic           `json:"longest_pause"`
	RPCs             *statistic           `json:"rpcs,omitempty"`
}

// summary is DIR/summary.json.
type summary struct {
	Date       time.Time       `json:"date"`
	Command    []string        `json:"command"`
	Client     string          `json:"client"`
	Kernel     string          `json:"kernel,omitempty"`
	Scale      int             `json:"scale"`
	Durability string          `json:"durability"`
	Compiler   string          `json:"compiler,omitempty"`
	Baseline   string          `json:"baseline,omitempty"`
	Files      int             `json:"files"`
	Bytes      int64           `json:"bytes"`
	Targets    []targetSummary `json:"targets"`
	Load       *statistic      `json:"load"` // averages over the minute before each run
	Machine    machine         `json:"machine"`
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
	s := targetSummary{Phases: map[phase]*statistic{}}
	of := func(value func(observation) (float64, bool)) *statistic {
		var values []float64
		for _, o := range runs {
			if v, ok := value(o); ok {
				values = append(values, v)
			}
		}
		return newStatistic(values)
	}
	for _, p := range allPhases {
		if stat := of(func(o observation) (float64, bool) { v, ok := o.Phases[p]; return v, ok }); stat != nil {
			s.Phases[p] = stat
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

// newStatistic is nil for no values.
func newStatistic(values []float64) *statistic {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	return &statistic{Median: median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// median of sorted values: the middle one, or the mean of the middle two.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func (s *targetSummary) compare(base *targetSummary) {
	for p, stat := range s.Phases {
		stat.compare(base.Phases[p])
	}
	s.Total.compare(base.Total)
	s.TotalWithoutMake.compare(base.TotalWithoutMake)
	s.LongestPause.compare(base.LongestPause)
	s.RPCs.compare(base.RPCs)
}

func (s *statistic) compare(base *statistic) {
	if s == nil || base == nil || base.Median == 0 {
		return
	}
	ratio := s.Median / base.Median
	s.Ratio = &ratio
}

func (s *summary) write(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the summary: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "summary.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}
