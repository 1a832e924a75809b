// Package measure is what the benchmarks have in common: what the machine is, what a quantity's statistic is, and where
// observations and summaries go. It does not know what is measured.
//
// Start reading at Recorder; Statistic is what becomes of the observations.
package measure
