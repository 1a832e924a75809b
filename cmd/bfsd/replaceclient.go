package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// clientReplacement gives a gateway, or another client, a new key under its old number and name. Each replica refuses the old
// key from the moment it has read the new cluster.toml. What the key may do can be taken from it before, at once and by an ordered
// operation: an export policy without its name (exportpolicy.go).
type clientReplacement struct {
	dir        string
	id         wire.ClientID
	passphrase []byte
}

func (r clientReplacement) make(p *process) error {
	path := filepath.Join(r.dir, "cluster.toml")
	cluster, err := config.Load(path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cluster.Clients, func(c config.Client) bool { return c.ID == r.id })
	if i < 0 {
		return &exitError{exitUsage, fmt.Errorf("--replace-client %d: %s has no client of that number; [[client]] lists them", r.id, path)}
	}
	if cluster.Clients[i].KeyNumber > 0 {
		return fmt.Errorf("--replace-client %d: its key was replaced by an order, which counts more than cluster.toml; use bfsd key replace --config %s --member %d", r.id, path, r.id)
	}
	who := gatewayPrincipal(r.id)
	home := homeDir(r.dir, cluster, who)
	if err := setKeyAside(home, who); err != nil {
		return err
	}
	if err := rekey(cluster, path, who, &cluster.Clients[i].Key, home, r.passphrase); err != nil {
		return err
	}
	r.explain(p, cluster, cluster.Clients[i], home)
	return nil
}

// explain prints what is left to do.
func (r clientReplacement) explain(p *process, cluster *config.Cluster, me config.Client, home string) {
	path := filepath.Join(r.dir, "cluster.toml")
	fmt.Fprintf(p.stdout, "client %d, %s, has a new key, in %s and %s.\n\n", me.ID, me.Name, path, filepath.Join(home, "key"))
	fmt.Fprintf(p.stdout, "0. If the old key may be in wrong hands and is not an operator's: take its rights away first, with bfsd export-policy set, in which\n"+
		"   front_ends does not name %s.\n", me.Name)
	fmt.Fprintf(p.stdout, "1. One after the other, give each of these the new cluster.toml, stop it and start it again; go on to the next when\n"+
		"   bfsd wait --config %s --id I   has returned. A replica that is down gets the file before it starts.\n", quoted(path))
	for _, other := range cluster.Replicas {
		fmt.Fprintf(p.stdout, "     replica %d at %s\n", other.ID, other.Peer)
	}
	fmt.Fprintf(p.stdout, "2. Give %s the new cluster.toml and %s, and start it again. Replicas with the new file refuse its old key, so do\n"+
		"   this as soon as 2f+1 replicas have the file.\n", me.Name, filepath.Join(filepath.Base(home), "key"))
	fmt.Fprintf(p.stdout, "3. Remove %s here, unless it is used here: nobody but %s needs its key.\n", home, me.Name)
}
