package replica

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"bfsd/replica/wire"
)

// Status is what a replica says of itself. It is the replica's own word: a faulty one may say anything, so compare the
// roots of several.
type Status struct {
	ID         uint32 `json:"id"`
	PID        int    `json:"pid"`
	View       uint64 `json:"view"`
	Primary    uint32 `json:"primary"`
	Executed   uint64 `json:"executed"`    // the last batch executed, tentatively or not
	Committed  uint64 `json:"committed"`   // the last one executed that has also committed
	Stable     uint64 `json:"stable"`      // the last stable checkpoint
	StableRoot string `json:"stable_root"` // digest of the state at Stable, in hex, which 2f+1 replicas signed; "" before the first
	Root       string `json:"root"`        // digest of the state after Executed, in hex; "" while the state is being fetched
	Fetching   bool   `json:"fetching"`    // the state is being fetched from other replicas
	Durability string `json:"durability"`
	Peers      int    `json:"peers"` // how many other replicas it has a link to
	UptimeMs   int64  `json:"uptime_ms"`
	ClockMs    int64  `json:"clock_ms"` // its time of day, Unix
	Active     bool   `json:"active"`   // in normal operation; false between leaving a view and the start of the next
	Version    string `json:"version"`  // which build it is
	Rejoin     Rejoin `json:"rejoin"`   // how it comes up to the others, if it is behind

	Keys *KeyStatus `json:"keys,omitempty"` // nothing while all clients have the keys that they were configured with

	Disk *DiskUse `json:"disk,omitempty"` // nothing with durability memory

	Linked     []uint32    `json:"linked"`     // the other replicas it has a link to
	Suspicions []Suspicion `json:"suspicions"` // what it has against them

	InDoubt    bool     `json:"in_doubt,omitempty"`    // it may have forgotten what it said, and does not vote
	DoubtUntil uint64   `json:"doubt_until,omitempty"` // the stable checkpoint that ends the doubt; 0: not known yet
	Damage     []string `json:"damage,omitempty"`      // what was found wrong with its store when it started
}

// DiskUse is what a replica's store takes of its disk, and how quick that is.
type DiskUse struct {
	Bytes         uint64  `json:"bytes"`           // of the whole store
	LogBytes      uint64  `json:"log_bytes"`       // of these, the log that is written ahead
	FreeBytes     uint64  `json:"free_bytes"`      // what the file system has left for the replica; 0: not known
	GivenBytes    uint64  `json:"given_bytes"`     // what the replica asked to be kept since it started,
	WrittenBytes  uint64  `json:"written_bytes"`   // and what was written for that
	SyncMs        float64 `json:"sync_ms"`         // how long making the log durable takes of late, on average
	SyncLongestMs float64 `json:"sync_longest_ms"` // since it started
}

// String tells a person.
func (d *DiskUse) String() string {
	const mib = 1 << 20
	text := fmt.Sprintf("%.1f MiB, of which the log takes %.1f", float64(d.Bytes)/mib, float64(d.LogBytes)/mib)
	if d.FreeBytes > 0 {
		text += fmt.Sprintf("; %.0f MiB are free", float64(d.FreeBytes)/mib)
	}
	if d.SyncLongestMs > 0 {
		text += fmt.Sprintf("; a sync takes %.1f ms, %.1f ms at most", d.SyncMs, d.SyncLongestMs)
	}
	if d.GivenBytes > 0 {
		text += fmt.Sprintf("; %.2f bytes written for each byte to be kept", float64(d.WrittenBytes)/float64(d.GivenBytes))
	}
	return text
}

// diskLow is when a person should know how little the disk has left: a store grows by several times this while it rewrites.
const diskLow = 1 << 30

// Low says that the disk will soon be full.
func (d *DiskUse) Low() bool {
	return d != nil && d.FreeBytes > 0 && d.FreeBytes < max(diskLow, d.Bytes)
}

func (n *Node) diskUse() *DiskUse {
	if n.store == nil {
		return nil
	}
	u := n.store.Usage()
	recent, longest := n.syncs.get()
	return &DiskUse{
		Bytes: u.Bytes, LogBytes: u.Log, FreeBytes: u.Free, GivenBytes: u.Given, WrittenBytes: u.Written,
		SyncMs: milliseconds(recent), SyncLongestMs: milliseconds(longest),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Status asks the node. The root is hashed on the caller's goroutine, not on the loop.
func (n *Node) Status(ctx context.Context) (Status, error) {
	if !n.replayed.Load() { // the loop is busy with its log
		return n.loading.Status(n.self, string(n.cluster.Durability)), nil
	}
	var s Status
	var state Snapshot
	ok := n.onLoop(ctx, func() {
		info := n.core.Info()
		n.progress.look(n.core)
		s = Status{
			ID: uint32(n.self), PID: os.Getpid(), View: uint64(info.View), Primary: uint32(info.Primary),
			Executed: uint64(info.Executed), Committed: uint64(info.Committed), Stable: uint64(info.Stable.Seq),
			Fetching: n.fetch.running(), Durability: string(n.cluster.Durability), UptimeMs: time.Since(n.started).Milliseconds(),
			ClockMs: time.Now().UnixMilli(), Active: info.Active, Version: n.version,
			InDoubt: info.Doubt, DoubtUntil: uint64(info.Until),
		}
		for _, d := range n.damage {
			s.Damage = append(s.Damage, d.What)
		}
		if !s.Fetching {
			state = n.service.Snapshot()
		}
	})
	if !ok {
		return Status{}, errors.New("asking the replica for its status: it does not answer, or is stopping")
	}
	if state != nil {
		root := state.Root()
		state.Release()
		s.Root = hex.EncodeToString(root[:])
	}
	if stable := n.info.Load().Stable; stable.Seq != 0 {
		s.Stable, s.StableRoot = uint64(stable.Seq), hex.EncodeToString(stable.Root[:])
	}
	_, s.Suspicions = n.chronicle.read()
	s.Rejoin = n.progress.report(time.Now())
	n.loading.report(&s.Rejoin, time.Now())
	s.Disk, s.Keys = n.diskUse(), n.keyStatus()
	for _, p := range n.links.Stats().Peers {
		if p.Connected && p.Peer.Role == wire.RoleReplica {
			s.Peers++
			s.Linked = append(s.Linked, p.Peer.ID)
		}
	}
	return s, nil
}
