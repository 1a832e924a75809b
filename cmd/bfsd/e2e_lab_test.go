package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bfsd/internal/kernelclient"
	"bfsd/internal/netlab"
	"bfsd/replica/config"
)

// labCluster is a cluster whose replicas are hosts of their own, each in a network namespace with one address, as bfsd init
// would set them up on several machines. The gateway, the kernel client and the test are at the site, the lab's hub.
type labCluster struct {
	*site
	dir     string
	cluster *config.Cluster
	lab     *netlab.Lab
	hosts   []*netlab.Host // by replica
	flags   []string       // of the replicas
	running []*server      // by replica
	gateway *server
	web     []*http.Client // by replica: from its own host, so that it can be asked when nobody else reaches it
}

// firstHostAddress is where the replicas' addresses begin, above those of kernelclient's guests.
const firstHostAddress = 210

// newLabCluster makes a cluster and starts it, the replicas with these flags.
func newLabCluster(t *testing.T, replicas int, flags ...string) *labCluster {
	t.Helper()
	c := &labCluster{site: newSite(t), flags: flags, dir: filepath.Join(t.TempDir(), "cluster")}
	var err error
	c.lab, err = netlab.On(t.Context(), c.network.Namespace(), kernelclient.Bridge, netip.MustParsePrefix(c.host()+"/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.lab.Close(); err != nil {
			t.Error("closing the lab:", err)
		}
	})
	addresses := make([]string, replicas)
	for i := range addresses {
		octets := netip.MustParseAddr(c.host()).As4()
		octets[3] = byte(firstHostAddress + i)
		host, err := c.lab.AddHost(t.Context(), netip.AddrFrom4(octets))
		if err != nil {
			t.Fatal(err)
		}
		c.hosts = append(c.hosts, host)
		c.web = append(c.web, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return host.Dial(ctx, addr)
		}}})
		t.Cleanup(c.web[i].CloseIdleConnections)
		addresses[i] = host.Address.String()
	}
	init := c.command(t.Context(), "init", "--dir", c.dir, "--durability", "memory", "--hosts", strings.Join(addresses, ","))
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("bfsd init: %v: %s", err, out)
	}
	if c.cluster, err = config.Load(filepath.Join(c.dir, "cluster.toml")); err != nil {
		t.Fatal(err)
	}
	c.run()
	return c
}

// run starts the replicas and the gateway until the test ends, and returns when all have links to all.
func (c *labCluster) run() {
	c.t.Helper()
	file := filepath.Join(c.dir, "cluster.toml")
	for i := range c.hosts {
		c.running = append(c.running, c.runReplica(i))
	}
	c.gateway = c.start("gateway", "--config", file, "--key", keyPath(c.dir, gatewayPrincipal(config.FirstGateway)), "--nfs", net.JoinHostPort(c.host(), strconv.Itoa(testPort)))
	c.await("links between all replicas", func(all []replicaReport) bool {
		for _, r := range all {
			if !r.Up || r.Peers != len(c.hosts)-1 {
				return false
			}
		}
		return true
	})
}

// runReplica starts a replica on its host.
func (c *labCluster) runReplica(i int) *server {
	c.t.Helper()
	binary, err := bfsdBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	args := []string{"replica", "--config", filepath.Join(c.dir, "cluster.toml"), "--id", strconv.Itoa(i)}
	cmd := c.hosts[i].Command(context.WithoutCancel(c.t.Context()), binary, append(args, c.flags...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // as under bfsd up: all hosts share this machine's cores
	return c.launch(cmd)
}

// ask gives what every replica says of itself, asked on its own host: cut off or not.
func (c *labCluster) ask() []replicaReport {
	c.t.Helper()
	all := make([]replicaReport, len(c.hosts))
	for i := range all {
		all[i] = c.askOne(i)
	}
	return all
}

func (c *labCluster) askOne(i int) (r replicaReport) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	r.Error = "no answer"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.cluster.Replicas[i].Status+"/status", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.web[i].Do(req)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatusBytes)).Decode(&r.Status); err != nil {
		r.Error = err.Error()
		return r
	}
	r.Up, r.Error = true, ""
	return r
}

// await polls all replicas until the condition holds, and says how long that took.
func (c *labCluster) await(what string, holds func([]replicaReport) bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	var all []replicaReport
	awaitCondition(c.t, what, func() bool {
		all = c.ask()
		return holds(all)
	}, func() string { return fmt.Sprintf("%+v", all) })
	return time.Since(began)
}

// agreed says whether all replicas have executed the same, have nothing left to commit, and have one state.
func agreed(all []replicaReport) bool {
	for _, r := range all {
		if !r.Up || r.Root == "" || r.Root != all[0].Root || r.Executed != all[0].Executed || r.Committed != r.Executed {
			return false
		}
	}
	return true
}

// copies is a guest's unending work: one copy of a tree after the other, each in a directory of its own.
type copies struct {
	s     *site
	guest *kernelclient.Guest
	mnt   string
	tree  string
	name  string
	ended chan error
	out   bytes.Buffer
}

func (s *site) startCopies(guest *kernelclient.Guest, mnt, tree, name string) *copies {
	s.t.Helper()
	w := &copies{s: s, guest: guest, mnt: mnt, tree: filepath.Join(goSource(s.t), tree), name: name, ended: make(chan error, 1)}
	script := fmt.Sprintf(`set -eu; rm -f $TMPDIR/stop; n=0
while [ ! -e $TMPDIR/stop ]; do cp -a %s %s/%s$n; n=$((n+1)); done; echo $n`, w.tree, mnt, name)
	go func() {
		var errs bytes.Buffer
		exit, err := guest.Script(s.t.Context(), script, &w.out, &errs)
		if err == nil && (exit != 0 || errs.Len() > 0) {
			err = fmt.Errorf("copying ended with %d: %s", exit, &errs)
		}
		w.ended <- err
	}()
	return w
}

// stop lets the copy that is under way end, and says how many there are.
func (w *copies) stop() int {
	w.s.t.Helper()
	var out bytes.Buffer
	if exit, err := w.guest.Script(w.s.t.Context(), "touch $TMPDIR/stop", &out, &out); err != nil || exit != 0 {
		w.s.t.Fatalf("stopping the copies: %v, exit code %d: %s", err, exit, &out)
	}
	if err := <-w.ended; err != nil {
		w.s.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(w.out.String()))
	if err != nil || n == 0 {
		w.s.t.Fatalf("it made %q copies (%v)", &w.out, err)
	}
	return n
}

// compare compares n copies with the tree, byte for byte, through a mount that has nothing cached.
func (w *copies) compare(mnt string, n int) {
	w.s.t.Helper()
	var out bytes.Buffer
	exit, err := w.guest.Script(w.s.t.Context(), fmt.Sprintf(
		"n=0; while [ $n -lt %d ]; do diff -r --no-dereference %s %s/%s$n || exit 1; n=$((n+1)); done", n, w.tree, mnt, w.name), &out, &out)
	if err != nil || exit != 0 {
		w.s.t.Fatalf("comparing %d copies: %v, exit code %d: %s", n, err, exit, &out)
	}
}
