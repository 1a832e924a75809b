package measure

import (
	"fmt"
	"slices"
)

// Statistic describes one quantity over several runs. Ratio compares its median with a baseline's.
type Statistic struct {
	Median float64  `json:"median"`
	Min    float64  `json:"min"`
	Max    float64  `json:"max"`
	Ratio  *float64 `json:"ratio,omitempty"`
}

// NewStatistic is nil for no values.
func NewStatistic(values []float64) *Statistic {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	return &Statistic{Median: median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// median of sorted values: the middle one, or the mean of the middle two.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Compare sets the ratio to a baseline, where both have figures.
func (s *Statistic) Compare(base *Statistic) {
	if s == nil || base == nil || base.Median == 0 {
		return
	}
	ratio := s.Median / base.Median
	s.Ratio = &ratio
}

// Cell is the statistic for people: median (min–max) ×ratio; a dash for none.
func (s *Statistic) Cell(format string) string {
	if s == nil {
		return "-"
	}
	text := fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
	if s.Ratio != nil {
		text += fmt.Sprintf(" ×%.2f", *s.Ratio)
	}
	return text
}
