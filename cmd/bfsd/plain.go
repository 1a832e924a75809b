package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs"
)

type plainCmd struct {
	NFS string `name:"nfs" default:"127.0.0.1:12049" placeholder:"HOST:PORT" help:"Serve NFS and MOUNT here (${default})."`
	limitFlags
	frontendFlags
}

// Help is shown by --help below the summary.
func (plainCmd) Help() string {
	return `One process, one file system in its memory, nothing replicated and nothing kept: when it stops, the files are gone. It is what replication is measured against (BFS-nr in the paper).`
}

// Run implements the subcommand.
func (c plainCmd) Run(p *process) error {
	defer headroom()()
	l, err := listen(p.ctx, "NFS (--nfs)", c.NFS)
	if err != nil {
		return err
	}
	defer l.Close()
	// Every run is another file system, so its handles and verifier are its own: a client that kept the old ones sees
	// them refused, and not other files.
	var random struct {
		id, verifier [8]byte
		seed         [32]byte
	}
	rand.Read(random.id[:])
	rand.Read(random.verifier[:])
	rand.Read(random.seed[:])
	fs := fsstate.New(fileSystem(random.seed, c.limits()))
	f, err := c.serving(nfs.NewLocal(fs, time.Now), exportIdentity{random.id, random.verifier}, nfs.LockConfig{Front: "plain"}, p.log, nil, nil)
	if err != nil {
		return err
	}
	ports, err := announce(p.ctx, c.Rpcbind, "", f, l, p.log)
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	fmt.Fprintf(p.stdout, "unreplicated file system in memory, front end %s\n  mount:  %s\nready\n", c.Frontend, c.mountCommand(addr))
	ctx, cancel := withLifeline(p.ctx)
	defer cancel()
	return serveFrontend(ctx, f, l, ports)
}
