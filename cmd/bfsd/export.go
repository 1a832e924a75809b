package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bfsd/fsstate"
	"bfsd/internal/backup"
	"bfsd/internal/fsservice"
	"bfsd/replica"
	"bfsd/replica/config"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

type exportCmd struct {
	Config  string        `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	Output  string        `required:"" short:"o" placeholder:"FILE" help:"Write the backup here; - is standard output. It appears when it is whole."`
	Force   bool          `help:"Replace FILE if it is there."`
	Newest  bool          `help:"Take the newest checkpoint that any replica has, without ordering an operation: works without a quorum, but the last operations may be missing."`
	Stopped *uint32       `placeholder:"I" help:"Take the checkpoint on the disk of replica I, which must not be running, instead of asking anybody."`
	Dir     string        `placeholder:"DIR" help:"With --stopped: where that replica's data are (replica-I beside cluster.toml)."`
	Timeout time.Duration `default:"1m" help:"Give up when the replicas have not agreed on what to back up after this time (${default}). Copying it may take longer."`
	keyFlags
}

// Help is shown by --help below the summary.
func (exportCmd) Help() string {
	return `Copies the state of a running cluster, while it serves, and writes it as a tar archive: GNU tar and others unpack it (tar -xpf FILE -C DIR --strip-components=2 bfsd-backup/files), bfsd import makes a new cluster of it. Everything that was acknowledged before the export began is in it.

No replica is trusted: every piece is checked against the digest of the whole, which f+1 replicas signed; the signatures go into the archive. The key is that of a client with backup = true in cluster.toml (backup-ID/key, which bfsd init made). Whoever has it, or the archive, can read every file: keep both like a root password. The whole file system is held in memory meanwhile.

Exit code 0: written and checked; 4: the cluster does not answer; 1: anything else.`
}

// Run implements the subcommand.
func (c exportCmd) Run(p *process) error {
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	clusterFile, err := os.ReadFile(c.Config)
	if err != nil {
		return fmt.Errorf("reading the cluster file: %w", err)
	}
	if _, err := os.Lstat(c.Output); err == nil && c.Output != "-" && !c.Force {
		return &exitError{exitUsage, fmt.Errorf("--output %s is there already; choose another name, or say --force to replace it", c.Output)}
	}
	state := fsstate.New(fileSystem(cluster.Seed, cluster.Limits))
	at, proof, err := c.copy(p, cluster, state)
	if err != nil {
		return err
	}
	s := state.Snapshot()
	defer s.Release()
	manifest := backup.Manifest{Sequence: uint64(at.Seq), Root: at.Root, Certificate: proof, Taken: time.Now()}
	size, err := c.write(p, func(w io.Writer, progress func(done, total uint64)) error {
		return backup.Write(w, manifest, clusterFile, s, progress)
	})
	if err != nil {
		return err
	}
	_, files := s.Usage()
	signers, err := replica.VerifyCertificate(cluster, at, proof)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.report(c.Output), "%s: %s, %d inodes, checkpoint %d, root %x, signed by %s\n",
		c.Output, formatBytes(size), files, at.Seq, at.Root[:], listReplicas(signers))
	if problems := fsstate.Check(s); len(problems) > 0 {
		return fmt.Errorf("the backup is written, but the file system that the replicas agreed on is not sound, and bfsd import will refuse it; the first of %d problems: %w", len(problems), problems[0])
	}
	return nil
}

// copy fills the state, and returns its place in the order and the proof of that.
func (c exportCmd) copy(p *process, cluster *config.Cluster, state *fsstate.FS) (wire.CheckpointRef, [][]byte, error) {
	service := fsservice.New(state, 0)
	if c.Stopped != nil {
		return c.copyStopped(p, cluster, service)
	}
	client := -1
	for i, g := range cluster.Clients {
		if g.Backup {
			client = i
			break
		}
	}
	if client < 0 {
		return wire.CheckpointRef{}, nil, fmt.Errorf("%s names no client with backup = true: add that line to a [[client]] entry, in the copies of all replicas too, and start them again one after the other", c.Config)
	}
	path := c.Key
	if path == "" {
		path = filepath.Join(backupDir(filepath.Dir(c.Config), cluster.Clients[client].ID), "key")
	}
	release, err := lockKey(path, "backup", "bfsd export")
	if err != nil {
		return wire.CheckpointRef{}, nil, err
	}
	defer release()
	identity, err := c.read(path)
	if err != nil {
		return wire.CheckpointRef{}, nil, err
	}
	keys, err := cluster.Keyring(identity)
	if err != nil {
		return wire.CheckpointRef{}, nil, err
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	// The time is for the replicas to agree; how long copying takes depends on how much there is.
	slow := time.AfterFunc(c.Timeout, func() { cancel(errNoAnswer) })
	defer slow.Stop()
	bar := newByteBar(p, "copying")
	defer bar.finish()
	o := replica.CopyOptions{Cluster: cluster, Keys: keys, Service: service, Log: p.log, Progress: func(fetched, size uint64) {
		slow.Stop()
		bar.set(fetched, size)
	}}
	if !c.Newest {
		o.Probe = fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}})
	}
	copied, err := replica.Copy(ctx, o)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errNoAnswer):
		advice := "; bfsd status shows who answers; --newest takes the newest checkpoint that any of them has"
		if c.Newest {
			advice = "; bfsd status shows who answers; --stopped I takes a checkpoint from a replica's disk"
		}
		return wire.CheckpointRef{}, nil, &exitError{exitNoQuorum, fmt.Errorf("%w within %v%s", err, c.Timeout, advice)}
	case err != nil:
		return wire.CheckpointRef{}, nil, err
	}
	return copied.At, replica.EncodeCertificate(copied.Proof), nil
}

var errNoAnswer = errors.New("the replicas do not agree on a checkpoint in time")

// copyStopped takes the checkpoint in a stopped replica's store.
func (c exportCmd) copyStopped(p *process, cluster *config.Cluster, service replica.Service) (at wire.CheckpointRef, proof [][]byte, err error) {
	id := *c.Stopped
	if int64(id) >= int64(cluster.N()) {
		return at, nil, &exitError{exitUsage, fmt.Errorf("--stopped %d: the cluster has replicas 0 to %d", id, cluster.N()-1)}
	}
	dir := c.Dir
	if dir == "" {
		dir = memberDir(filepath.Dir(c.Config), replicaPrincipal(wire.ReplicaID(id)))
	}
	if _, err := os.Stat(filepath.Join(dir, "store")); err != nil {
		return at, nil, fmt.Errorf("looking for replica %d's data: %w", id, err)
	}
	release, err := lockDir(dir)
	if err != nil {
		return at, nil, err
	}
	defer release()
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), Durability: store.Durability(cluster.Durability), Log: p.log, ReadOnly: true,
		Owner: replica.StoreOwner(cluster, wire.ReplicaID(id)),
	})
	if err != nil {
		return at, nil, err
	}
	defer s.Close()
	return replica.ReadCheckpoint(cluster, s, service)
}

// write writes the output through f and returns how many bytes that were. A file appears under its name when it is whole.
func (c exportCmd) write(p *process, f func(w io.Writer, progress func(done, total uint64)) error) (size uint64, err error) {
	bar := newByteBar(p, "writing")
	defer bar.finish()
	if c.Output == "-" {
		w := &countingWriter{w: p.stdout}
		err := f(w, bar.set)
		return w.n, err
	}
	partial := c.Output + ".partial"
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return 0, fmt.Errorf("writing the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	w := &countingWriter{w: file}
	if err = errors.Join(f(w, bar.set), file.Sync(), file.Close()); err != nil {
		return 0, fmt.Errorf("%s: %w", partial, err)
	}
	if err := os.Rename(partial, c.Output); err != nil {
		return 0, fmt.Errorf("giving the backup its name: %w", err)
	}
	return w.n, syncDir(filepath.Dir(c.Output))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("making the name of a file in %s durable: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("making the name of a file in %s durable: %w", dir, err)
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n uint64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// report is where a command that may write its result to standard output says what it did.
func (p *process) report(output string) io.Writer {
	if output == "-" {
		return p.stderr
	}
	return p.stdout
}

// lockKey takes a key for this process alone: of two links of one principal the replicas keep the newer.
func lockKey(path, what, user string) (release func(), err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the %s key: %w; --key FILE says where it is", what, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the %s key: %w", what, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: another %s is using this key; wait for it, or use another key: %w", path, user, err)
	}
	return func() { f.Close() }, nil
}

// listReplicas names those who signed.
func listReplicas(proof []*wire.Checkpoint) string {
	names := make([]string, len(proof))
	for i, c := range proof {
		names[i] = fmt.Sprint(c.Replica)
	}
	if len(names) == 1 {
		return "replica " + names[0]
	}
	return "replicas " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
