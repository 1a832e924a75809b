package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"bfsd/fsstate"
	"bfsd/internal/fsservice"
	"bfsd/internal/statuspage"
	"bfsd/nfs"
	"bfsd/replica"
	"bfsd/replica/auth"
	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/transport"
)

type replicaCmd struct {
	Config  string `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	ID      uint32 `required:"" name:"id" placeholder:"I" help:"Which replica to be: 0 to n-1."`
	Dir     string `placeholder:"DIR" help:"Where its data go (replica-I beside cluster.toml)."`
	Genesis string `placeholder:"FILE" help:"What the cluster began with, if that was a backup: needed by a replica that has nothing yet (genesis beside cluster.toml)."`
	keyFlags
	frontendFlags
}

// keyFlags name a private key.
type keyFlags struct {
	Key            string `placeholder:"FILE" help:"Its private key (the file key in its directory)."`
	PassphraseFile string `type:"path" placeholder:"FILE" help:"The first line of this file opens a sealed key file."`
}

func (k keyFlags) read(path string) (auth.Identity, error) {
	return auth.ReadKeyFile(path, func() ([]byte, error) {
		if k.PassphraseFile == "" {
			return nil, nil
		}
		return readPassphrase(k.PassphraseFile)
	})
}

// Help is shown by --help below the summary.
func (replicaCmd) Help() string {
	return `Serves the protocol to its peers and clients, NFS at its own NFS address (each call goes through the whole group), and a status page; the addresses are in cluster.toml. Its data directory holds its log and checkpoints, and the file pid while it runs. It ends at SIGTERM; kill -9 is a normal event too.`
}

// Run implements the subcommand.
func (c replicaCmd) Run(p *process) error {
	defer headroom()()
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if int64(c.ID) >= int64(cluster.N()) {
		return &exitError{exitUsage, fmt.Errorf("--id %d: the cluster has replicas 0 to %d", c.ID, cluster.N()-1)}
	}
	me := cluster.Replicas[c.ID]
	dir := c.Dir
	if dir == "" {
		dir = memberDir(filepath.Dir(c.Config), replicaPrincipal(me.ID))
	}
	key := c.Key
	if key == "" {
		key = filepath.Join(dir, "key")
	}
	identity, err := c.read(key)
	if err != nil {
		return err
	}
	if identity.Principal != replicaPrincipal(me.ID) {
		return fmt.Errorf("%s is the key of %v, not of replica %d", key, identity.Principal, c.ID)
	}
	keys, err := cluster.Keyring(identity)
	if err != nil {
		return err
	}
	release, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer release()
	remove, err := writePid(dir)
	if err != nil {
		return err
	}
	defer remove()
	ctx, cancel := withLifeline(p.ctx)
	defer cancel()
	err = c.serve(ctx, p, cluster, me, keys, dir)
	if errors.Is(err, errRecover) && ctx.Err() == nil {
		return startAnew(p.log, err)
	}
	return err
}

// serve runs the replica, its front end and its status page until ctx ends or one of them fails.
func (c replicaCmd) serve(ctx context.Context, p *process, cluster *config.Cluster, me config.Replica, keys *auth.Keyring, dir string) error {
	registry := newRegistry()
	asked := &statusSource{id: me.ID, durability: string(cluster.Durability)}
	load := &statuspage.Load{}
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	defer func() {
		stop()
		_ = group.Wait() // the page; its error was returned below, unless there was another one before
	}()
	// The status page is there first: it tells how the start goes, which may take a while.
	if me.Status != "" {
		l, err := listen(ctx, fmt.Sprintf("replica %d's status page", me.ID), me.Status)
		if err != nil {
			return err
		}
		page := statuspage.Handler(statuspage.Config{Cluster: cluster, Name: fmt.Sprintf("replica %d", me.ID), Log: p.log, Calls: load})
		group.Go(func() error { return serveStatus(ctx, l, asked, page, registry, p.log) })
		group.Go(func() error { load.Run(ctx); return nil })
	}
	peers, err := listen(ctx, fmt.Sprintf("replica %d's peers", me.ID), me.Peer)
	if err != nil {
		return err
	}
	fs := fsstate.New(clusterFileSystem(cluster))
	node, err := replica.Open(replica.Options{
		Cluster: cluster, Keys: keys, Service: fsservice.New(fs, cluster.Tunables.ClockSkew()), StoreDir: filepath.Join(dir, "store"), Genesis: c.genesisPath(),
		Listener: peers, Log: p.log, Metrics: registry, Version: buildName(), Loading: &asked.loading,
	})
	if err != nil {
		return errors.Join(err, peers.Close())
	}
	defer node.Close()
	asked.node.Store(node)
	if w := newWatchdog(cluster, me.ID, node, p.log); w != nil {
		group.Go(func() error { return w.run(ctx) })
	}
	if me.NFS != "" {
		front, err := client.Dial(cluster, keys, p.log)
		if err != nil {
			return err
		}
		defer front.Close()
		if err := transport.Join(node.Transport(), front.Transport()); err != nil {
			return err
		}
		if err := registerClient(registry, front); err != nil {
			return err
		}
		l, err := listen(ctx, fmt.Sprintf("replica %d's NFS", me.ID), me.NFS)
		if err != nil {
			return err
		}
		server, err := c.serving(front, clusterIdentity(cluster), nfs.LockConfig{Front: fmt.Sprintf("replica-%d", me.ID)}, p.log, registry, load)
		if err != nil {
			return err
		}
		ports, err := announce(ctx, c.Rpcbind, "", server, l, p.log)
		if err != nil {
			return err
		}
		group.Go(func() error { return serveFrontend(ctx, server, l, ports) })
	}
	// The front end's last calls need the node: it ends after everything else.
	nodeCtx, stopNode := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNode()
	nodeEnded := make(chan error, 1)
	go func() { nodeEnded <- node.Run(nodeCtx) }()
	err = group.Wait()
	stopNode()
	return errors.Join(err, <-nodeEnded)
}

func (c replicaCmd) genesisPath() string {
	if c.Genesis != "" {
		return c.Genesis
	}
	return filepath.Join(filepath.Dir(c.Config), "genesis")
}
