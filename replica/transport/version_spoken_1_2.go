//go:build bfsd_protocol_1_2

package transport

// For the test of a rolling upgrade alone: a release that speaks a version more than its predecessor, in which nothing is
// different.
const (
	oldest = 1
	newest = 2
)
