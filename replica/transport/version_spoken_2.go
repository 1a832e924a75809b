//go:build bfsd_protocol_2

package transport

// For the test of a rolling upgrade alone: a release that has forgotten what its predecessor spoke.
const (
	oldest = 2
	newest = 2
)
