package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/transport"
)

// release is the version's name if the one who links gives it another than the module's: -ldflags "-X main.release=1.2". It is
// a constant that the linker sets.
var release string

// buildVersion says which build this is: the module's version and the commit.
func buildVersion() (version, revision string) {
	version, revision = "unknown", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, revision
	}
	if release != "" {
		version = release
	} else if info.Main.Version != "" {
		version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return version, revision
}

// versionFlag prints the version and ends the program.
type versionFlag bool

// BeforeReset implements kong's hook that comes before anything is asked of the command line.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	err := printVersion(app.Stdout)
	app.Exit(exitOK)
	return err
}

// printVersion says what this build is, and whom it can talk to.
func printVersion(w io.Writer) error {
	version, revision := buildVersion()
	_, err := fmt.Fprintf(w, "bfsd %s (%s, %s), protocol %v\n", version, revision, runtime.Version(), transport.Spoken())
	return err
}

// buildName is both in one word, to compare builds by.
func buildName() string {
	version, revision := buildVersion()
	return version + " " + revision
}

// buildInfo is the metric that tells which build runs.
func buildInfo() prometheus.Collector {
	version, revision := buildVersion()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bfsd_build_info", Help: "Always 1; which build this is.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}
