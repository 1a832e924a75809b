package fsstate

import (
	"errors"
	"fmt"
	"iter"

	"bfsd/fsstate/tree"
)

// Limits of a file system whose Config names none.
const (
	BytesMaxDefault  = 16 << 30
	InodesMaxDefault = 16 << 20
)

// Config is what a new file system is made with. All replicas must be given the same.
type Config struct {
	Seed      Seed   // secret: whoever knows it can guess file handles
	MaxBytes  uint64 // quota for data and names; 0 means BytesMaxDefault
	MaxInodes uint64 // 0 means InodesMaxDefault
	UID, GID  uint32 // of the root directory
	Mode      uint32 // of the root directory; 0 means 0755

	// Duplicates is how many answers are kept for calls that are sent again (see duplicates.go); 0 means DuplicatesDefault,
	// less than 0 none.
	Duplicates int

	// Exports is the policy to begin with, whose directories are made; it must be one that CheckExports accepts. Nil: all is
	// exported to everybody.
	Exports []Export
	// Signed reports whether an operator of the cluster, to which the state belongs, has signed a message, given the keys
	// that members have by orders. It must be a function of its arguments. Nil: nobody may give orders.
	Signed func(keys MemberKeys, message, signature []byte) bool
	// MayHave judges a key that an operator orders for a member: ENOENT if there is no such member, ENOTSUPP if its key is
	// none that an order replaces, EINVAL if it is no key, EEXIST if somebody has it or had it. A function of its arguments
	// like Signed. Nil: nobody's key is replaced.
	MayHave func(keys MemberKeys, member FrontEnd, key []byte) Status
}

func (c *Config) setDefaults() {
	if c.MaxBytes == 0 {
		c.MaxBytes = BytesMaxDefault
	}
	if c.MaxInodes == 0 {
		c.MaxInodes = InodesMaxDefault
	}
	if c.Mode == 0 {
		c.Mode = 0o755
	}
	if c.Duplicates == 0 {
		c.Duplicates = DuplicatesDefault
	}
}

// FS is the file system. One goroutine calls it; only Snapshots may be used from others.
type FS struct {
	tree    *tree.Tree
	super   super
	stored  super // what the tree holds; they differ between operations and are made equal before anybody looks
	signed  func(keys MemberKeys, message, signature []byte) bool
	mayHave func(keys MemberKeys, member FrontEnd, key []byte) Status
	page    [pageSize]byte
}

// New makes a file system that holds an empty root directory.
func New(cfg Config) *FS {
	cfg.setDefaults()
	fs := &FS{tree: tree.New(), signed: cfg.Signed, mayHave: cfg.MayHave, super: super{
		nextIno: rootIno + 1, inodes: 1, bytesMax: cfg.MaxBytes, inodesMax: cfg.MaxInodes, seed: cfg.Seed,
		dupMax: uint64(max(0, cfg.Duplicates)),
	}}
	fs.put(&inode{
		ino: rootIno, gen: generation(&cfg.Seed, rootIno), typ: TypeDirectory, mode: cfg.Mode & modeMask, nlink: 2,
		uid: cfg.UID, gid: cfg.GID, parent: rootIno,
	})
	if cfg.Exports != nil {
		fs.export(cfg.Exports)
	}
	fs.flush()
	return fs
}

// Execute is ExecuteFrom for the front end that is part of the server itself.
func (fs *FS) Execute(op []byte, now Time) []byte { return fs.ExecuteFrom(LocalFrontEnd, op, now) }

// ExecuteFrom decodes and runs one operation that came through a front end, under the batch's agreed time, and returns its
// encoded result. Whatever the bytes, there is a result: EBADOP if they are no operation.
func (fs *FS) ExecuteFrom(via FrontEnd, op []byte, now Time) []byte {
	o, err := DecodeOp(op)
	if err != nil {
		return EncodeResult(refusal(err))
	}
	who := fs.view().callerOf(via, o)
	if s := fs.view().admit(who, o); s != OK {
		return EncodeResult(refused(o, s))
	}
	if o.Args.ReadOnly() {
		return fs.view().encoded(who, o)
	}
	return fs.once(via, o, op, now)
}

// Query is QueryFrom for the front end that is part of the server itself.
func (fs *FS) Query(op []byte) (result []byte, ok bool) { return fs.QueryFrom(LocalFrontEnd, op) }

// QueryFrom answers a read-only operation that came through a front end from the current state; ok is false if op is not
// read-only.
func (fs *FS) QueryFrom(via FrontEnd, op []byte) (result []byte, ok bool) {
	return fs.view().answer(via, op)
}

// Apply runs one operation of the server's own under the batch's agreed time: the export policy is not applied to it.
func (fs *FS) Apply(op *Op, now Time) Result {
	if err := op.check(); err != nil {
		return refused(op, err.Status)
	}
	if op.Args.ReadOnly() {
		return fs.view().query(caller{via: LocalFrontEnd}, op)
	}
	return fs.change(LocalFrontEnd, op, now)
}

// change runs an operation that may change something and has been checked.
func (fs *FS) change(via FrontEnd, op *Op, now Time) Result {
	now = fs.super.tick(now)
	switch a := op.Args.(type) {
	case *SetAttr:
		return fs.setAttr(&op.Cred, a, now)
	case *Write:
		return fs.write(&op.Cred, a, now)
	case *Create:
		return fs.create(&op.Cred, a, now)
	case *Mkdir:
		return fs.mkdir(&op.Cred, a, now)
	case *Symlink:
		return fs.symlink(&op.Cred, a, now)
	case *Mknod:
		return fs.mknod(&op.Cred, a, now)
	case *Remove:
		return fs.remove(&op.Cred, a, now)
	case *Rmdir:
		return fs.rmdir(&op.Cred, a, now)
	case *Rename:
		return fs.rename(&op.Cred, a, now)
	case *Link:
		return fs.link(&op.Cred, a, now)
	case *SetPolicy:
		return fs.setPolicy(a)
	case *SetKey:
		return fs.setKey(a)
	}
	return fs.changeLocks(via, op, now)
}

// refusal is the result for bytes that are not an acceptable operation: a status alone, which decodes as every kind.
func refusal(err error) Result {
	var oe *OpError
	if errors.As(err, &oe) {
		return Head{Status: oe.Status}
	}
	return Head{Status: EBADOP}
}

func refused(op *Op, s Status) Result {
	if op.Args != nil {
		if r := NewResult(op.Args.Kind(), s); r != nil {
			return r
		}
	}
	return Head{Status: s}
}

// answer decodes and answers a read-only operation; ok is false if it is not read-only. What does not decode changes
// nothing either.
func (v view) answer(via FrontEnd, op []byte) (result []byte, ok bool) {
	o, err := DecodeOp(op)
	if err != nil {
		return EncodeResult(refusal(err)), true
	}
	if !o.Args.ReadOnly() {
		return nil, false
	}
	who := v.callerOf(via, o)
	if s := v.admit(who, o); s != OK {
		return EncodeResult(refused(o, s)), true
	}
	return v.encoded(who, o), true
}

// encoded answers a read-only operation that has been checked and admitted.
func (v view) encoded(who caller, op *Op) []byte {
	if a, ok := op.Args.(*Read); ok {
		return v.readEncoded(&op.Cred, a)
	}
	return EncodeResult(v.withdraw(who, op.Args, v.query(who, op)))
}

// query runs a read-only operation that has been checked.
func (v view) query(who caller, op *Op) Result {
	switch a := op.Args.(type) {
	case *GetAttr:
		return v.getAttr(a)
	case *Lookup:
		return v.lookup(&op.Cred, a)
	case *Access:
		return v.access(&op.Cred, a)
	case *ReadLink:
		return v.readLink(a)
	case *Read:
		return v.read(&op.Cred, a)
	case *ReadDir:
		return v.readDir(&op.Cred, a)
	case *StatFS:
		return v.statFS(a)
	case *Resolve:
		return v.resolve(who, &op.Cred, a)
	case *GetPolicy:
		return v.getPolicy()
	case *ListExports:
		return v.listExports(who)
	case *GetKeys:
		return v.getKeys()
	}
	return v.queryLocks(who, op)
}

// LastTime returns the time of the last operation that may have changed something.
func (fs *FS) LastTime() Time { return fs.super.last }

// Root returns the digest of everything replicated.
func (fs *FS) Root() [32]byte {
	fs.flush()
	return fs.tree.Root()
}

func (fs *FS) view() view { return view{fs.tree.Reader(), &fs.super} }

// flush brings the superblock in the tree up to date.
func (fs *FS) flush() {
	if fs.stored != fs.super {
		fs.tree.Put(tree.Key{}, fs.super.encode())
		fs.stored = fs.super
	}
}

// put stores an inode.
func (fs *FS) put(n *inode) {
	var buf [inodeExtraLen]byte
	fs.tree.Put(inodeKey(n.ino), n.encode(&buf))
}

// reload reads the superblock after the tree was replaced.
func (fs *FS) reload() error {
	b, _ := fs.tree.Get(tree.Key{})
	var s super
	if err := s.decode(b); err != nil {
		return err
	}
	var err error
	if s.policy, err = fs.loadPolicy(); err != nil {
		return err
	}
	if s.keys, err = fs.loadKeys(); err != nil {
		return err
	}
	fs.super, fs.stored = s, s
	return nil
}

// Distrust forgets every cached digest: the next Root or Restore hashes all content anew, so that a state which may have
// been corrupted in memory is found out, and mended by restoring what does not match.
func (fs *FS) Distrust() { fs.tree.Distrust() }

// Node is the encoding of a tree node, which its giver has compared with its digest.
type Node = tree.Node

// Restore replaces the state by the one whose root is given. fetch is told the digests of more nodes that are wanted, and
// returns at least one of those that it has been told, each once, in any order; only what the current state lacks is asked for.
// kept is told how many bytes were found in the current state, each time some were. each, unless it is nil, is told all pairs of
// the new state as Diff would emit them, while they come: if there is an error they were no state. After an error the old state
// is kept.
func (fs *FS) Restore(root [32]byte, fetch func(more [][32]byte) ([]Node, error), kept func(bytes uint64), each func(key, value []byte) error) error {
	var tell func(k tree.Key, value []byte) error
	if each != nil {
		var key [tree.KeyLen]byte
		tell = func(k tree.Key, value []byte) error { return each(k.Append(key[:0]), value) }
	}
	old := fs.Snapshot()
	defer old.Release()
	err := fs.tree.Restore(root, fetch, kept, tell)
	if err == nil {
		err = fs.reload()
	}
	if err != nil {
		fs.Rollback(old)
		return fmt.Errorf("fsstate: restore state: %w", err)
	}
	return nil
}

// Load replaces the state by the pairs that Diff emitted, in any order. The caller compares Root with the one it expects
// before it uses the state. After an error the old state is kept.
func (fs *FS) Load(pairs iter.Seq2[[]byte, []byte]) error {
	fresh := &FS{tree: fs.tree.Successor()}
	for k, v := range pairs {
		if len(k) != tree.KeyLen || len(v) > tree.ValueMax {
			return fmt.Errorf("fsstate: load state: key of %d bytes with a value of %d", len(k), len(v))
		}
		fresh.tree.Put(tree.ParseKey(k), v)
	}
	if err := fresh.reload(); err != nil {
		return fmt.Errorf("fsstate: load state: %w", err)
	}
	fs.tree, fs.super, fs.stored = fresh.tree, fresh.super, fresh.stored
	return nil
}
