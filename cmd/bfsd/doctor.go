package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type doctorCmd struct {
	Config  string        `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	ID      *uint32       `name:"id" placeholder:"I" help:"This machine runs replica I: look at its key, ports and disk too."`
	Dir     string        `placeholder:"DIR" help:"Where its data are (replica-I beside cluster.toml)."`
	JSON    bool          `name:"json" help:"Print one JSON object instead of text."`
	Timeout time.Duration `default:"2s" help:"How long to wait for each answer."`
	keyFlags
}

// Help is shown by --help below the summary.
func (doctorCmd) Help() string {
	return `Looks at the configuration, whether every replica can be reached, what they say of themselves and of each other, their clocks and builds; with --id also at that replica's key, ports and disk on this machine; with --key alone at that key. It changes nothing; to try a disk it writes a file of its own and removes it.
The exit code is 0 when nothing is wrong (there may be warnings), 6 when something is, and 1 if it could not look.`
}

// severity says how bad a finding is.
type severity string

const (
	fine    severity = "ok"
	warning severity = "warning" // it works, but not as it should
	wrong   severity = "wrong"   // it does not work, or will not after the next fault
)

// finding is one thing that was looked at.
type finding struct {
	Severity severity `json:"severity"`
	About    string   `json:"about"`
	What     string   `json:"what"`
	Advice   string   `json:"advice,omitempty"`
}

// doctor looks at a cluster from one machine.
type doctor struct {
	cluster  *config.Cluster
	path     string // of cluster.toml
	machine  machine
	timeout  time.Duration
	findings []finding
}

func (d *doctor) ok(about, what string, args ...any) {
	d.findings = append(d.findings, finding{Severity: fine, About: about, What: fmt.Sprintf(what, args...)})
}

func (d *doctor) find(s severity, about, advice, what string, args ...any) {
	d.findings = append(d.findings, finding{s, about, fmt.Sprintf(what, args...), advice})
}

// Run implements the subcommand.
func (c doctorCmd) Run(p *process) error {
	d := &doctor{path: c.Config, machine: thisMachine(), timeout: c.Timeout}
	if err := c.examine(p.ctx, d); err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"findings": d.findings}); err != nil {
			return fmt.Errorf("printing what was found: %w", err)
		}
	} else {
		d.print(p.stdout)
	}
	if n := d.count(wrong); n > 0 {
		return &exitError{exitUnwell, fmt.Errorf("%d of %d things looked at are wrong", n, len(d.findings))}
	}
	return nil
}

func (c doctorCmd) examine(ctx context.Context, d *doctor) error {
	cluster, err := config.Load(c.Config)
	if err != nil {
		d.find(wrong, "configuration", "Correct the file, or copy it from a member where it works: all must have the same.", "%v", err)
		return nil
	}
	d.cluster = cluster
	if c.ID != nil && int64(*c.ID) >= int64(cluster.N()) {
		return &exitError{exitUsage, fmt.Errorf("--id %d: the cluster has replicas 0 to %d", *c.ID, cluster.N()-1)}
	}
	d.configuration()
	d.openFiles()
	switch {
	case c.ID != nil:
		me := cluster.Replicas[*c.ID]
		dir, key := c.Dir, c.Key
		if dir == "" {
			dir = memberDir(filepath.Dir(c.Config), replicaPrincipal(me.ID))
		}
		if key == "" {
			key = filepath.Join(dir, "key")
		}
		principal := replicaPrincipal(me.ID)
		d.key(key, c.read, &principal)
		d.ports(ctx, me, dir)
		d.disk(dir)
		d.memory()
	case c.Key != "":
		d.key(c.Key, c.read, nil)
	}
	d.group(ctx)
	return nil
}

// key looks at a private key file; want is whose it should be, if that is known.
func (d *doctor) key(path string, read func(string) (auth.Identity, error), want *wire.Principal) {
	identity, err := read(path)
	if err != nil {
		d.find(wrong, "key", "A key that is lost or was seen by others is replaced: bfsd init --replace I makes a replica's anew.", "%v", err)
		return
	}
	if want != nil && identity.Principal != *want {
		d.find(wrong, "key", "Put the right machine's key there: it is in the directory of that name that bfsd init made.", "%s is the key of %v, not of %v", path, identity.Principal, *want)
		return
	}
	if _, err := d.cluster.Keyring(identity); err != nil {
		d.find(wrong, "key", "Either cluster.toml or the key is old: after bfsd init --replace all members need the new cluster.toml.", "%s does not fit %s: %v", path, d.path, err)
		return
	}
	d.ok("key", "%s is that of %v in this cluster, and private", path, identity.Principal)
}

func (d *doctor) count(s severity) int {
	n := 0
	for _, f := range d.findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func (d *doctor) print(w io.Writer) {
	for _, f := range d.findings {
		fmt.Fprintf(w, "%-8s %s: %s\n", f.Severity, f.About, strings.ReplaceAll(f.What, "\n", "\n         "))
		if f.Advice != "" {
			fmt.Fprintf(w, "         → %s\n", f.Advice)
		}
	}
	fmt.Fprintf(w, "\n%d wrong, %d warnings, %d ok\n", d.count(wrong), d.count(warning), d.count(fine))
}
