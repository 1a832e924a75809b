package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/backup"
	"bfsd/internal/fsservice"
	"bfsd/replica"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type importCmd struct {
	Archive string `arg:"" placeholder:"ARCHIVE" help:"The backup that bfsd export wrote; - is standard input."`
	Check   bool   `help:"Only check the backup, all of it; make nothing."`
	Trust   string `placeholder:"FILE" help:"The cluster.toml of the cluster that was backed up, from somebody you trust: whose signatures count. Without it those count that the backup itself names, which shows damage but not a forgery."`

	Dir            string   `placeholder:"DIR" help:"Write the new cluster here; DIR must not hold one."`
	Hosts          []string `placeholder:"HOST" help:"The new replicas' machines, one for each: 4, 7, 10 or 13 names or addresses."`
	Port           int      `default:"12050" help:"As for bfsd init (${default})."`
	Gateways       []string `default:"gateway" placeholder:"NAME" help:"As for bfsd init (${default})."`
	Backups        []string `default:"backup" placeholder:"NAME" help:"As for bfsd init (${default})."`
	Operators      []string `default:"operator" placeholder:"NAME" help:"As for bfsd init (${default})."`
	Durability     string   `default:"disk" enum:"memory,os,disk" help:"As for bfsd init (${default})."`
	PassphraseFile string   `type:"path" placeholder:"FILE" help:"Seal the key files with the passphrase in this file's first line."`
	MaxBytes       uint64   `placeholder:"BYTES" help:"The new file system's size (that of the one that was backed up)."`
	MaxFiles       uint64   `placeholder:"N" help:"The most files, directories and links it holds (as in the one that was backed up)."`
}

// Help is shown by --help below the summary.
func (importCmd) Help() string {
	return `Reads a backup to its end, checks every byte of it against the digest that f+1 replicas of the old cluster signed, and checks the file system in it. Then it makes a new cluster, as bfsd init does, with new keys; its replicas begin with the files of the backup, all with the same digest. Besides cluster.toml and the members' directories it writes DIR/genesis: give each replica's machine that file too, beside cluster.toml. On one machine, bfsd up --dir DIR runs it.

The export policy of the old cluster stays in force, for the front ends that have the same names in the new one.

NFS clients of the old cluster must mount anew: to them the new one is another file system.

Exit code 0: done; 5: the backup is damaged, forged, or none; 1 or 2: anything else. Test your backups: bfsd import --check FILE.`
}

// Run implements the subcommand.
func (c importCmd) Run(p *process) error {
	flags := clusterFlags{Dir: c.Dir, Hosts: c.Hosts, Port: c.Port, Gateways: c.Gateways, Backups: c.Backups, Operators: c.Operators, Durability: c.Durability, PassphraseFile: c.PassphraseFile}
	if !c.Check {
		if c.Dir == "" || len(c.Hosts) == 0 {
			return &exitError{exitUsage, errors.New("--dir and --hosts say what to make of the backup; --check looks at it and makes nothing")}
		}
		if err := flags.check(); err != nil {
			return err
		}
	}
	b, old, err := c.read(p)
	if err != nil {
		return err
	}
	if c.Check {
		return nil
	}
	limits := old.Limits
	if c.MaxBytes != 0 {
		limits.MaxBytes = c.MaxBytes
	}
	if c.MaxFiles != 0 {
		limits.MaxInodes = c.MaxFiles
	}
	return c.found(p, flags, limits, old, b.State)
}

// read reads the backup, and says what was found.
func (c importCmd) read(p *process) (*backup.Backup, *config.Cluster, error) {
	in, size := io.Reader(os.Stdin), uint64(0)
	if c.Archive != "-" {
		f, err := os.Open(c.Archive)
		if err != nil {
			return nil, nil, fmt.Errorf("opening the backup: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = uint64(info.Size())
		}
		in = f
	}
	bar := newByteBar(p, "checking")
	defer bar.finish()
	counted := &countingReader{r: in, read: func(n uint64) { bar.set(n, size) }}
	b, err := backup.Read(counted)
	if errors.Is(err, backup.ErrDamaged) {
		return nil, nil, &exitError{exitDamaged, fmt.Errorf("%s: %w", c.Archive, err)}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Archive, err)
	}
	bar.finish()
	old, err := c.verify(p, b)
	return b, old, err
}

// verify checks the signatures under the state that was read. It returns the configuration of the cluster it comes from.
func (c importCmd) verify(p *process, b *backup.Backup) (*config.Cluster, error) {
	old, err := config.Parse(b.ClusterFile)
	if err != nil {
		return nil, &exitError{exitDamaged, fmt.Errorf("%s: the cluster.toml in it: %w", c.Archive, err)}
	}
	trusted, whose := old, "as the backup itself says"
	if c.Trust != "" {
		if trusted, err = config.Load(c.Trust); err != nil {
			return nil, err
		}
		whose = "as " + c.Trust + " says"
	}
	if trusted.ID != old.ID {
		return nil, &exitError{exitDamaged, fmt.Errorf("%s is a backup of cluster %v, %s is of cluster %v", c.Archive, old.ID, c.Trust, trusted.ID)}
	}
	m := &b.Manifest
	at := wire.CheckpointRef{Seq: wire.Seq(m.Sequence), Root: m.Root}
	proof, err := replica.VerifyCertificate(trusted, at, m.Certificate)
	if err != nil {
		return nil, &exitError{exitDamaged, fmt.Errorf("%s: %w", c.Archive, err)}
	}
	s := b.State.Snapshot()
	defer s.Release()
	bytes, files := s.Usage()
	fmt.Fprintf(p.stdout, "%s: sound; cluster %v, checkpoint %d, taken %s; %d inodes, %s\n  root %x\n  signed by %s, whose keys are %s\n",
		c.Archive, old.ID, at.Seq, m.Taken.Local().Format(time.DateTime), files, formatBytes(bytes), at.Root[:], listReplicas(proof), whose)
	return old, nil
}

// found makes the new cluster.
func (c importCmd) found(p *process, flags clusterFlags, limits config.Limits, old *config.Cluster, state *fsstate.FS) error {
	passphrase, err := readPassphrase(c.PassphraseFile)
	if err != nil {
		return err
	}
	cluster, ids, err := config.Generate(flags.options(limits))
	if err != nil {
		return err
	}
	called := func(id fsstate.FrontEnd) fsstate.FrontEnd {
		if now, ok := cluster.FrontEnd(old.FrontEndName(wire.ClientID(id))); ok {
			return fsstate.FrontEnd(now)
		}
		return fsstate.NoFrontEnd
	}
	if err := state.Refound(fileSystem(cluster.Seed, limits), called); err != nil {
		return fmt.Errorf("%w; --max-bytes and --max-files make room", err)
	}
	s := fsservice.New(state, 0).Snapshot()
	defer s.Release()
	at := replica.GenesisRef(cluster, s.Root())
	cluster.Genesis = &config.Genesis{Sequence: uint64(at.Seq), Root: config.Root(at.Root)}
	frozen := state.Snapshot()
	cluster.Seed = config.Seed(frozen.Seed())
	frozen.Release()
	proof, err := replica.SignGenesis(cluster, ids, at)
	if err != nil {
		return err
	}
	if err := writeCluster(c.Dir, cluster, ids, passphrase, func() error { return writeGenesis(c.Dir, proof, s) }); err != nil {
		return err
	}
	flags.printMembers(p, cluster)
	fmt.Fprintf(p.stdout, "  each replica's machine gets %s as well, beside cluster.toml, and may forget it when the replica has started once\n", filepath.Join(c.Dir, "genesis"))
	return nil
}

// writeGenesis writes what the new replicas begin with.
func writeGenesis(dir string, proof []*wire.Checkpoint, s replica.Snapshot) error {
	f, err := os.OpenFile(filepath.Join(dir, "genesis"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing what the replicas begin with: %w", err)
	}
	if err := errors.Join(replica.WriteGenesis(f, proof, s), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing what the replicas begin with: %w", err)
	}
	return nil
}

type countingReader struct {
	r    io.Reader
	n    uint64
	read func(n uint64)
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += uint64(n)
	c.read(c.n)
	return n, err
}
