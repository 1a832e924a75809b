package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// replacement puts a new machine in the place of a dead replica: the same number, another key. The old key is worth nothing
// from then on, wherever the dead machine's disk went. What its predecessor voted for the new replica cannot know; it
// learns how far that may have got before it votes (replica/pbft, rejoin), so no special care is needed here.
//
// A configuration is read at the start, so the others have to be started again with the new one. Who has kept the replica's
// key needs none of this: the key in an empty directory is enough.
type replacement struct {
	dir        string
	id         uint32
	hosts      []string
	passphrase []byte
}

func (r replacement) make(p *process) error {
	path := filepath.Join(r.dir, "cluster.toml")
	cluster, err := config.Load(path)
	if err != nil {
		return err
	}
	if int64(r.id) >= int64(cluster.N()) {
		return &exitError{exitUsage, fmt.Errorf("--replace %d: the cluster has replicas 0 to %d", r.id, cluster.N()-1)}
	}
	if err := r.move(&cluster.Replicas[r.id]); err != nil {
		return err
	}
	home := memberDir(r.dir, replicaPrincipal(wire.ReplicaID(r.id)))
	if err := r.free(home); err != nil {
		return err
	}
	if err := rekey(cluster, path, replicaPrincipal(wire.ReplicaID(r.id)), &cluster.Replicas[r.id].Key, home, r.passphrase); err != nil {
		return err
	}
	r.explain(p, cluster, home)
	return nil
}

// move gives the replica the address of another host, with the ports it had.
func (r replacement) move(replica *config.Replica) error {
	switch len(r.hosts) {
	case 0:
		return nil
	case 1:
	default:
		return &exitError{exitUsage, fmt.Errorf("--replace %d with --hosts of %d machines: name the one that takes its place", r.id, len(r.hosts))}
	}
	for _, addr := range []*string{&replica.Peer, &replica.NFS, &replica.Status} {
		if *addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(*addr)
		if err != nil {
			return fmt.Errorf("the address %q of replica %d: %w", *addr, r.id, err)
		}
		*addr = net.JoinHostPort(r.hosts[0], port)
	}
	return nil
}

// free makes sure that nothing which may still be wanted is in the way. The old key is kept under another name.
func (r replacement) free(home string) error {
	if inUse(home) {
		return fmt.Errorf("replica %d is running from %s: only one that is dead for good is replaced", r.id, home)
	}
	if _, err := os.Lstat(filepath.Join(home, "store")); err == nil {
		return fmt.Errorf("%s holds the data of replica %d: if they are good, start it with them; if not, move that directory away first", home, r.id)
	}
	return setKeyAside(home, replicaPrincipal(wire.ReplicaID(r.id)))
}

// rekey makes a key for a member, in its directory, and puts it where the cluster file, which is saved, has the member's key.
func rekey(cluster *config.Cluster, path string, who wire.Principal, key *auth.PublicKey, home string, passphrase []byte) error {
	id := auth.Identity{Cluster: cluster.ID, Principal: who, Key: auth.GenerateKey()}
	*key = id.Key.Public()
	if err := cluster.Validate(); err != nil {
		return fmt.Errorf("the new cluster.toml would not be valid: %w", err)
	}
	if err := writeKey(home, id, passphrase); err != nil {
		return err
	}
	return cluster.Save(path)
}

// setKeyAside keeps the old key of a member, if it is here, under another name.
func setKeyAside(home string, who wire.Principal) error {
	key := filepath.Join(home, "key")
	for i := 1; ; i++ {
		old := fmt.Sprintf("%s.replaced-%d", key, i)
		if _, err := os.Lstat(old); err == nil {
			continue
		}
		if err := os.Rename(key, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("setting the old key of %v aside: %w", who, err)
		}
		return nil
	}
}

// explain prints what is left to do.
func (r replacement) explain(p *process, cluster *config.Cluster, home string) {
	config, me := filepath.Join(r.dir, "cluster.toml"), cluster.Replicas[r.id]
	fmt.Fprintf(p.stdout, "replica %d has a new key, in %s and %s.\n\n", r.id, config, filepath.Join(home, "key"))
	fmt.Fprintf(p.stdout, "1. One after the other, give each of these the new cluster.toml, stop it and start it again; go on to the next only when\n"+
		"   bfsd status --config %s   shows it up, with nothing below the table that it would still have to catch up.\n"+
		"   With one replica dead and one starting, calls wait for as long as the start takes.\n", quoted(config))
	for _, other := range cluster.Replicas {
		if other.ID != me.ID {
			fmt.Fprintf(p.stdout, "     replica %d at %s\n", other.ID, other.Peer)
		}
	}
	fmt.Fprintf(p.stdout, "2. On the new machine, %s, put cluster.toml and the directory %s, and start it:\n"+
		"     bfsd replica --config cluster.toml --id %d\n"+
		"   It fetches everything from the others, and votes once it knows that it contradicts nothing its predecessor said.\n", me.Peer, filepath.Base(home), me.ID)
	fmt.Fprintf(p.stdout, "3. Give the gateways, and whoever makes backups, the new cluster.toml as well, and start the gateways again.\n"+
		"4. Remove %s here, unless this is the new machine: nobody but the replica needs its key.\n", home)
}
