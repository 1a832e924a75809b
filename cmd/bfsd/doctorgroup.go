package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bfsd/replica/config"
)

// visit is what came of asking one replica.
type visit struct {
	peerErr error // of a connection to its peer address
	report  replicaReport
	clock   time.Duration // by how much its clock is ahead of this machine's, give or take precise
	precise time.Duration
}

// group looks at the replicas from here.
func (d *doctor) group(ctx context.Context) {
	visits := make([]visit, d.cluster.N())
	var wg sync.WaitGroup
	for i := range visits {
		wg.Go(func() { visits[i] = d.visit(ctx, d.cluster.Replicas[i]) })
	}
	wg.Wait()
	up := 0
	for i := range visits {
		d.reach(i, &visits[i])
		if visits[i].report.Up {
			up++
		}
	}
	switch quorum := 2*d.cluster.F() + 1; {
	case up < quorum:
		d.find(wrong, "group", "Start the others: bfsd replica --config cluster.toml --id I. Nothing is lost by waiting.", "%d of %d replicas work, %d are needed: the file system stands still", up, d.cluster.N(), quorum)
	case up == quorum && d.cluster.F() > 0 && up < d.cluster.N():
		d.find(warning, "group", "Bring back those that are missing before the next one fails.", "%d of %d replicas work, as many as are needed", up, d.cluster.N())
	default:
		d.ok("group", "%d of %d replicas work", up, d.cluster.N())
	}
	d.clocks(visits)
	d.versions(visits)
	d.states(visits)
}

// visit dials a replica's peer address and asks at its status address.
func (d *doctor) visit(ctx context.Context, r config.Replica) (v visit) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Peer)
	v.peerErr = err
	if err == nil {
		conn.Close()
	}
	if r.Status == "" {
		v.report.Error = "it has no status address"
		return v
	}
	began := time.Now()
	v.report = ask(ctx, r.Status)
	took := time.Since(began)
	if v.report.Error == "" && v.report.ClockMs != 0 {
		v.clock = time.UnixMilli(v.report.ClockMs).Sub(d.machine.now().Add(-took / 2))
		v.precise = took/2 + time.Millisecond
	}
	return v
}

// reach says whether a replica can be reached, and if not what that looks like.
func (d *doctor) reach(i int, v *visit) {
	about, r := fmt.Sprintf("replica %d", i), d.cluster.Replicas[i]
	var dns *net.DNSError
	switch err := v.peerErr; {
	case errors.As(err, &dns):
		d.find(wrong, about, "Correct the name in cluster.toml, or DNS.", "its name does not resolve: %v", err)
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		d.find(wrong, about, fmt.Sprintf("Start it: bfsd replica --config cluster.toml --id %d. If it runs, its cluster.toml has another address.", i), "nobody listens at %s", r.Peer)
		return
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		d.find(wrong, about, "Is the machine up? If it is, a firewall keeps us out: open that TCP port.", "no answer from %s", r.Peer)
		return
	case err != nil:
		d.find(wrong, about, "Look at the network to that machine.", "it cannot be reached: %v", err)
		return
	}
	switch {
	case v.report.Error != "" && r.Status != "":
		d.find(warning, about, "Open that port to who watches; the replica itself can be reached.", "its status page does not answer: %s", v.report.Error)
	case r.Status == "":
		d.ok(about, "it listens at %s, and has no status address to ask at", r.Peer)
	case !v.report.Up:
		d.find(warning, about, "Wait: bfsd wait says when it is ready.", "it starts: %v", v.report.Rejoin)
	default:
		d.ok(about, "it listens at %s and answers at %s", r.Peer, r.Status)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// clocks compares each clock with the median of them all, which no f liars can move at will. Backups refuse a primary's time that is
// further off than tunables.clock_skew_ms.
func (d *doctor) clocks(visits []visit) {
	var offsets []time.Duration
	for i := range visits {
		if visits[i].precise > 0 {
			offsets = append(offsets, visits[i].clock)
		}
	}
	if len(offsets) < 2*d.cluster.F()+1 {
		return // too few to know whose is right
	}
	slices.Sort(offsets)
	median := offsets[len(offsets)/2]
	limit := d.cluster.Tunables.ClockSkew()
	far := 0
	tell := func(about string, off, precise time.Duration) {
		const advice = "Run NTP there (chrony, systemd-timesyncd): timedatectl says whether it does."
		switch apart := off.Abs() - precise; {
		case apart > limit:
			d.find(wrong, about, advice, "its clock is off by %v; more than %v and what it proposes is refused", off.Round(time.Millisecond), limit)
		case apart > limit/4:
			d.find(warning, about, advice, "its clock is off by %v; from %v on what it proposes is refused", off.Round(time.Millisecond), limit)
		default:
			return
		}
		far++
	}
	for i := range visits {
		if v := &visits[i]; v.precise > 0 {
			tell(fmt.Sprintf("replica %d", i), v.clock-median, v.precise)
		}
	}
	tell("this machine", -median, visits[0].precise+time.Millisecond)
	if far == 0 {
		d.ok("clocks", "all are within %v of each other", max(offsets[len(offsets)-1]-offsets[0], time.Millisecond).Round(time.Millisecond))
	}
}

// versions looks whether all run the same build.
func (d *doctor) versions(visits []visit) {
	by := map[string][]string{}
	for i := range visits {
		if v := &visits[i]; v.report.Error == "" && v.report.Version != "" {
			name := strings.Map(printable, v.report.Version)
			by[name] = append(by[name], strconv.Itoa(i))
		}
	}
	if len(by) == 0 {
		return
	}
	var lines []string
	for name, ids := range by {
		lines = append(lines, fmt.Sprintf("replica %s: %.80s", strings.Join(ids, ", "), name))
	}
	slices.Sort(lines)
	if len(by) > 1 {
		d.find(warning, "builds", "Finish the upgrade, one replica after the other: deploy/README.md.", "different ones run:\n%s", strings.Join(lines, "\n"))
		return
	}
	d.ok("builds", "all that answer run the same (%s)", lines[0])
	for name := range by {
		if own := buildName(); name != own {
			d.find(warning, "builds", "Use the same program to look with as runs.", "this program is another one: %s", own)
		}
	}
}

// states looks at what replicas say of themselves and of each other.
func (d *doctor) states(visits []visit) {
	s := statusReport{}
	var committed []uint64
	for i := range visits {
		r := visits[i].report
		r.ID = uint32(i) //nolint:gosec // an index
		s.Replicas = append(s.Replicas, r)
		if r.Up {
			committed = append(committed, r.Committed)
		}
	}
	before := len(d.findings)
	slices.Sort(committed)
	for i := range s.Replicas {
		r := &s.Replicas[i]
		about := fmt.Sprintf("replica %d", i)
		for _, damage := range r.Damage[:min(len(r.Damage), 8)] {
			d.find(warning, about, "It repairs itself from the others; find out what the disk has: dmesg, smartctl.", "it found its store damaged: %s", strings.Map(printable, damage))
		}
		if !r.Up {
			continue
		}
		if median := committed[len(committed)/2]; r.Committed+lagTold < median {
			d.find(warning, about, "If that does not shrink (bfsd status --watch), look at its links, its disk and its load.", "it is %d batches behind; it says: %v", median-r.Committed, r.Rejoin)
		}
		if r.InDoubt {
			d.find(warning, about, "It votes again by itself; until then it counts as faulty.", "it may have forgotten what it said, and does not vote")
		}
		if r.Peers < 2*d.cluster.F() {
			d.find(wrong, about, "A firewall between it and the others, or another cluster.toml or key there: its log says which.", "it has links to %d other replicas, and needs %d", r.Peers, 2*d.cluster.F())
		}
		if old := outdatedKeys(r.Keys); old != "" {
			d.find(warning, about, "Nothing is wrong: the replicas keep the keys that orders gave with the files. Give it a new cluster.toml some time.", "%s", old)
		}
		if r.Disk.Low() {
			d.find(warning, about, "Make room: a replica whose disk is full stops.", "it has only %s left on its disk", formatBytes(r.Disk.FreeBytes))
		}
		if r.Disk != nil && r.Disk.SyncMs > float64(syncSlow.Milliseconds()) {
			d.find(warning, about, "Every change waits for that: find out who else uses its disk.", "its syncs take %.0f ms", r.Disk.SyncMs)
		}
	}
	d.accused(&s)
	if len(d.findings) == before && len(committed) > 0 {
		d.ok("states", "nobody lags, is in doubt or suspects another")
	}
}

// accused tells whom others suspect: f+1 accusers are worth more than one, for one of them is correct.
func (d *doctor) accused(s *statusReport) {
	accusers := map[uint32]map[uint32]bool{}
	for i := range s.Replicas {
		for _, x := range s.Replicas[i].Suspicions {
			if int64(x.Replica) >= int64(len(s.Replicas)) {
				continue
			}
			if accusers[x.Replica] == nil {
				accusers[x.Replica] = map[uint32]bool{}
			}
			accusers[x.Replica][s.Replicas[i].ID] = true
		}
	}
	words := s.suspicions()
	for id := range s.Replicas {
		by := accusers[uint32(id)] //nolint:gosec // an index
		switch about := fmt.Sprintf("replica %d", id); {
		case len(by) > d.cluster.F():
			d.find(wrong, about, fmt.Sprintf("At least one of them is correct. Treat the machine as broken into, or its memory as broken; replace it: bfsd init --replace %d.", id),
				"%d replicas suspect it:\n%s", len(by), strings.Join(words, "\n"))
		case len(by) > 0:
			d.find(warning, about, "It or its accuser is faulty; compare their logs.", "it is suspected:\n%s", strings.Join(words, "\n"))
		}
	}
}
