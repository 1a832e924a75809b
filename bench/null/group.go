package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"bfsd/internal/crowd"
	"bfsd/replica"
	"bfsd/replica/auth"
	"bfsd/replica/config"
)

// setting is what a group is made like. The zero replicas mean the unreplicated server.
type setting struct {
	replicas   int
	durability config.Durability
	gateways   int
	off        string // the switch that is off; "" for none
	interval   int    // batches between checkpoints; 0: the default
	state      int64  // bytes of files in the state
	warmup     time.Duration
}

// group is a running group of replicas, or the unreplicated server, and the process of its clients.
type group struct {
	setting
	dir     string
	cluster *config.Cluster
	servers []*child
	load    *child
}

// agreePoll is how often replicas are asked whether they agree already.
const agreePoll = 2 * time.Millisecond

// startGroup makes a cluster in a directory of its own under scratch, starts its processes, and waits until all of them
// have links to all others.
func startGroup(ctx context.Context, scratch string, s setting) (_ *group, err error) {
	g := &group{setting: s}
	if g.dir, err = os.MkdirTemp(scratch, "bench-null-"); err != nil {
		return nil, fmt.Errorf("making a directory for a cluster: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.stop())
		}
	}()
	listeners, err := g.listen(ctx)
	defer func() {
		for _, l := range listeners {
			l.Close() // the processes have their own
		}
	}()
	if err != nil {
		return nil, err
	}
	ids, err := g.makeCluster(listeners)
	if err != nil {
		return nil, err
	}
	env := crowd.Environ(len(listeners) + 1)
	for i, l := range listeners {
		if err := g.startServer(i, l, env); err != nil {
			return nil, err
		}
	}
	for _, c := range g.servers {
		if _, err := c.receive(ctx, &struct{}{}); err != nil {
			return nil, err
		}
	}
	if err := g.startLoad(ctx, ids[len(listeners):], env); err != nil {
		return nil, err
	}
	_, err = g.agree(ctx, 0)
	return g, err
}

func (g *group) plain() bool { return g.replicas == 0 }

// listen opens the sockets that the servers will inherit.
func (g *group) listen(ctx context.Context) ([]*net.TCPListener, error) {
	var listeners []*net.TCPListener
	for range max(1, g.replicas) {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return listeners, fmt.Errorf("listening for a server: %w", err)
		}
		listeners = append(listeners, l.(*net.TCPListener))
	}
	return listeners, nil
}

// makeCluster writes cluster.toml and the keys.
func (g *group) makeCluster(listeners []*net.TCPListener) ([]auth.Identity, error) {
	o := config.Options{Durability: g.durability, Limits: config.DefaultLimits()}
	o.Limits.MaxBytes = max(o.Limits.MaxBytes, 2*uint64(g.state))
	for _, l := range listeners {
		o.Replicas = append(o.Replicas, config.Addresses{Peer: l.Addr().String()})
	}
	for i := range g.gateways {
		o.Gateways = append(o.Gateways, fmt.Sprintf("clients-%d", i))
	}
	cluster, ids, err := config.Generate(o)
	if err != nil {
		return nil, err
	}
	g.cluster = cluster
	if g.interval > 0 {
		cluster.Tunables.CheckpointInterval = uint64(g.interval)
	}
	switchOff(&cluster.Optimisations, g.off)
	if err := cluster.Save(g.configPath()); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := auth.WriteKeyFile(g.keyPath(id), id, nil); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (g *group) configPath() string { return filepath.Join(g.dir, "cluster.toml") }

func (g *group) keyPath(id auth.Identity) string {
	return filepath.Join(g.dir, config.KeyFileName(id.Principal))
}

func (g *group) startServer(i int, l *net.TCPListener, env []string) error {
	socket, err := l.File()
	if err != nil {
		return fmt.Errorf("handing a socket to a server: %w", err)
	}
	defer socket.Close()
	name, role := fmt.Sprintf("replica %d", i), roleReplica
	if g.plain() {
		name, role = "the unreplicated server", rolePlain
	}
	c, err := startChild(name, role, env, socket)
	if err != nil {
		return err
	}
	g.servers = append(g.servers, c)
	return c.send(memberSpec{
		Config: g.configPath(), Key: filepath.Join(g.dir, fmt.Sprintf("replica-%d.key", i)),
		Store: filepath.Join(g.dir, fmt.Sprintf("store-%d", i)), State: g.state,
	})
}

func (g *group) startLoad(ctx context.Context, gateways []auth.Identity, env []string) error {
	spec := loadSpec{Config: g.configPath(), Plain: g.plain()}
	for _, id := range gateways {
		spec.Keys = append(spec.Keys, g.keyPath(id))
	}
	for _, c := range g.servers {
		spec.Pids = append(spec.Pids, c.cmd.Process.Pid)
	}
	var err error
	if g.load, err = startChild("the clients", roleLoad, env, nil); err != nil {
		return err
	}
	return g.load.ask(ctx, spec, &struct{}{})
}

// agree waits until all replicas that run are in a view from minView on, have links to each other, and have executed and
// committed the same, and says how far they have come. It is how a run is verified: their roots cover every reply.
func (g *group) agree(ctx context.Context, minView uint64) (replica.Status, error) {
	if g.plain() {
		return replica.Status{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	again := time.NewTicker(agreePoll)
	defer again.Stop()
	for {
		all, err := g.statuses(ctx)
		if err != nil {
			return replica.Status{}, err
		}
		if agreed(all, minView) {
			return all[0], nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return replica.Status{}, fmt.Errorf("the replicas do not come to agree: %+v", all)
		}
	}
}

func (g *group) statuses(ctx context.Context) ([]replica.Status, error) {
	var all []replica.Status
	for _, c := range g.servers {
		if c.killed.Load() {
			continue
		}
		var s replica.Status
		if err := c.ask(ctx, "status", &s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func agreed(all []replica.Status, minView uint64) bool {
	for i := range all {
		a, b := &all[0], &all[i]
		if b.View < minView || b.View != a.View || b.Root == "" || b.Root != a.Root || b.Executed != a.Executed ||
			b.Committed != b.Executed || b.Peers != len(all)-1 {
			return false
		}
	}
	return true
}

// watch gives a context that also ends when a server does that nobody killed.
func (g *group) watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	for _, c := range g.servers {
		go func() {
			select {
			case <-c.done:
				if !c.killed.Load() {
					cancel(fmt.Errorf("%s has ended: %w", c.name, c.lastWords()))
				}
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// stop ends all processes and removes the directory.
func (g *group) stop() error {
	all := g.servers
	if g.load != nil {
		all = append(all, g.load)
	}
	for _, c := range all {
		c.in.Close() // all begin to end
	}
	var err error
	for _, c := range all {
		err = errors.Join(err, c.stop())
	}
	return errors.Join(err, os.RemoveAll(g.dir))
}
