package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// replicaCounts are the sizes 3f+1 that are tested, f = 0 to 4.
var replicaCounts = []int{1, 4, 7, 10, 13}

const clientsMax = 1024

// DefaultLimits fit a machine with a few GiB of memory: the file system is held in it.
func DefaultLimits() Limits {
	return Limits{MaxBytes: 1 << 30, MaxInodes: 1 << 20, Duplicates: 1 << 16}
}

// DefaultTunables are for replicas in one data center, or on one machine.
//
// LargeRequestBytes lets an NFS write of a page travel inside the batch: with 4 KiB, which sends such a write to everybody,
// a 4 KiB write took 1.3 times as long and 16 of them at once 1.2 times (BenchmarkCalls in cmd/bfsd, 22 November 2026,
// 2 cores shared with other work, memory, median of 3 interleaved runs).
func DefaultTunables() Tunables {
	return Tunables{
		CheckpointInterval:  128,
		BatchRequests:       64,
		BatchBytes:          1 << 20,
		BatchWindow:         8,
		LargeRequestBytes:   16 << 10,
		ViewChangeTimeoutMS: 500,
		RequestTimeoutMS:    150,
		ClockSkewMS:         10_000,
		ClientSlots:         64,
	}
}

// Validate checks everything that can be checked without the network, and reports all it finds, one problem a line.
func (c *Cluster) Validate() error {
	v := &validation{}
	c.validateHead(v)
	c.Limits.validate(v)
	c.Tunables.validate(v)
	c.validateRecovery(v)
	c.validateGenesis(v)
	c.validateReplicas(v)
	c.validateClients(v)
	c.validateKeys(v)
	c.validateExports(v, c.Exports)
	return v.err()
}

type validation struct{ problems []error }

func (v *validation) err() error { return errors.Join(v.problems...) }

func (v *validation) failf(format string, args ...any) {
	const enough = 20 // a broken file need not be described to its end
	if len(v.problems) < enough {
		v.problems = append(v.problems, fmt.Errorf(format, args...))
	}
}

func (c *Cluster) validateHead(v *validation) {
	if c.Version != Version {
		v.failf("version is %d, this bfsd reads version %d", c.Version, Version)
	}
	if c.ID == (auth.ClusterID{}) {
		v.failf("cluster is missing: it is 16 random hex digits")
	}
	if c.Seed == (Seed{}) {
		v.failf("seed is missing: it is 64 random hex digits")
	}
	switch c.Durability {
	case Memory, OS, Disk:
	default:
		v.failf("durability is %q: it must be %q, %q or %q", c.Durability, Memory, OS, Disk)
	}
}

func (l *Limits) validate(v *validation) {
	inRange(v, "limits.max_bytes", l.MaxBytes, 1<<20, 1<<50)
	inRange(v, "limits.max_inodes", l.MaxInodes, 16, 1<<32)
	inRange(v, "limits.duplicates", l.Duplicates, 0, 1<<22)
}

func (t *Tunables) validate(v *validation) {
	inRange(v, "tunables.checkpoint_interval", t.CheckpointInterval, 1, wire.MaxWindow/2)
	inRange(v, "tunables.batch_requests", t.BatchRequests, 1, wire.MaxBatch)
	inRange(v, "tunables.batch_bytes", t.BatchBytes, 4<<10, wire.MaxFrame/2)
	inRange(v, "tunables.batch_window", t.BatchWindow, 1, wire.MaxWindow)
	inRange(v, "tunables.large_request_bytes", t.LargeRequestBytes, 1, wire.MaxOp)
	inRange(v, "tunables.view_change_timeout_ms", t.ViewChangeTimeoutMS, 10, 600_000)
	inRange(v, "tunables.request_timeout_ms", t.RequestTimeoutMS, 5, 600_000)
	inRange(v, "tunables.clock_skew_ms", t.ClockSkewMS, 10, 86_400_000)
	inRange(v, "tunables.client_slots", t.ClientSlots, 1, 4096)
	if uint64(t.BatchWindow) > 2*t.CheckpointInterval {
		v.failf("tunables.batch_window is %d: it may be at most twice checkpoint_interval, %d, the size of the log", t.BatchWindow, 2*t.CheckpointInterval)
	}
}

// recoverySlotS is the least time in which one replica starts again and the others need not.
const recoverySlotS = 5

func (c *Cluster) validateRecovery(v *validation) {
	if p := c.Recovery.PeriodS; p != 0 {
		inRange(v, "recovery.period_s", p, recoverySlotS*max(1, c.N()), 31*24*3600)
		// A start in memory forgets what was said, so the replica does not vote for a while: the next one's start would be one
		// fault too many.
		if c.Durability == Memory {
			v.failf("recovery.period_s is %d: it must be 0 with durability %q, where a start forgets everything", p, Memory)
		}
	}
}

// validateGenesis wants a place in the order that a checkpoint can have.
func (c *Cluster) validateGenesis(v *validation) {
	g, k := c.Genesis, c.Tunables.CheckpointInterval
	if g == nil {
		return
	}
	if g.Sequence == 0 || k == 0 || g.Sequence%k != 0 {
		v.failf("genesis.sequence is %d: it must be a multiple of tunables.checkpoint_interval, %d", g.Sequence, k)
	}
	if g.Root == (Root{}) {
		v.failf("genesis.root is missing: it is 64 hex digits")
	}
}

func inRange[T int | uint64](v *validation, field string, value, low, high T) {
	if value < low || value > high {
		v.failf("%s is %d: it must be %d to %d", field, value, low, high)
	}
}

func (c *Cluster) validateReplicas(v *validation) {
	if !slices.Contains(replicaCounts, c.N()) {
		v.failf("there are %d [[replica]] entries: a cluster has 3f+1 replicas, one of %v", c.N(), replicaCounts)
	}
	used := map[string]string{}
	for i, r := range c.Replicas {
		if int64(r.ID) != int64(i) {
			v.failf("[[replica]] entry %d has id %d: the ids are 0, 1, 2 … in order", i+1, r.ID)
			continue
		}
		for _, a := range []struct {
			field, addr string
			optional    bool
		}{{"peer", r.Peer, false}, {"nfs", r.NFS, true}, {"status", r.Status, true}} {
			if a.addr == "" && a.optional {
				continue
			}
			field := fmt.Sprintf("replica %d: %s", r.ID, a.field)
			if err := checkAddress(a.addr, a.field == "peer"); err != nil {
				v.failf("%s: %w", field, err)
				continue
			}
			if other := used[a.addr]; other != "" {
				v.failf("%s is %s, and so is %s: give each its own port", field, a.addr, other)
			}
			used[a.addr] = field
		}
	}
}

// checkAddress wants host:port; one that others dial must name a host.
func checkAddress(addr string, dialed bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no address: it must be host:port", clip(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port from 1 to 65535", clip(addr))
	}
	if !hostForm.MatchString(host) {
		return fmt.Errorf("%q has no host name or IP address in front of the port", clip(addr))
	}
	if ip, err := netip.ParseAddr(host); dialed && err == nil && ip.IsUnspecified() {
		return fmt.Errorf("%q is where to listen, but the others must know where to connect: give this replica's own address", addr)
	}
	return nil
}

var (
	hostForm = regexp.MustCompile(`^[0-9A-Za-z_.:%-]{1,253}$`)
	nameForm = regexp.MustCompile(`^[0-9A-Za-z_.-]{1,64}$`)
)

func (c *Cluster) validateClients(v *validation) {
	if len(c.Clients) > clientsMax {
		v.failf("there are %d [[client]] entries, at most %d are served", len(c.Clients), clientsMax)
	}
	names, ids := map[string]bool{}, map[wire.ClientID]bool{}
	for i, g := range c.Clients {
		switch {
		case g.ID < FirstGateway:
			v.failf("[[client]] entry %d has id %d: ids below %d belong to the replicas' own front ends", i+1, g.ID, FirstGateway)
		case g.KeyNumber > wire.KeyNumberMax:
			v.failf("client %d: key_number is %d: it can be %d at most", g.ID, g.KeyNumber, wire.KeyNumberMax)
		case ids[g.ID]:
			v.failf("[[client]] entry %d: there are two clients %d", i+1, g.ID)
		case !nameForm.MatchString(g.Name):
			v.failf("client %d: name is %q: it must be 1 to 64 letters, digits and . _ -", g.ID, clip(g.Name))
		case strings.HasPrefix(g.Name, replicaName):
			v.failf("client %d: name is %q: such names are those of the replicas' own front ends", g.ID, clip(g.Name))
		case names[g.Name]:
			v.failf("client %d: there are two clients with the name %s", g.ID, g.Name)
		}
		ids[g.ID], names[g.Name] = true, true
	}
}

// validateKeys refuses a key that is missing, and one that two principals share: either could act as the other.
func (c *Cluster) validateKeys(v *validation) {
	sign, exchange := map[[32]byte]string{}, map[[32]byte]string{}
	check := func(who string, key auth.PublicKey) {
		if key == (auth.PublicKey{}) {
			v.failf("%s: key is missing", who)
			return
		}
		if other := sign[key.Sign]; other != "" {
			v.failf("%s and %s have the same key: each needs its own", other, who)
		} else if other := exchange[key.Exchange]; other != "" {
			v.failf("%s and %s have the same exchange key: each needs its own", other, who)
		}
		sign[key.Sign], exchange[key.Exchange] = who, who
	}
	for i := range c.Replicas {
		check(fmt.Sprintf("replica %d", c.Replicas[i].ID), c.Replicas[i].Key)
	}
	for i := range c.Clients {
		check(fmt.Sprintf("client %d", c.Clients[i].ID), c.Clients[i].Key)
	}
}

// clip keeps a piece of the file short enough for an error message.
func clip(s string) string {
	const longest = 60
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
