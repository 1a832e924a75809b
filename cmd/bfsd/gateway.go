package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"bfsd/internal/statuspage"
	"bfsd/nfs"
	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type gatewayCmd struct {
	Config string `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	NFS    string `name:"nfs" default:"127.0.0.1:12049" placeholder:"HOST:PORT" help:"Serve NFS and MOUNT here (${default})."`
	Status string `aliases:"metrics" placeholder:"HOST:PORT" help:"Serve a status page of the cluster here, and Prometheus metrics at http://HOST:PORT/metrics."`
	Netns  string `placeholder:"NAME" help:"Serve in this network namespace (ip netns), which lets the machine's own NFS client take locks: see deploy/README.md."`
	keyFlags
	frontendFlags
}

// Help is shown by --help below the summary.
func (gatewayCmd) Help() string {
	return `Run it on the machine that mounts, on loopback: every answer it gives is one that 2f+1 replicas gave, so no single replica is trusted. Without replicas to reach it waits for them, as a "hard" mount wants.`
}

// Run implements the subcommand.
func (c gatewayCmd) Run(p *process) error {
	defer headroom()()
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if c.Key == "" {
		return &exitError{exitUsage, errors.New("--key FILE is missing: the gateway's private key, which bfsd init wrote to gateway-ID/key")}
	}
	identity, err := c.read(c.Key)
	if err != nil {
		return err
	}
	if identity.Principal.Role != wire.RoleClient {
		return fmt.Errorf("%s is the key of %v; a gateway needs a gateway's", c.Key, identity.Principal)
	}
	keys, err := cluster.Keyring(identity)
	if err != nil {
		return err
	}
	space := netspace(c.Netns)
	l, err := space.listen(p.ctx, "NFS (--nfs)", c.NFS)
	if err != nil {
		return err
	}
	defer l.Close()
	front, err := client.Dial(cluster, keys, p.log)
	if err != nil {
		return err
	}
	defer front.Close()
	registry := newRegistry()
	if err := registerClient(registry, front); err != nil {
		return err
	}
	name := fmt.Sprintf("gateway-%d", identity.Principal.ID)
	locks := nfs.LockConfig{Front: name, Via: name, Dial: space.dialer}
	if space != "" { // its clients are this machine, by an address that others may use in the same way
		locks.Private = func(netip.Addr) bool { return true }
	}
	load := &statuspage.Load{}
	server, err := c.serving(front, clusterIdentity(cluster), locks, p.log, registry, load)
	if err != nil {
		return err
	}
	ports, err := announce(p.ctx, c.Rpcbind, space, server, l, p.log)
	if err != nil {
		return err
	}
	ctx, cancel := withLifeline(p.ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if c.Status != "" {
		page, err := listen(p.ctx, "the status page (--status)", c.Status)
		if err != nil {
			return err
		}
		handler := statuspage.Handler(statuspage.Config{Cluster: cluster, Name: name, Log: p.log, Calls: load})
		group.Go(func() error { return servePage(ctx, page, handler, registry, p.log) })
		group.Go(func() error { load.Run(ctx); return nil })
	}
	fmt.Fprintf(p.stdout, "gateway to %d replicas\n  mount (as root):  %s\nready\n", cluster.N(), c.mountCommand(l.Addr().String()))
	group.Go(func() error { return serveFrontend(ctx, server, l, ports) })
	return group.Wait()
}

// newRegistry holds what every process tells of itself.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(buildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// clusterIdentity derives what handles and write verifiers carry from the cluster file, so that they are the same on all
// front ends and for as long as the files live: a cluster in memory gets a new seed at each start (upCmd.adapt).
func clusterIdentity(cluster *config.Cluster) exportIdentity {
	verifier := sha256.Sum256(slices.Concat([]byte("bfsd write verifier "), cluster.ID[:], cluster.Seed[:]))
	return exportIdentity{clusterID: cluster.ID, verifier: [8]byte(verifier[:8])}
}
