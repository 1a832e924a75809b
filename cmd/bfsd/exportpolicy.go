package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/fsservice"
	"bfsd/replica/auth"
	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type exportPolicyCmd struct {
	Show exportPolicyShowCmd `cmd:"" help:"Print the export policy in use, as a file for set."`
	Set  exportPolicySetCmd  `cmd:"" help:"Replace the export policy by the one in a file."`
}

// Help is shown by --help below the summary.
func (exportPolicyCmd) Help() string {
	return `The policy is part of the replicated state. Every replica applies it to every operation, so a gateway, or a replica's front end, gains no more than what its key allows, even if somebody else controls it. A change is an ordered operation signed with an operator's key (operator-ID/key, which bfsd init made), and takes effect at once for all.

  bfsd export-policy show --config cluster.toml > policy.toml
  # edit policy.toml
  bfsd export-policy set --config cluster.toml policy.toml

The file has one [[export]] for each directory and kind of client; of several for one directory the first that is for the caller counts, and whom none is for is refused:

  version = 1                    # as show printed it: a policy that was changed meanwhile is not overwritten
  [[export]]
  path = "/home"                 # with all below it, except what is below another exported directory
  read_only = false
  squash = "root"                # none, root or all: whose user and group become anon_uid and anon_gid (65534)
  front_ends = ["gateway", "replica-0"]       # whose keys; left out: all
  machines = ["192.168.0.0/16", "10.1.2.3"]   # NFS clients' addresses as the front end sees them; left out: all

Nothing can be renamed or hard-linked from one export into another (EXDEV; mv then copies). An exported directory, and those above it, cannot be renamed or removed. What is not below any exported directory cannot be used.`
}

// operatorFlags say who asks, and whom.
type operatorFlags struct {
	Config  string        `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	Timeout time.Duration `default:"30s" help:"Give up when the cluster has not answered after this time (${default})."`
	keyFlags
}

type exportPolicyShowCmd struct{ operatorFlags }

// Run implements the subcommand.
func (c exportPolicyShowCmd) Run(p *process) error {
	o, err := c.open(p)
	if err != nil {
		return err
	}
	defer o.close()
	policy, err := o.policy()
	if err != nil {
		return err
	}
	data, err := o.file(policy).Encode()
	if err != nil {
		return err
	}
	if len(policy.Exports) == 0 {
		fmt.Fprintln(p.stderr, "nothing is exported: nobody can use any file")
	}
	_, err = p.stdout.Write(data)
	return err
}

type exportPolicySetCmd struct {
	operatorFlags
	File string `arg:"" placeholder:"FILE" help:"The new policy; - is standard input. Its version must be that of the policy in use."`
}

// Run implements the subcommand.
func (c exportPolicySetCmd) Run(p *process) error {
	o, err := c.open(p)
	if err != nil {
		return err
	}
	defer o.close()
	data, err := readPolicyFile(c.File)
	if err != nil {
		return err
	}
	wanted, err := o.cluster.ParseExportPolicy(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	order, err := fsstate.EncodePolicyOrder(&fsstate.PolicyOrder{Replaces: wanted.Version, Exports: stateExports(o.cluster, wanted.Exports)})
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	op := &fsstate.SetPolicy{Order: order, Signature: o.keys.Sign(append([]byte(fsstate.PolicyOrderDomain), order...))}
	r, err := invoke[*fsstate.SetPolicyResult](o, op)
	if err != nil {
		return err
	}
	if err := o.refused(c.File, wanted.Version, r); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "export policy %d is in use: %d exports\n", r.Version, len(wanted.Exports))
	return nil
}

// refused explains why a policy was not taken.
func (o *operator) refused(file string, version uint64, r *fsstate.SetPolicyResult) error {
	switch r.Status {
	case fsstate.OK:
		return nil
	case fsstate.ENOTSYNC:
		return fmt.Errorf("%s replaces version %d of the export policy, but version %d is in use; look at it with bfsd export-policy show, and put that version into the file", file, version, r.Version)
	case fsstate.EPERM:
		return fmt.Errorf("the replicas do not take an export policy that %v signed; is it the key of a client with operator = true in every replica's cluster.toml?", o.keys.Self())
	case fsstate.ENOENT:
		return fmt.Errorf("%s: there is no directory %s in the file system; make it first", file, r.Failed)
	case fsstate.ENOTDIR:
		return fmt.Errorf("%s: %s is no directory, or leads through something that is none, such as a symbolic link", file, r.Failed)
	default:
		return fmt.Errorf("%s: the replicas refused it with status %d", file, r.Status)
	}
}

// policyFileMax bounds a policy's file.
const policyFileMax = 1 << 20

func readPolicyFile(path string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("opening the export policy: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, policyFileMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading the export policy: %w", err)
	}
	if len(data) > policyFileMax {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, policyFileMax)
	}
	return data, nil
}

// operator is an operator's connection to the cluster.
type operator struct {
	ctx     context.Context
	timeout time.Duration
	cluster *config.Cluster
	keys    *auth.Keyring
	client  *client.Client
	close   func()
}

func (c operatorFlags) open(p *process) (*operator, error) {
	cluster, err := config.Load(c.Config)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(cluster.Clients, func(g config.Client) bool { return g.Operator })
	path := c.Key
	switch {
	case path != "":
	case i < 0:
		return nil, fmt.Errorf("%s names no client with operator = true: add that line to a [[client]] entry, in the copies of all replicas too, and start them again one after the other", c.Config)
	default:
		path = filepath.Join(operatorDir(filepath.Dir(c.Config), cluster.Clients[i].ID), "key")
	}
	release, err := lockKey(path, "operator's", "bfsd export-policy or bfsd key")
	if err != nil {
		return nil, err
	}
	o := &operator{ctx: p.ctx, timeout: c.Timeout, cluster: cluster}
	if err := o.dial(p, c.keyFlags, path); err != nil {
		release()
		return nil, err
	}
	o.close = func() {
		o.client.Close()
		release()
	}
	return o, nil
}

func (o *operator) dial(p *process, flags keyFlags, path string) error {
	identity, err := flags.read(path)
	if err != nil {
		return err
	}
	if identity.Principal.Role != wire.RoleClient {
		return fmt.Errorf("%s is the key of %v; an operator's is needed", path, identity.Principal)
	}
	return o.connect(p, identity)
}

// connect makes the operator's client, with the given key.
func (o *operator) connect(p *process, identity auth.Identity) (err error) {
	if o.keys, err = o.cluster.Keyring(identity); err != nil {
		return err
	}
	o.client, err = client.Dial(o.cluster, o.keys, p.log)
	return err
}

// invoke has the cluster execute one operation.
func invoke[R fsstate.Result](o *operator, args fsstate.Args) (r R, err error) {
	ctx, cancel := context.WithTimeout(o.ctx, o.timeout)
	defer cancel()
	result, err := o.client.Invoke(ctx, fsstate.EncodeOp(&fsstate.Op{Args: args}), args.ReadOnly())
	if errors.Is(err, context.DeadlineExceeded) {
		return r, &exitError{exitNoQuorum, fmt.Errorf("the cluster did not answer within %v; bfsd status shows who does; a change may yet be made: look with the same command's show", o.timeout)}
	}
	if err != nil {
		return r, err
	}
	decoded, err := fsstate.DecodeResult(args.Kind(), result)
	if err != nil {
		return r, err
	}
	return decoded.(R), nil
}

func (o *operator) policy() (*fsstate.Policy, error) {
	r, err := invoke[*fsstate.GetPolicyResult](o, &fsstate.GetPolicy{})
	if err != nil {
		return nil, err
	}
	if r.Status != fsstate.OK {
		return nil, fmt.Errorf("reading the export policy: status %d", r.Status)
	}
	return &r.Policy, nil
}

// file is a policy as its file has it.
func (o *operator) file(p *fsstate.Policy) *config.ExportPolicy {
	f := &config.ExportPolicy{Version: p.Version}
	for _, e := range p.Exports {
		x := config.Export{Path: e.Path, ReadOnly: e.ReadOnly, Machines: e.Machines}
		if e.Squash != fsstate.SquashNone {
			x.Squash = config.SquashRoot
			if e.Squash == fsstate.SquashAll {
				x.Squash = config.SquashAll
			}
			x.AnonUID, x.AnonGID = &e.AnonUID, &e.AnonGID
		}
		for _, id := range e.FrontEnds {
			x.FrontEnds = append(x.FrontEnds, o.cluster.FrontEndName(wire.ClientID(id)))
		}
		f.Exports = append(f.Exports, x)
	}
	return f
}

// stateExports are exports, which were found valid, as the file system has them.
func stateExports(cluster *config.Cluster, exports []config.Export) []fsstate.Export {
	var out []fsstate.Export
	for _, e := range exports {
		x := fsstate.Export{Path: e.Path, ReadOnly: e.ReadOnly}
		switch e.Squash {
		case config.SquashRoot:
			x.Squash = fsstate.SquashRoot
		case config.SquashAll:
			x.Squash = fsstate.SquashAll
		}
		if x.Squash != fsstate.SquashNone {
			x.AnonUID, x.AnonGID = config.Nobody, config.Nobody
			if e.AnonUID != nil {
				x.AnonUID = *e.AnonUID
			}
			if e.AnonGID != nil {
				x.AnonGID = *e.AnonGID
			}
		}
		for _, name := range e.FrontEnds {
			id, _ := cluster.FrontEnd(name)
			x.FrontEnds = append(x.FrontEnds, fsstate.FrontEnd(id))
		}
		for _, m := range e.Machines {
			network, _ := config.Network(m)
			x.Machines = append(x.Machines, network.String())
		}
		out = append(out, x)
	}
	return out
}

// clusterFileSystem is a new file system of a cluster.
func clusterFileSystem(cluster *config.Cluster) fsstate.Config {
	c := fileSystem(cluster.Seed, cluster.Limits)
	c.Exports = stateExports(cluster, cluster.Exports)
	c.Signed, c.MayHave = fsservice.Orders(cluster)
	return c
}
