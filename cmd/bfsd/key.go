package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"bfsd/fsstate"
	"bfsd/replica"
	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

type keyCmd struct {
	Show    keyShowCmd    `cmd:"" help:"Print which key each gateway, backup and operator has now."`
	Replace keyReplaceCmd `cmd:"" help:"Give a gateway, backup or operator another key, at once and everywhere."`
	Make    keyMakeCmd    `cmd:"" help:"Make a key file on the machine that will use it, for replace --public."`
}

// Help is shown by --help below the summary.
func (keyCmd) Help() string {
	return `The key of a gateway, of who makes backups or of an operator is replaced by an ordered operation that an operator signs. It takes effect at the same place of the order at every replica: what was not executed until then is refused if the old key made it, and links of the old key are closed. The replicas keep the new key with the files, so restarts, state transfer and a replica that was down meanwhile do not bring the old one back, whatever cluster.toml says there. Nothing has to be restarted but who got the new key.

  bfsd key replace --config cluster.toml --member 100

makes the key file and prints where to copy it. So that the private key never leaves the machine that uses it, make it there:

  bfsd key make --config cluster.toml --member 100 --number 1 --out key.new

A replica's key is not replaced so: bfsd init --replace I.`
}

// member finds a client by its number or its name.
func member(cluster *config.Cluster, text string) (*config.Client, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	i := slices.IndexFunc(cluster.Clients, func(c config.Client) bool {
		return err == nil && uint64(c.ID) == id || c.Name == text
	})
	if i >= 0 {
		return &cluster.Clients[i], nil
	}
	if named, ok := cluster.FrontEnd(text); ok || err == nil && id < uint64(cluster.N()) {
		if ok {
			id = uint64(named)
		}
		return nil, &exitError{exitUsage, fmt.Errorf("--member %s: that is a replica's, whose key is replaced by bfsd init --replace %d", text, id)}
	}
	return nil, &exitError{exitUsage, fmt.Errorf("--member %s: no [[client]] of cluster.toml has that number or name", text)}
}

// keysInForce asks the replicas.
func (o *operator) keysInForce() (*fsstate.GetKeysResult, error) {
	r, err := invoke[*fsstate.GetKeysResult](o, &fsstate.GetKeys{})
	if err != nil {
		return nil, err
	}
	if r.Status != fsstate.OK {
		return nil, fmt.Errorf("reading the members' keys: status %d", r.Status)
	}
	return r, nil
}

// heldKey is the key that a client has now.
type heldKey struct {
	number  uint32
	key     auth.PublicKey
	ordered bool // by an order; else as configured
}

func keyHeldBy(c *config.Client, keys []fsstate.MemberKey) (heldKey, error) {
	i, ok := slices.BinarySearchFunc(keys, fsstate.FrontEnd(c.ID), func(k fsstate.MemberKey, id fsstate.FrontEnd) int { return cmp.Compare(k.Member, id) })
	if !ok {
		return heldKey{c.KeyNumber, c.Key, false}, nil
	}
	key, err := auth.ParsePublicKey(keys[i].Key)
	if err != nil {
		return heldKey{}, fmt.Errorf("the replicas have an unusable key for client %d: %w", c.ID, err)
	}
	return heldKey{keys[i].Number, key, true}, nil
}

// outdatedKeys tells that a replica's cluster.toml has other keys than the state; "" if not.
func outdatedKeys(k *replica.KeyStatus) string {
	if k == nil || len(k.Outdated) == 0 {
		return ""
	}
	ids := make([]string, 0, keysListed)
	for _, id := range k.Outdated[:min(len(k.Outdated), keysListed)] {
		ids = append(ids, strconv.FormatUint(uint64(id), 10))
	}
	return fmt.Sprintf("its cluster.toml has old keys of clients %s; those that orders gave them count", strings.Join(ids, ", "))
}

// keysListed bounds how many are named.
const keysListed = 16

type keyShowCmd struct{ operatorFlags }

// Run implements the subcommand.
func (c keyShowCmd) Run(p *process) error {
	o, err := c.open(p)
	if err != nil {
		return err
	}
	defer o.close()
	keys, err := o.keysInForce()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "member\tname\tnumber\tkey\tfrom")
	for i := range o.cluster.Clients {
		g := &o.cluster.Clients[i]
		held, err := keyHeldBy(g, keys.Keys)
		if err != nil {
			return err
		}
		from := "cluster.toml"
		switch {
		case held.ordered && held.key == g.Key:
			from = "an order; cluster.toml has the same"
		case held.ordered:
			from = fmt.Sprintf("an order; %s has another, which does not count", filepath.Base(c.Config))
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%v\t%s\n", g.ID, g.Name, held.number, held.key, from)
	}
	return w.Flush()
}

type keyMakeCmd struct {
	Config         string `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	Member         string `required:"" placeholder:"ID" help:"Whose key it will be: a number or name from [[client]] of cluster.toml."`
	Number         uint32 `required:"" placeholder:"N" help:"Which of the member's keys it is: one more than bfsd key show has for it."`
	Out            string `required:"" type:"path" placeholder:"FILE" help:"The new key file; it must not be there."`
	PassphraseFile string `type:"path" placeholder:"FILE" help:"Seal it with the passphrase in this file's first line."`
}

// Run implements the subcommand.
func (c keyMakeCmd) Run(p *process) error {
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	g, err := member(cluster, c.Member)
	if err != nil {
		return err
	}
	if c.Number == 0 || c.Number > wire.KeyNumberMax {
		return &exitError{exitUsage, fmt.Errorf("--number %d: it is 1 for the first key that replaces one, and at most %d", c.Number, wire.KeyNumberMax)}
	}
	passphrase, err := readPassphrase(c.PassphraseFile)
	if err != nil {
		return err
	}
	id := auth.Identity{Cluster: cluster.ID, Principal: gatewayPrincipal(g.ID), Key: auth.GenerateKey(), Number: c.Number}
	if err := auth.WriteKeyFile(c.Out, id, passphrase); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s is a key for client %d, %s. Nobody accepts it before an operator has said, on his machine:\n\n"+
		"  bfsd key replace --config cluster.toml --member %d --number %d --public %v\n", c.Out, g.ID, g.Name, g.ID, c.Number, id.Key.Public())
	return nil
}
