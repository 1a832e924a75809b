package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bfsd/fsstate"
	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type keyReplaceCmd struct {
	operatorFlags
	Member string          `required:"" placeholder:"ID" help:"Whose: a number or name from [[client]] of cluster.toml."`
	Public *auth.PublicKey `placeholder:"KEY" help:"The public half of a key that bfsd key make made on the member's machine; left out, the key is made here."`
	Number uint32          `placeholder:"N" help:"With --public: the number with which it was made."`
	Seal   string          `type:"path" placeholder:"FILE" help:"Seal the key file that is made with the passphrase in this file's first line."`
}

// Run implements the subcommand.
func (c keyReplaceCmd) Run(p *process) error {
	if (c.Public == nil) != (c.Number == 0) || c.Public != nil && c.Seal != "" {
		return &exitError{exitUsage, errors.New("--public KEY goes with --number N, as bfsd key make printed them, and without --seal")}
	}
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	g, err := member(cluster, c.Member)
	if err != nil {
		return err
	}
	r := &keyReplacement{keyReplaceCmd: c, who: gatewayPrincipal(g.ID), name: g.Name}
	r.home = homeDir(filepath.Dir(c.Config), cluster, r.who)
	r.next = filepath.Join(r.home, "key.next")
	if err := r.resume(); err != nil {
		return err
	}
	if r.operator, err = c.open(p); err != nil {
		return err
	}
	defer func() { r.operator.close() }()
	return r.replace(p)
}

// keyReplacement is one replacement under way. The key file is made, as key.next beside the member's key, before
// the order is given, and takes the key's place after it: whenever it is cut off, the same command again finds out whether
// the order was executed, and goes on from there.
type keyReplacement struct {
	keyReplaceCmd
	operator *operator
	who      wire.Principal
	name     string
	home     string // where the member's key file lies here
	next     string // the new one, until it has been made the member's
	made     *auth.Identity
}

// resume looks for what an earlier attempt left. If it was the operator's own key that was replaced, only the new one may
// be good to ask with.
func (r *keyReplacement) resume() error {
	if r.Public != nil {
		return nil
	}
	id, err := auth.ReadKeyFile(r.next, func() ([]byte, error) {
		if r.Seal == "" {
			return nil, nil
		}
		return readPassphrase(r.Seal)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what an earlier attempt left: %w; --seal FILE opens it if it was sealed", err)
	}
	if id.Principal != r.who {
		return fmt.Errorf("%s is the key of %v, not of %v: move it away", r.next, id.Principal, r.who)
	}
	r.made = &id
	return nil
}

func (r *keyReplacement) replace(p *process) error {
	o := r.operator
	g, err := member(o.cluster, r.Member)
	if err != nil {
		return err
	}
	keys, err := r.keysInForce(p)
	if err != nil {
		return err
	}
	held, err := keyHeldBy(g, keys.Keys)
	if err != nil {
		return err
	}
	key, err := r.newKey(held)
	if err != nil {
		return err
	}
	number := max(held.number+1, r.Number)
	if r.made != nil {
		number = r.made.Number
	}
	// The new cluster.toml is checked before anything is ordered: two members with one key, among other things.
	g.Key, g.KeyNumber = key, number
	if err := o.cluster.Validate(); err != nil {
		return fmt.Errorf("that key cannot be %v's: %w", r.who, err)
	}
	if held.key != key || held.number != number {
		if err := r.order(p, keys.Version, number, key); err != nil {
			return err
		}
	}
	return r.settle(p, number)
}

// newKey is the key that the member shall have.
func (r *keyReplacement) newKey(held heldKey) (auth.PublicKey, error) {
	if r.Public != nil {
		if r.Number <= held.number && *r.Public != held.key {
			return auth.PublicKey{}, fmt.Errorf("--number %d: %v has its key of number %d already; make one of number %d: bfsd key make", r.Number, r.who, held.number, held.number+1)
		}
		return *r.Public, nil
	}
	if r.made != nil && r.made.Number <= held.number && r.made.Key.Public() != held.key {
		return auth.PublicKey{}, fmt.Errorf("%s is from an earlier attempt, and %v has got another key since: move it away", r.next, r.who)
	}
	if r.made == nil {
		passphrase, err := readPassphrase(r.Seal)
		if err != nil {
			return auth.PublicKey{}, err
		}
		id := auth.Identity{Cluster: r.operator.cluster.ID, Principal: r.who, Key: auth.GenerateKey(), Number: held.number + 1}
		if err := os.MkdirAll(r.home, 0o700); err != nil {
			return auth.PublicKey{}, fmt.Errorf("making the directory of %v: %w", r.who, err)
		}
		if err := auth.WriteKeyFile(r.next, id, passphrase); err != nil {
			return auth.PublicKey{}, err
		}
		r.made = &id
	}
	return r.made.Key.Public(), nil
}

// own says whether the operator's own key is replaced. The links with the old key end with the order, so
// its answer is lost; that it was executed shows when the replicas answer to the new key.
func (r *keyReplacement) own() bool { return r.operator.keys.Self() == r.who }

// ownPatience is how long is waited for what probably does not come.
const ownPatience = time.Second

// keysInForce asks the replicas, with the new key of the operator if only that is good any more.
func (r *keyReplacement) keysInForce(p *process) (*fsstate.GetKeysResult, error) {
	if !r.own() || r.made == nil {
		return r.operator.keysInForce()
	}
	patience := r.operator.timeout
	r.operator.timeout = min(patience, 5*ownPatience)
	keys, err := r.operator.keysInForce()
	r.operator.timeout = patience
	if err == nil {
		return keys, nil
	}
	if again := r.withNewKey(p); again != nil {
		return nil, errors.Join(err, again)
	}
	return r.operator.keysInForce()
}

// withNewKey lets the operator go on with his own new key.
func (r *keyReplacement) withNewKey(p *process) error {
	o := r.operator
	if r.made == nil {
		return fmt.Errorf("the private key of %v is elsewhere; look with it: bfsd key show --key FILE", r.who)
	}
	o.client.Close()
	return o.connect(p, *r.made)
}

func (r *keyReplacement) order(p *process, version uint64, number uint32, key auth.PublicKey) error {
	o := r.operator
	order := fsstate.EncodeKeyOrder(&fsstate.KeyOrder{Replaces: version, Member: fsstate.FrontEnd(r.who.ID), Number: number, Key: key.Bytes()})
	op := &fsstate.SetKey{Order: order, Signature: o.keys.Sign(append([]byte(fsstate.KeyOrderDomain), order...))}
	patience := o.timeout
	if r.own() {
		o.timeout = min(patience, ownPatience)
	}
	result, err := invoke[*fsstate.SetKeyResult](o, op)
	o.timeout = patience
	if err == nil {
		return r.refused(result)
	}
	if r.own() {
		if err = r.withNewKey(p); err == nil {
			var keys *fsstate.GetKeysResult
			if keys, err = o.keysInForce(); err == nil && keys.Version > version {
				return nil
			}
		}
	}
	if r.Public == nil {
		err = fmt.Errorf("%w\nThe new key is kept in %s: the same command again finds out whether it is in force", err, r.next)
	}
	return &exitError{exitNoQuorum, err}
}

// refused explains why an order was not executed.
func (r *keyReplacement) refused(s *fsstate.SetKeyResult) error {
	switch s.Status {
	case fsstate.OK:
		return nil
	case fsstate.EPERM:
		return fmt.Errorf("the replicas do not take orders that %v signed; is it the key of a client with operator = true in every replica's cluster.toml?", r.operator.keys.Self())
	case fsstate.ENOTSYNC:
		return errors.New("somebody else has replaced a key at the same time; see bfsd key show, and try again")
	case fsstate.ENOENT:
		return fmt.Errorf("the replicas know no %v: it is not in their cluster.toml; give them the new file, one after the other, first", r.who)
	case fsstate.ENOTSUPP:
		return fmt.Errorf("the replicas do not replace the key of %v by an order", r.who)
	case fsstate.EINVAL:
		return fmt.Errorf("the replicas take that for no key, or its number is not above %d, which %v has had; make another with bfsd key make", s.Number, r.who)
	case fsstate.EEXIST:
		return errors.New("a member has that key already, or one half of it: each needs its own")
	case fsstate.EFBIG:
		return fmt.Errorf("%v has had %d keys, the most there can be; give a new client another number in cluster.toml", r.who, wire.KeyNumberMax)
	case fsstate.EBADOP:
		return errors.New("the replicas do not know such orders: are all of them upgraded?")
	default:
		return fmt.Errorf("the replicas refused it with status %d", s.Status)
	}
}

// settle puts the new key file and the new cluster.toml in their places here, and says what is left to do.
func (r *keyReplacement) settle(p *process, number uint32) error {
	o := r.operator
	if r.made != nil {
		if err := setKeyAside(r.home, r.who); err != nil {
			return err
		}
		if err := os.Rename(r.next, filepath.Join(r.home, "key")); err != nil {
			return fmt.Errorf("putting the new key of %v in its place: %w", r.who, err)
		}
	}
	if err := o.cluster.Save(r.Config); err != nil {
		return fmt.Errorf("the replicas have the new key of %v, but this copy of its configuration still has the old one, as bfsd key show tells: %w", r.who, err)
	}
	fmt.Fprintf(p.stdout, "client %d, %s, has its key of number %d: the replicas refuse what was made with another from now on.\n\n", r.who.ID, r.name, number)
	if r.made != nil {
		key := filepath.Join(r.home, "key")
		fmt.Fprintf(p.stdout, "1. Copy %s to where %s has its key, and start it again if it is running. Its old key is of no use any more.\n", key, r.name)
		fmt.Fprintf(p.stdout, "2. Remove %s here, unless it is used here: nobody but %s needs its key.\n", r.home, r.name)
	} else {
		fmt.Fprintf(p.stdout, "1. Put the key file that bfsd key make wrote where %s has its key, and start it again if it is running.\n", r.name)
	}
	if o.cluster.Durability == config.Memory {
		fmt.Fprintf(p.stdout, "The durability is memory: a cluster that starts from nothing has the keys of its cluster.toml. %s has the new one; give it to all\n"+
			"replicas before they start again.\n", r.Config)
	} else {
		fmt.Fprintf(p.stdout, "The replicas need nothing: they have the key with their files. %s has it now, too; other copies need not be renewed.\n", r.Config)
	}
	return nil
}
