package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// memberDir is where a member of the cluster whose cluster.toml lies in dir keeps its key, data and log.
func memberDir(dir string, p wire.Principal) string {
	if p.Role == wire.RoleReplica {
		return filepath.Join(dir, "replica-"+strconv.FormatUint(uint64(p.ID), 10))
	}
	return filepath.Join(dir, "gateway-"+strconv.FormatUint(uint64(p.ID), 10))
}

func replicaPrincipal(id wire.ReplicaID) wire.Principal {
	return wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}
}

func gatewayPrincipal(id wire.ClientID) wire.Principal {
	return wire.Principal{Role: wire.RoleClient, ID: uint32(id)}
}

// backupDir is where the key of a client that makes backups lies.
func backupDir(dir string, id wire.ClientID) string {
	return filepath.Join(dir, "backup-"+strconv.FormatUint(uint64(id), 10))
}

// operatorDir is where the key of an operator lies.
func operatorDir(dir string, id wire.ClientID) string {
	return filepath.Join(dir, "operator-"+strconv.FormatUint(uint64(id), 10))
}

// homeDir is memberDir for every member, backup clients and operators too.
func homeDir(dir string, cluster *config.Cluster, p wire.Principal) string {
	for _, c := range cluster.Clients {
		switch {
		case gatewayPrincipal(c.ID) != p:
		case c.Backup:
			return backupDir(dir, c.ID)
		case c.Operator:
			return operatorDir(dir, c.ID)
		}
	}
	return memberDir(dir, p)
}

// keyPath is the key file of a member of the cluster in dir.
func keyPath(dir string, p wire.Principal) string { return filepath.Join(memberDir(dir, p), "key") }

// writeCluster writes a new cluster: every member's key, what more there is to it (nil: nothing), then cluster.toml. While it
// does, the file "making" is there, by which an attempt that was cut off is told from a cluster whose cluster.toml was lost:
// the keys of the latter cannot be had back, and its data would be worthless without them.
func writeCluster(dir string, cluster *config.Cluster, ids []auth.Identity, passphrase []byte, more func() error) error {
	making := filepath.Join(dir, "making")
	if _, err := os.Stat(making); errors.Is(err, fs.ErrNotExist) {
		for _, id := range ids {
			if _, err := os.Stat(filepath.Join(homeDir(dir, cluster, id.Principal), "key")); err == nil {
				return fmt.Errorf("making a cluster: %s holds the key of %v of a cluster, but no cluster.toml; put that file back, or choose another --dir", dir, id.Principal)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a cluster: %w", err)
	}
	if err := os.WriteFile(making, nil, 0o600); err != nil {
		return fmt.Errorf("making a cluster: %w", err)
	}
	for _, id := range ids {
		if err := writeKey(homeDir(dir, cluster, id.Principal), id, passphrase); err != nil {
			return err
		}
	}
	if more != nil {
		if err := more(); err != nil {
			return err
		}
	}
	if err := cluster.Save(filepath.Join(dir, "cluster.toml")); err != nil {
		return err
	}
	if err := os.Remove(making); err != nil {
		return fmt.Errorf("making a cluster: %w", err)
	}
	return nil
}

// writeKey writes a member's key into its directory, over one that is left there.
func writeKey(dir string, id auth.Identity, passphrase []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of %v: %w", id.Principal, err)
	}
	path := filepath.Join(dir, "key")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the left-over key of %v: %w", id.Principal, err)
	}
	return auth.WriteKeyFile(path, id, passphrase)
}

// groupSizes are the groups that are tested: f = 1 to 4.
var groupSizes = []int{4, 7, 10, 13}

// portSearch bounds the search for free ports.
const portSearch = 2000

// freeAddresses finds three free ports on host for each of n replicas, from port on upwards. They can be taken by others
// before the replicas listen on them; then those say so.
func freeAddresses(ctx context.Context, host string, port, n int) ([]config.Addresses, error) {
	addrs := make([]config.Addresses, n)
	for i := range addrs {
		for _, a := range []*string{&addrs[i].Peer, &addrs[i].NFS, &addrs[i].Status} {
			var err error
			if *a, err = freeAddress(ctx, host, port); err != nil {
				return nil, err
			}
			_, taken, err := net.SplitHostPort(*a)
			if err != nil {
				return nil, fmt.Errorf("the address %s: %w", *a, err)
			}
			if port, err = strconv.Atoi(taken); err != nil {
				return nil, fmt.Errorf("the address %s: %w", *a, err)
			}
			port++
		}
	}
	return addrs, nil
}

// freeAddress finds a free port on host, from port on upwards.
func freeAddress(ctx context.Context, host string, port int) (string, error) {
	for limit := port + portSearch; port < min(limit, 65536); port++ {
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := listen(ctx, "a part of the cluster", addr)
		if err == nil {
			return addr, l.Close()
		}
		var coded *exitError
		if !errors.As(err, &coded) || coded.code != exitPortBusy {
			return "", err
		}
	}
	return "", &exitError{exitPortBusy, fmt.Errorf("finding free ports on %s: none among the %d below %d", host, portSearch, port)}
}

// cluster loads the cluster that bfsd up shall run, or makes it.
func (c upCmd) cluster(p *process, host, nfsAddr string) (*config.Cluster, error) {
	_, portText, err := net.SplitHostPort(nfsAddr)
	if err != nil {
		return nil, fmt.Errorf("the NFS address %q: %w", nfsAddr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("the NFS address %q: %w", nfsAddr, err)
	}
	cluster, err := config.Load(c.configPath())
	if errors.Is(err, fs.ErrNotExist) {
		return c.newCluster(p, host, port)
	}
	if err != nil {
		return nil, err
	}
	return cluster, c.adapt(p, cluster, host, port)
}

func (c upCmd) newCluster(p *process, host string, port int) (*config.Cluster, error) {
	n := c.Replicas
	if n == 0 {
		n = 4
	}
	if !slices.Contains(groupSizes, n) { // checked before the search for ports, so that a huge N fails at once
		return nil, &exitError{exitUsage, fmt.Errorf("--replicas %d: want 3f+1 of them, one of %v, to tolerate f faulty ones", n, groupSizes)}
	}
	addrs, err := freeAddresses(p.ctx, host, port+1, n)
	if err != nil {
		return nil, err
	}
	cluster, ids, err := config.Generate(config.Options{Replicas: addrs, Gateways: []string{"gateway"}, Backups: []string{"backup"}, Operators: []string{"operator"}, Durability: config.Durability(c.Durability), Limits: c.limits()})
	if err != nil {
		return nil, err
	}
	return cluster, writeCluster(c.Dir, cluster, ids, nil, nil)
}

// adapt fits a cluster that is there already to this command line. All of it runs on this machine, so its addresses and
// its durability may change from one start to the next; the number of replicas may not.
func (c upCmd) adapt(p *process, cluster *config.Cluster, host string, port int) error {
	if c.Replicas != 0 && c.Replicas != cluster.N() {
		return &exitError{exitUsage, fmt.Errorf(
			"--replicas %d: %s holds a cluster of %d; leave --replicas out to run it, or choose another --dir for a new one", c.Replicas, c.Dir, cluster.N())}
	}
	for _, r := range cluster.Replicas {
		if dir := memberDir(c.Dir, replicaPrincipal(r.ID)); inUse(dir) {
			return fmt.Errorf("replica %d is running already (its pid is in %s); stop it first", r.ID, filepath.Join(dir, "pid"))
		}
	}
	changed, err := c.adaptDurability(cluster)
	if err != nil {
		return err
	}
	if !addressesUsable(p.ctx, cluster, host) {
		addrs, err := freeAddresses(p.ctx, host, port+1, cluster.N())
		if err != nil {
			return err
		}
		for i, a := range addrs {
			r := &cluster.Replicas[i]
			r.Peer, r.NFS, r.Status = a.Peer, a.NFS, a.Status
		}
		p.log.Warn("the replicas got new addresses: those in cluster.toml are taken or on another host", "dir", c.Dir, "host", host)
		changed = true
	}
	if !changed {
		return nil
	}
	return cluster.Save(c.configPath())
}

// adaptDurability takes over the durability that is asked for. A start in memory makes another file system, so its handles
// and write verifier must be others than before: a client that kept the old ones sees them refused, and not other files.
func (c upCmd) adaptDurability(cluster *config.Cluster) (changed bool, err error) {
	before := cluster.Durability
	if c.Durability != "" {
		cluster.Durability = config.Durability(c.Durability)
	}
	if before != config.Memory && cluster.Durability != config.Memory {
		return cluster.Durability != before, nil
	}
	if before != config.Memory {
		return false, &exitError{exitUsage, fmt.Errorf(
			"--durability memory: %s holds files that are kept on disk (durability %s), which a start in memory would not show; choose another --dir", c.Dir, before)}
	}
	rand.Read(cluster.Seed[:])
	return true, nil
}

// addressesUsable reports whether every replica's addresses are on host and free.
func addressesUsable(ctx context.Context, cluster *config.Cluster, host string) bool {
	for _, r := range cluster.Replicas {
		for _, addr := range []string{r.Peer, r.NFS, r.Status} {
			if h, _, err := net.SplitHostPort(addr); err != nil || h != host {
				return false
			}
			l, err := listen(ctx, "a replica", addr)
			if err != nil {
				return false
			}
			l.Close()
		}
	}
	return true
}
