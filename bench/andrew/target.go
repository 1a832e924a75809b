package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Names of targets.
const (
	targetBFS         = "bfs"
	targetPlain       = "plain"
	targetGoNFS       = "go-nfs"
	targetGaneshaMem  = "ganesha-mem"
	targetGaneshaVFS  = "ganesha-vfs"
	targetKnfsd       = "knfsd"
	targetKnfsdExt4   = "knfsd-ext4"
	targetPathPrefix  = "path:"
	durabilityMemory  = "memory"
	durabilityDisk    = "disk"
	durabilityUnknown = "unknown"
)

// target is a server to measure.
type target struct {
	name  string
	about string
	// durability is what it promises of an acknowledged write; empty: what --durability says.
	durability string
	// private: it runs in a private network, whatever the client is.
	private bool
	// missing tells why it cannot run here, or not with this workload; nil: always.
	missing func(o options) error
	// start starts it. The server that it returns need not answer yet.
	start func(ctx context.Context, b *benchmark, l launcher, t trial) (*server, error)
}

var targets = []target{
	{name: targetBFS, about: "a cluster of its own for each run, and a gateway", start: startBfsd},
	{name: targetPlain, about: "the same server without replication: the baseline", durability: durabilityMemory, start: startBfsd},
	{name: targetGoNFS, about: "the same file system behind willscott/go-nfs", durability: durabilityMemory, start: startBfsd},
	{
		name: targetGaneshaMem, about: "nfs-ganesha, files in its memory", durability: durabilityMemory, private: true,
		missing: missingGaneshaMem, start: startGaneshaMem,
	},
	{
		name: targetGaneshaVFS, about: "nfs-ganesha on a directory of this machine (--scratch)", durability: durabilityDisk, private: true,
		missing: missingGaneshaVFS, start: startGaneshaVFS,
	},
	{
		name: targetKnfsd, about: "the Linux kernel's server in user-mode Linux, export option sync, on tmpfs", durability: durabilityMemory, private: true,
		missing: missingKnfsd, start: startKnfsd,
	},
	{
		name: targetKnfsdExt4, about: "the same on ext4, on a disk that is a file of this machine (--scratch)", durability: durabilityDisk, private: true,
		missing: missingKnfsd, start: startKnfsdExt4,
	},
}

func isPath(name string) bool { return strings.HasPrefix(name, targetPathPrefix) }

// findTarget checks the name of a target. A path is one too, but there is nothing to start.
func findTarget(name string) (target, error) {
	if isPath(name) {
		dir := strings.TrimPrefix(name, targetPathPrefix)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return target{}, fmt.Errorf("target %s: %q is no directory", name, dir)
		}
		return target{name: name, about: "a directory on anything mounted on this machine", durability: durabilityUnknown}, nil
	}
	i := slices.IndexFunc(targets, func(t target) bool { return t.name == name })
	if i < 0 {
		return target{}, fmt.Errorf("no target is called %q; there are %s and %sDIR", name, strings.Join(targetNames(), ", "), targetPathPrefix)
	}
	return targets[i], nil
}

func targetNames() (names []string) {
	for _, t := range targets {
		names = append(names, t.name)
	}
	return names
}

// targetHelp is for --help: each target with what it is.
func targetHelp() string {
	var list []string
	for _, t := range targets {
		list = append(list, fmt.Sprintf("%s (%s)", t.name, t.about))
	}
	return strings.Join(append(list, targetPathPrefix+"DIR (a directory on anything mounted on this machine)"), ", ")
}

// promises is the durability of a target under these options.
func (t target) promises(o options) string {
	if t.durability == "" {
		return o.Durability
	}
	return t.durability
}

// skipped is a target that cannot run here.
type skipped struct {
	Target string `json:"target"`
	Reason string `json:"reason"`
}

// choose finds the targets to run; those that cannot run here are left out, with the reason.
func (o options) choose() (chosen []target, left []skipped, err error) {
	for _, name := range o.Targets {
		t, err := findTarget(name)
		if err != nil {
			return nil, nil, err
		}
		if t.missing != nil {
			if err := t.missing(o); err != nil {
				left = append(left, skipped{name, err.Error()})
				continue
			}
		}
		chosen = append(chosen, t)
	}
	if len(chosen) == 0 {
		var reasons []error
		for _, s := range left {
			reasons = append(reasons, fmt.Errorf("%s: %s", s.Target, s.Reason))
		}
		return nil, nil, fmt.Errorf("none of the targets can run here: %w", errors.Join(reasons...))
	}
	return chosen, left, nil
}
