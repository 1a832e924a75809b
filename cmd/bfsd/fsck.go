package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bfsd/fsstate"
	"bfsd/internal/fsservice"
	"bfsd/replica"
	"bfsd/replica/config"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

type fsckCmd struct {
	Config string `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	ID     uint32 `required:"" name:"id" placeholder:"I" help:"Whose data to check: 0 to n-1. That replica must not be running."`
	Dir    string `placeholder:"DIR" help:"Where its data are (replica-I beside cluster.toml)."`
}

// Help is shown by --help below the summary.
func (fsckCmd) Help() string {
	return `Reads a stopped replica's last checkpoint, compares its root with the one the replica recorded, and checks every invariant of the file system: link counts, parents, reachability, pages and entries without owner, sizes, quotas and counters. It changes nothing; a replica whose data are bad gets good ones from the others when its store directory is moved away. Exit code 0: sound; 1: not.`
}

// Run implements the subcommand.
func (c fsckCmd) Run(p *process) error {
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if int64(c.ID) >= int64(cluster.N()) {
		return &exitError{exitUsage, fmt.Errorf("--id %d: the cluster has replicas 0 to %d", c.ID, cluster.N()-1)}
	}
	if cluster.Durability == config.Memory {
		return errors.New("the cluster's durability is memory: there is nothing on disk to check")
	}
	dir := c.Dir
	if dir == "" {
		dir = memberDir(filepath.Dir(c.Config), replicaPrincipal(wire.ReplicaID(c.ID)))
	}
	storeDir := filepath.Join(dir, "store")
	if _, err := os.Stat(storeDir); err != nil {
		return fmt.Errorf("looking for replica %d's data: %w", c.ID, err)
	}
	release, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer release()
	s, err := store.Open(store.Options{
		Dir: storeDir, Durability: store.Durability(cluster.Durability), Log: p.log, ReadOnly: true,
		Owner: replica.StoreOwner(cluster, wire.ReplicaID(c.ID)),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	meta, ok, err := s.Meta()
	if err != nil {
		return err
	}
	if !ok {
		fmt.Fprintln(p.stdout, "there is no checkpoint yet; all that happened is in the log, which the replica replays")
		return nil
	}
	fs := fsstate.New(fsstate.Config{Seed: fsstate.Seed(cluster.Seed)})
	if err := fsservice.New(fs, 0).Load(s.Pages); err != nil {
		return fmt.Errorf("reading the pages of checkpoint %d: %w", meta.Seq, err)
	}
	snapshot := fs.Snapshot()
	defer snapshot.Release()
	root := snapshot.Root()
	if root != meta.Root {
		return fmt.Errorf("checkpoint %d: the pages' root is %x, the recorded one %x: the disk has changed them", meta.Seq, root[:], meta.Root[:])
	}
	problems := fsstate.Check(snapshot)
	for _, problem := range problems {
		fmt.Fprintln(p.stdout, problem)
	}
	if len(problems) > 0 {
		return fmt.Errorf("checkpoint %d: %d problems", meta.Seq, len(problems))
	}
	fmt.Fprintf(p.stdout, "checkpoint %d is sound; root %s\n", meta.Seq, hex.EncodeToString(root[:]))
	return nil
}
