package main

import (
	"fmt"
	"slices"
	"strings"

	"bfsd/replica/config"
)

// optimisation is one of the switches of cluster.toml.
type optimisation struct {
	name  string
	field func(*config.Optimisations) *bool
	about string // what it is, for the table
}

// optimisations are all of them, by their names in cluster.toml.
func optimisations() []optimisation {
	return []optimisation{
		{"macs", func(o *config.Optimisations) *bool { return &o.MACs }, "MACs, not signatures"},
		{"batching", func(o *config.Optimisations) *bool { return &o.Batching }, "batching"},
		{"digest_replies", func(o *config.Optimisations) *bool { return &o.DigestReplies }, "digest replies"},
		{"tentative", func(o *config.Optimisations) *bool { return &o.Tentative }, "tentative execution"},
		{"read_only", func(o *config.Optimisations) *bool { return &o.ReadOnly }, "reading without order"},
		{"large_requests", func(o *config.Optimisations) *bool { return &o.LargeRequests }, "large requests apart"},
		{"piggyback", func(o *config.Optimisations) *bool { return &o.Piggyback }, "piggy-backed commits"},
	}
}

// everything stands for all switches at once.
const everything = "everything"

// switchOff switches one off, or everything; "" leaves all on.
func switchOff(o *config.Optimisations, name string) {
	for _, s := range optimisations() {
		if name == s.name || name == everything {
			*s.field(o) = false
		}
	}
}

// about says what a switch is.
func about(name string) string {
	for _, s := range optimisations() {
		if s.name == name {
			return s.about
		}
	}
	return name
}

// parseSwitches resolves --switches to names: all of them, and everything at once.
func parseSwitches(list []string) ([]string, error) {
	var known []string
	for _, s := range optimisations() {
		known = append(known, s.name)
	}
	known = append(known, everything)
	if slices.Equal(list, []string{"all"}) {
		return known, nil
	}
	for i, name := range list {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("--switches: there is no switch %q, but all, %s", name, strings.Join(known, ", "))
		}
		if slices.Contains(list[:i], name) {
			return nil, fmt.Errorf("--switches names %s twice", name)
		}
	}
	return list, nil
}
