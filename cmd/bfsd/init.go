package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"bfsd/fsstate"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type initCmd struct {
	Replace       *uint32 `placeholder:"I" xor:"replace" help:"Instead of making a cluster, give replica I of the one in DIR a new key, for a new machine that takes the place of a dead one (at --hosts HOST, if its address is another), and print what to do then."`
	ReplaceClient *uint32 `placeholder:"ID" xor:"replace" help:"Instead of making a cluster, give client ID (a gateway, a backup or an operator) of the one in DIR a new key, and print what to do then."`
	clusterFlags
	limitFlags
}

// clusterFlags say what a new cluster is made of.
type clusterFlags struct {
	Dir            string        `required:"" placeholder:"DIR" help:"Write the cluster here; DIR must not hold one."`
	Hosts          []string      `placeholder:"HOST" help:"The replicas' machines, one for each: 4, 7, 10 or 13 names or addresses."`
	Port           int           `default:"12050" help:"Each replica listens for its peers on this port, serves NFS on the next and its status page on the one after (${default}). Replicas that share a host get the ports after those."`
	Gateways       []string      `default:"gateway" placeholder:"NAME" help:"Make a key for a gateway of each of these names (${default})."`
	Backups        []string      `default:"backup" placeholder:"NAME" help:"Make a key for bfsd export, which may copy everything, of each of these names (${default})."`
	Operators      []string      `default:"operator" placeholder:"NAME" help:"Make a key for bfsd export-policy, which changes the exports, of each of these names (${default})."`
	Durability     string        `default:"disk" enum:"memory,os,disk" help:"What an acknowledged write survives: memory, os (kill -9 of all), disk (a power cut of all; the default)."`
	RecoveryPeriod time.Duration `placeholder:"TIME" help:"Let every replica start itself again once in this time, in turn: see recovery in cluster.toml (never)."`
	PassphraseFile string        `type:"path" placeholder:"FILE" help:"Seal the key files with the passphrase in this file's first line."`
}

// limitFlags size a file system.
type limitFlags struct {
	MaxBytes uint64 `default:"4294967296" placeholder:"BYTES" help:"The file system's size (4 GiB). Every replica keeps it in memory."`
	MaxFiles uint64 `default:"4000000" placeholder:"N" help:"The most files, directories and links it holds (4,000,000)."`
}

func (l limitFlags) limits() config.Limits {
	limits := config.DefaultLimits()
	limits.MaxBytes, limits.MaxInodes = l.MaxBytes, l.MaxFiles
	return limits
}

// fileSystem is a new file system of these limits.
func fileSystem(seed [32]byte, l config.Limits) fsstate.Config {
	duplicates := l.Duplicates
	if duplicates == 0 {
		duplicates = -1 // none, not the default
	}
	return fsstate.Config{Seed: seed, MaxBytes: l.MaxBytes, MaxInodes: l.MaxInodes, Duplicates: duplicates}
}

// Help is shown by --help below the summary.
func (initCmd) Help() string {
	return `Writes DIR/cluster.toml, which is public and the same for all, and for each member a directory with its private key: DIR/replica-I/key, DIR/gateway-ID/key, DIR/backup-ID/key, DIR/operator-ID/key. Give each machine cluster.toml and its own directory, and nobody else's; then remove DIR. On each machine:

  bfsd replica --config cluster.toml --id I
  bfsd gateway --config cluster.toml --key gateway-100/key --nfs 127.0.0.1:12049
  bfsd export --config cluster.toml --key backup-101/key --output FILE`
}

// Run implements the subcommand.
func (c initCmd) Run(p *process) error {
	passphrase, err := readPassphrase(c.PassphraseFile)
	if err != nil {
		return err
	}
	if c.Replace != nil {
		return replacement{dir: c.Dir, id: *c.Replace, hosts: c.Hosts, passphrase: passphrase}.make(p)
	}
	if c.ReplaceClient != nil {
		return clientReplacement{dir: c.Dir, id: wire.ClientID(*c.ReplaceClient), passphrase: passphrase}.make(p)
	}
	if err := c.check(); err != nil {
		return err
	}
	cluster, ids, err := config.Generate(c.options(c.limits()))
	if err != nil {
		return err
	}
	if err := writeCluster(c.Dir, cluster, ids, passphrase, nil); err != nil {
		return err
	}
	c.printMembers(p, cluster)
	return nil
}

// check looks whether such a cluster can be made.
func (c clusterFlags) check() error {
	path := filepath.Join(c.Dir, "cluster.toml")
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already; its keys and data would be lost: choose another --dir", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for a cluster in %s: %w", c.Dir, err)
	}
	if !slices.Contains(groupSizes, len(c.Hosts)) {
		return &exitError{exitUsage, fmt.Errorf("--hosts names %d machines: want 3f+1 of them, one of %v, to tolerate f faulty ones", len(c.Hosts), groupSizes)}
	}
	return nil
}

func (c clusterFlags) options(limits config.Limits) config.Options {
	return config.Options{
		Replicas: c.addresses(), Gateways: c.Gateways, Backups: c.Backups, Operators: c.Operators, Durability: config.Durability(c.Durability), Limits: limits,
		Recovery: config.Recovery{PeriodS: int(c.RecoveryPeriod / time.Second)},
	}
}

// printMembers tells how to start what was made.
func (c clusterFlags) printMembers(p *process, cluster *config.Cluster) {
	fmt.Fprintf(p.stdout, "%s: %d replicas (%d may be faulty), durability %s\n", filepath.Join(c.Dir, "cluster.toml"), cluster.N(), cluster.F(), cluster.Durability)
	for _, r := range cluster.Replicas {
		fmt.Fprintf(p.stdout, "  on %-20s bfsd replica --config cluster.toml --id %d   with the directory %s\n", r.Peer, r.ID, memberDir(c.Dir, replicaPrincipal(r.ID)))
	}
	for _, g := range cluster.Clients {
		switch {
		case g.Backup:
			fmt.Fprintf(p.stdout, "  backups %-15s bfsd export --config cluster.toml --key %s --output FILE\n", g.Name, filepath.Join(backupDir(c.Dir, g.ID), "key"))
		case g.Operator:
			fmt.Fprintf(p.stdout, "  operator %-14s bfsd export-policy show --config cluster.toml --key %s\n", g.Name, filepath.Join(operatorDir(c.Dir, g.ID), "key"))
		default:
			fmt.Fprintf(p.stdout, "  gateway %-15s bfsd gateway --config cluster.toml --key %s --nfs HOST:PORT\n", g.Name, keyPath(c.Dir, gatewayPrincipal(g.ID)))
		}
	}
}

// addresses gives every replica three ports in a row, after those of the replicas before it on the same host.
func (c clusterFlags) addresses() []config.Addresses {
	next := map[string]int{}
	addrs := make([]config.Addresses, len(c.Hosts))
	for i, host := range c.Hosts {
		port := c.Port + next[host]
		next[host] += 3
		at := func(offset int) string { return net.JoinHostPort(host, strconv.Itoa(port+offset)) }
		addrs[i] = config.Addresses{Peer: at(0), NFS: at(1), Status: at(2)}
	}
	return addrs
}

// readPassphrase reads the first line of a file; no file, no passphrase.
func readPassphrase(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	if len(line) == 0 {
		return nil, fmt.Errorf("reading the passphrase: the first line of %s is empty", path)
	}
	return line, nil
}
