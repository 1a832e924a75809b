package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bfsd/replica/config"
)

// machine is what a doctor measures of the machine it runs on; tests give others.
type machine struct {
	openFiles func() (uint64, error)                  // this process's limit
	memory    func() (uint64, error)                  // bytes that the machine has
	free      func(dir string) (uint64, error)        // bytes that are left on dir's file system
	sync      func(dir string) (time.Duration, error) // how long making a small file durable takes there
	now       func() time.Time
}

func thisMachine() machine {
	return machine{
		openFiles: func() (uint64, error) {
			var l unix.Rlimit
			err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
			return l.Cur, err
		},
		memory: func() (uint64, error) {
			var info unix.Sysinfo_t
			err := unix.Sysinfo(&info)
			return uint64(info.Totalram) * uint64(info.Unit), err //nolint:unconvert // its type depends on the machine
		},
		free: func(dir string) (uint64, error) {
			var s unix.Statfs_t
			err := unix.Statfs(dir, &s)
			return s.Bavail * uint64(s.Bsize), err //nolint:gosec // a block's size is not negative
		},
		sync: syncTime,
		now:  time.Now,
	}
}

// syncTime writes a small file some times and makes it durable; it returns the median.
func syncTime(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	const tries = 7
	times := make([]time.Duration, tries)
	for i := range times {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[tries/2], nil
}

// openFiles looks whether a process started from here could hold its connections.
func (d *doctor) openFiles() {
	const want = connectionsMax + descriptorsKept
	limit, err := d.machine.openFiles()
	switch {
	case err != nil:
		d.find(warning, "open files", "", "the limit cannot be read: %v", err)
	case limit < want:
		d.find(warning, "open files", fmt.Sprintf("Raise it: LimitNOFILE=%d in the systemd unit, or ulimit -n %d.", 1<<16, 1<<16),
			"a process may have %d; with fewer than %d it serves fewer NFS connections", limit, want)
	default:
		d.ok("open files", "a process may have %d", limit)
	}
}

// memory looks whether the file system can fill up without the machine running out.
func (d *doctor) memory() {
	total, err := d.machine.memory()
	size := d.cluster.Limits.MaxBytes
	switch {
	case err != nil:
		d.find(warning, "memory", "", "how much there is cannot be found out: %v", err)
	case total < size:
		d.find(warning, "memory", "Give the machine more memory, or watch that the files stay smaller.",
			"the file system may grow to %s and is kept in memory, of which there are %s", formatBytes(size), formatBytes(total))
	default:
		d.ok("memory", "%s, for a file system of at most %s", formatBytes(total), formatBytes(size))
	}
}

const (
	diskSpare = 1 << 30                // less is a warning: the store takes several times its size while it rewrites
	diskNone  = 64 << 20               // with less a replica is about to stop
	syncSlow  = 50 * time.Millisecond  // every change waits for a sync
	syncAwful = 500 * time.Millisecond // then replicas lose patience with the primary
)

// disk looks at where the replica keeps its data.
func (d *doctor) disk(dir string) {
	if d.cluster.Durability == config.Memory {
		d.ok("disk", "durability is memory: none is needed")
		return
	}
	switch free, err := d.machine.free(dir); {
	case err != nil:
		d.find(wrong, "disk", "Make the directory, or name the right one with --dir.", "the data directory %s: %v", dir, err)
		return
	case free < diskNone:
		d.find(wrong, "disk", "Make room: a replica whose disk is full stops.", "%s has %s left", dir, formatBytes(free))
	case free < diskSpare:
		d.find(warning, "disk", "Make room before it is full.", "%s has %s left", dir, formatBytes(free))
	default:
		d.ok("disk", "%s has %s left", dir, formatBytes(free))
	}
	switch took, err := d.machine.sync(dir); {
	case errors.Is(err, syscall.EROFS):
		d.find(wrong, "disk", "Mount it writable; if the kernel did that after an error, dmesg says which.", "%s is on a read-only file system", dir)
	case errors.Is(err, os.ErrPermission):
		d.find(wrong, "disk", "Run this as the replica's user, or give that user the directory.", "nothing can be written to %s: %v", dir, err)
	case err != nil:
		d.find(wrong, "disk", "dmesg and smartctl say more. Replace the disk; the replica fetches everything from the others.", "writing to %s fails: %v", dir, err)
	case took > syncAwful:
		d.find(wrong, "disk", "Find out who else uses it, or take another.", "making a write durable in %s takes %v", dir, took.Round(time.Millisecond))
	case took > syncSlow:
		d.find(warning, "disk", "Every change waits for that. An SSD with a protected cache takes less than a millisecond.", "making a write durable in %s takes %v", dir, took.Round(time.Millisecond))
	default:
		d.ok("disk", "making a write durable takes %v", took.Round(10*time.Microsecond))
	}
}

// ports looks whether the replica listens, or could.
func (d *doctor) ports(ctx context.Context, me config.Replica, dir string) {
	if inUse(dir) {
		d.ok("ports", "replica %d runs on this machine", me.ID)
		return
	}
	for _, a := range []struct{ what, addr string }{{"peers", me.Peer}, {"NFS", me.NFS}, {"status page", me.Status}} {
		if a.addr == "" {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.addr)
		switch {
		case err == nil:
			l.Close()
			d.ok("ports", "%s (%s) is free; replica %d does not run", a.addr, a.what, me.ID)
		case errors.Is(err, syscall.EADDRINUSE):
			d.find(wrong, "ports", "ss -lntp shows whose it is. Stop that, or give the replica another port in everybody's cluster.toml.", "%s (%s) is taken by another program", a.addr, a.what)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			d.find(wrong, "ports", "Is --id right? If it is, correct the address in everybody's cluster.toml.", "%s (%s) is no address of this machine", a.addr, a.what)
		case errors.Is(err, syscall.EACCES):
			d.find(wrong, "ports", "Choose ports above 1023, or run it as root.", "%s (%s) may not be listened on: %v", a.addr, a.what, err)
		default:
			d.find(wrong, "ports", "Correct the address in everybody's cluster.toml.", "%s (%s): %v", a.addr, a.what, err)
		}
	}
}

// configuration looks at what is valid and yet unwise.
func (d *doctor) configuration() {
	c := d.cluster
	d.ok("configuration", "%s: %d replicas, of which %d may fail; durability %s", d.path, c.N(), c.F(), c.Durability)
	if c.F() == 0 {
		d.find(warning, "configuration", "Make a cluster of four: bfsd init --hosts a,b,c,d.", "one replica tolerates no fault")
	}
	if c.Durability == config.Memory {
		d.find(warning, "configuration", `Set durability = "disk" unless the files may go.`, "durability is memory: the files are gone when more than %d replicas stop at once", c.F())
	}
	hosts := map[string]int{}
	local, exposed := 0, false
	for _, r := range c.Replicas {
		host, _, err := net.SplitHostPort(r.Peer)
		if err != nil {
			continue // config.Load has looked
		}
		hosts[host]++
		if isLoopback(host) {
			local++
		} else if r.Status != "" {
			exposed = true
		}
		if r.Status == "" {
			d.find(warning, "configuration", "Give it one: bfsd status, bfsd wait and the status page ask there.", "replica %d has no status address", r.ID)
		}
	}
	switch {
	case local > 0 && local < c.N():
		d.find(wrong, "configuration", "Give every replica an address at which the others reach it.", "%d replicas have addresses of the loopback interface and %d have not", local, c.N()-local)
	case len(hosts) < c.N() && local == 0:
		d.find(warning, "configuration", "A machine that fails takes all its replicas with it: give each its own.", "%d replicas run on %d machines", c.N(), len(hosts))
	}
	if exposed {
		d.ok("configuration", "status pages are on the network, without a password: they show state and change nothing; a firewall decides who sees them")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
