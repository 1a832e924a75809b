package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"bfsd/internal/crowd"
	"bfsd/internal/nfsclient"
	"bfsd/replica/config"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

type upCmd struct {
	Dir        string `default:"bfsd-data" placeholder:"DIR" help:"Where the cluster lives (${default}); made if there is none."`
	NFS        string `name:"nfs" default:"127.0.0.1:12049" placeholder:"HOST:PORT" help:"The gateway serves NFS and MOUNT here (${default}); the replicas listen on HOST too."`
	Status     string `placeholder:"HOST:PORT" help:"The gateway serves the status page and its metrics here (127.0.0.1:12080, or a port after it that is free)."`
	Replicas   int    `placeholder:"N" help:"How many replicas a new cluster gets: 3f+1 to tolerate f faulty ones (4)."`
	Durability string `placeholder:"memory|os|disk" help:"What an acknowledged write survives: memory (f replicas' loss), os (kill -9 of all), disk (a power cut of all; the default of a new cluster)."`
	limitFlags
	frontendFlags
}

// Help is shown by --help below the summary.
func (upCmd) Help() string {
	return `Makes keys and a cluster under --dir if there is none, starts each replica as a process of its own and a gateway, prints how to mount it, and then the line "ready" once calls are answered. Ctrl-C or SIGTERM stops it all; started again it comes back with its data (unless durability is memory).

Each replica's directory DIR/replica-I holds its key, its data, its log and, while it runs, its pid. A replica that ends is not started again by itself: the others go on, and a message says how to start it.`
}

// startTimeout bounds how long a cluster may take to answer its first call. A replica with much state reads it back
// first.
const startTimeout = 2 * time.Minute

// stopGrace is how long the processes get to end by themselves.
const stopGrace = 10 * time.Second

// Run implements the subcommand.
func (c upCmd) Run(p *process) error {
	host, _, err := net.SplitHostPort(c.NFS)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("--nfs %q: want HOST:PORT, such as 127.0.0.1:12049: %w", c.NFS, err)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return &exitError{exitUsage, fmt.Errorf("--nfs %q: the replicas listen on HOST too and have to reach each other there: name one address, such as 127.0.0.1", c.NFS)}
	}
	if c.Durability != "" {
		if _, err := store.ParseDurability(c.Durability); err != nil {
			return &exitError{exitUsage, fmt.Errorf("--durability: %w", err)}
		}
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil { // children and printed commands name it
		return fmt.Errorf("finding %s: %w", c.Dir, err)
	}
	release, err := lockDir(c.Dir)
	if err != nil {
		return err
	}
	defer release()
	// Held until the gateway takes it over: the port is known to be free before anything is made or started.
	probe, err := listen(p.ctx, "NFS (--nfs)", c.NFS)
	if err != nil {
		return err
	}
	nfsAddr := probe.Addr().String()
	cluster, err := c.cluster(p, host, nfsAddr)
	if err != nil {
		probe.Close()
		return err
	}
	if err := probe.Close(); err != nil {
		return fmt.Errorf("releasing %s for the gateway: %w", nfsAddr, err)
	}
	if c.Status, err = c.statusAddress(p.ctx, host); err != nil {
		return err
	}
	return c.supervise(p, cluster, nfsAddr)
}

// statusPort is where the status page is, unless somebody else is there.
const statusPort = 12080

// statusAddress is where the gateway serves the status page. The gateway finds out if somebody takes it meanwhile.
func (c upCmd) statusAddress(ctx context.Context, host string) (string, error) {
	if c.Status == "" {
		return freeAddress(ctx, host, statusPort)
	}
	probe, err := listen(ctx, "the status page (--status)", c.Status)
	if err != nil {
		return "", err
	}
	return probe.Addr().String(), probe.Close()
}

func (c upCmd) configPath() string { return filepath.Join(c.Dir, "cluster.toml") }

// supervise starts the processes, waits until the cluster answers, and then until it is told to stop.
func (c upCmd) supervise(p *process, cluster *config.Cluster, nfsAddr string) (err error) {
	lifeline, hold, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making the processes' lifeline: %w", err)
	}
	defer hold.Close()
	defer lifeline.Close()
	var children []*child
	defer func() { stopChildren(children, stopGrace) }()
	start := func(name, dir string, args ...string) error {
		ch, err := startChild(name, dir, lifeline, crowd.Environ(cluster.N()+1), append(args, "--frontend", c.Frontend, "--log-level", p.level.String())...)
		if err == nil {
			children = append(children, ch)
		}
		return err
	}
	for i := range cluster.Replicas {
		if err := start(fmt.Sprintf("replica %d", i), memberDir(c.Dir, replicaPrincipal(wire.ReplicaID(i))), "replica", "--config="+c.configPath(), "--id", strconv.Itoa(i)); err != nil {
			return err
		}
	}
	gateway := gatewayPrincipal(config.FirstGateway)
	if err := start("the gateway", memberDir(c.Dir, gateway), "gateway", "--config="+c.configPath(), "--key="+keyPath(c.Dir, gateway), "--nfs", nfsAddr, "--status", c.Status, "--rpcbind", c.Rpcbind); err != nil {
		return err
	}
	if err := waitReady(p.ctx, nfsAddr, children, cluster.F()); err != nil {
		return err
	}
	c.printMap(p, cluster, nfsAddr)
	return c.watch(p, children, nfsAddr)
}

// waitReady returns once a call through the gateway is answered. Up to f replicas may have ended before that, as at any
// other time.
func waitReady(ctx context.Context, addr string, children []*child, f int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		lastErr := firstCall(ctx, addr)
		if lastErr == nil {
			return nil
		}
		ended := 0
		for _, c := range children {
			if !c.exited() {
				continue
			}
			if ended++; ended > f || !c.isReplica() {
				return fmt.Errorf("starting the cluster: %s ended (%s); the end of its log %s:\n%s", c.name, c.how(), c.logPath, c.lastWords())
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return errors.New("starting the cluster: stopped before it was ready")
			}
			return fmt.Errorf("starting the cluster: no answer within %v (%w); the processes' logs are beside their data", startTimeout, lastErr)
		}
	}
}

// firstCall mounts the root and reads its attributes as a user's kernel would: one operation through the whole group.
func firstCall(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := nfsclient.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer client.Close()
	root, err := client.Mount(ctx, "/")
	if err != nil {
		return err
	}
	_, err = client.GetAttr(ctx, root)
	return err
}

func (c upCmd) printMap(p *process, cluster *config.Cluster, nfsAddr string) {
	fmt.Fprintf(p.stdout, "%d replicas (%d may be faulty), durability %s, data in %s\n", cluster.N(), cluster.F(), cluster.Durability, c.Dir)
	fmt.Fprintf(p.stdout, "  mount (as root):  %s\n", c.mountCommand(nfsAddr))
	fmt.Fprintf(p.stdout, "  status page:      http://%s/\n", c.Status)
	fmt.Fprintf(p.stdout, "  status:           bfsd status --config %s\n", quoted(c.configPath()))
	for _, r := range cluster.Replicas {
		fmt.Fprintf(p.stdout, "  replica %d:        peers %s, NFS %s, status page http://%s/\n", r.ID, r.Peer, r.NFS, r.Status)
	}
	fmt.Fprintln(p.stdout, "ready")
}

// watch waits until this process is told to stop, and tells of children that end before that. What is left goes on: the
// group without a replica, and the replicas, who hold the files, without the gateway.
func (c upCmd) watch(p *process, children []*child, nfsAddr string) error {
	ended := make(chan *child)
	for _, ch := range children {
		go func() {
			<-ch.done
			select {
			case ended <- ch:
			case <-p.ctx.Done():
			}
		}()
	}
	for {
		select {
		case <-p.ctx.Done():
			return nil
		case ch := <-ended:
			again := fmt.Sprintf("bfsd replica --config %s --id %s", quoted(c.configPath()), strings.TrimPrefix(ch.name, "replica "))
			if !ch.isReplica() {
				again = fmt.Sprintf("bfsd gateway --config %s --key %s --nfs %s --status %s", quoted(c.configPath()), quoted(keyPath(c.Dir, gatewayPrincipal(config.FirstGateway))), nfsAddr, c.Status)
			}
			fmt.Fprintf(p.stderr, "bfsd up: %s ended (%s); the others go on. Start it again with: %s\n", ch.name, ch.how(), again)
			if words := ch.lastWords(); words != "" {
				fmt.Fprintf(p.stderr, "The end of its log %s:\n%s\n", ch.logPath, words)
			}
		}
	}
}

// isReplica tells a replica from the gateway.
func (c *child) isReplica() bool { return strings.HasPrefix(c.name, "replica ") }

// quoted is a path as a shell wants it.
func quoted(path string) string {
	if strings.IndexFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
