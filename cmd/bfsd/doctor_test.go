package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/replica"
	"bfsd/replica/config"
)

// patient is a cluster whose replicas' peer ports and status pages are the test's, and a machine that is as it says.
type patient struct {
	t        *testing.T
	d        *doctor
	statuses []replica.Status
	peers    []net.Listener
	pages    []*httptest.Server
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{t: t}
	addrs := make([]config.Addresses, 4)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s := p.statuses[i]
			s.ClockMs += time.Now().UnixMilli()
			if err := json.NewEncoder(w).Encode(s); err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(page.Close)
		p.peers, p.pages = append(p.peers, l), append(p.pages, page)
		p.statuses = append(p.statuses, replica.Status{ID: uint32(i), Committed: 1000, Executed: 1000, Active: true, Peers: 3, Version: buildName(), ClockMs: 0}) //nolint:gosec // an index
		addrs[i] = config.Addresses{Peer: l.Addr().String(), NFS: net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t))), Status: page.Listener.Addr().String()}
	}
	cluster, ids, err := config.Generate(config.Options{Replicas: addrs, Gateways: []string{"g"}, Durability: config.Disk, Limits: config.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "c")
	if err := writeCluster(dir, cluster, ids, nil, nil); err != nil {
		t.Fatal(err)
	}
	p.d = &doctor{cluster: cluster, path: filepath.Join(dir, "cluster.toml"), timeout: 2 * time.Second, machine: machine{
		openFiles: func() (uint64, error) { return 1 << 16, nil },
		memory:    func() (uint64, error) { return 1 << 36, nil },
		free:      func(string) (uint64, error) { return 1 << 36, nil },
		sync:      func(string) (time.Duration, error) { return time.Millisecond, nil },
		now:       time.Now,
	}}
	return p
}

func (p *patient) dir(i int) string {
	return filepath.Join(filepath.Dir(p.d.path), fmt.Sprint("replica-", i))
}

// examine has the doctor look at everything but ports, as on the machine of a replica.
func (p *patient) examine(id int) {
	p.t.Helper()
	principal := replicaPrincipal(p.d.cluster.Replicas[id].ID)
	p.d.configuration()
	p.d.openFiles()
	p.d.key(filepath.Join(p.dir(id), "key"), keyFlags{}.read, &principal)
	p.d.disk(p.dir(id))
	p.d.memory()
	p.d.group(p.t.Context())
}

func (p *patient) found(s severity, about, what string) bool {
	for _, f := range p.d.findings {
		if f.Severity == s && f.About == about && strings.Contains(f.What, what) && (s == fine || f.Advice != "" || about == "open files" || about == "memory") {
			return true
		}
	}
	return false
}

// Whatever is wrong is found, told with what to do, and nothing else is: the healthy patient has no complaint.
func TestDoctorFindings(t *testing.T) {
	fail := errors.New("it cannot be asked")
	for _, tt := range []struct {
		name     string
		harm     func(p *patient)
		severity severity
		about    string
		what     string
	}{
		{"nothing", func(*patient) {}, fine, "states", "nobody lags"},
		{"one replica", func(p *patient) { p.d.cluster.Replicas = p.d.cluster.Replicas[:1] }, warning, "configuration", "tolerates no fault"},
		{"memory", func(p *patient) { p.d.cluster.Durability = config.Memory }, warning, "configuration", "durability is memory"},
		{"mixed addresses", func(p *patient) { p.d.cluster.Replicas[2].Peer = "192.0.2.1:7" }, wrong, "configuration", "3 replicas have addresses of the loopback interface and 1 have not"},
		{"one machine", func(p *patient) {
			for i := range p.d.cluster.Replicas {
				p.d.cluster.Replicas[i].Peer = fmt.Sprintf("192.0.2.%d:%d", 1+i/2, 7+i)
			}
		}, warning, "configuration", "4 replicas run on 2 machines"},
		{"no status address", func(p *patient) { p.d.cluster.Replicas[1].Status = "" }, warning, "configuration", "replica 1 has no status address"},
		{"few files", func(p *patient) { p.d.machine.openFiles = func() (uint64, error) { return 256, nil } }, warning, "open files", "may have 256"},
		{"unknown limit", func(p *patient) { p.d.machine.openFiles = func() (uint64, error) { return 0, fail } }, warning, "open files", "cannot be read"},
		{"little memory", func(p *patient) { p.d.machine.memory = func() (uint64, error) { return 1 << 20, nil } }, warning, "memory", "may grow to"},
		{"unknown memory", func(p *patient) { p.d.machine.memory = func() (uint64, error) { return 0, fail } }, warning, "memory", "cannot be found out"},
		{"key lost", func(p *patient) { p.must(os.Remove(filepath.Join(p.dir(0), "key"))) }, wrong, "key", "no such file"},
		{"key seen", func(p *patient) { p.must(os.Chmod(filepath.Join(p.dir(0), "key"), 0o644)) }, wrong, "key", "may be used by others"},
		{"other key", func(p *patient) { p.must(os.Rename(filepath.Join(p.dir(1), "key"), filepath.Join(p.dir(0), "key"))) }, wrong, "key", "is the key of replica 1, not of replica 0"},
		{"replaced key", func(p *patient) { p.d.cluster.Replicas[0].Key = p.d.cluster.Clients[0].Key }, wrong, "key", "does not fit"},
		{"no directory", func(p *patient) { p.d.machine.free = func(string) (uint64, error) { return 0, fs.ErrNotExist } }, wrong, "disk", "the data directory"},
		{"full disk", func(p *patient) { p.d.machine.free = func(string) (uint64, error) { return 1 << 20, nil } }, wrong, "disk", "has 1.0 MiB left"},
		{"nearly full disk", func(p *patient) { p.d.machine.free = func(string) (uint64, error) { return 1 << 29, nil } }, warning, "disk", "left"},
		{"read-only disk", func(p *patient) {
			p.d.machine.sync = func(string) (time.Duration, error) {
				return 0, &fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}
			}
		}, wrong, "disk", "read-only"},
		{"somebody else's disk", func(p *patient) {
			p.d.machine.sync = func(string) (time.Duration, error) {
				return 0, &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}
			}
		}, wrong, "disk", "nothing can be written"},
		{"broken disk", func(p *patient) { p.d.machine.sync = func(string) (time.Duration, error) { return 0, syscall.EIO } }, wrong, "disk", "input/output error"},
		{"slow disk", func(p *patient) {
			p.d.machine.sync = func(string) (time.Duration, error) { return 80 * time.Millisecond, nil }
		}, warning, "disk", "takes 80ms"},
		{"awfully slow disk", func(p *patient) {
			p.d.machine.sync = func(string) (time.Duration, error) { return 2 * time.Second, nil }
		}, wrong, "disk", "takes 2s"},
		{"dead replica", func(p *patient) { p.peers[2].Close(); p.pages[2].Close() }, wrong, "replica 2", "nobody listens at"},
		{"no redundancy", func(p *patient) { p.peers[2].Close(); p.pages[2].Close() }, warning, "group", "3 of 4 replicas work, as many as are needed"},
		{"no quorum", func(p *patient) {
			for _, i := range []int{1, 3} {
				p.peers[i].Close()
				p.pages[i].Close()
			}
		}, wrong, "group", "2 of 4 replicas work, 3 are needed"},
		{"wrong name", func(p *patient) { p.d.cluster.Replicas[3].Peer = "nobody.invalid:7" }, wrong, "replica 3", "does not resolve"},
		{"no status page", func(p *patient) { p.pages[1].Close() }, warning, "replica 1", "status page does not answer"},
		{"starting", func(p *patient) { p.statuses[1].Rejoin.How = replica.RejoinLoading }, warning, "replica 1", "it starts"},
		{"clock far off", func(p *patient) { p.statuses[2].ClockMs = 15_500 }, wrong, "replica 2", "its clock is off by 15"},
		{"clock off", func(p *patient) { p.statuses[2].ClockMs = -5_500 }, warning, "replica 2", "its clock is off by -5"},
		{"own clock off", func(p *patient) {
			p.d.machine.now = func() time.Time { return time.Now().Add(60500 * time.Millisecond) }
		}, wrong, "this machine", "its clock is off by 1m0"},
		{"two builds", func(p *patient) { p.statuses[3].Version = "v9" }, warning, "builds", "different ones run:\nreplica 0, 1, 2"},
		{"other builds", func(p *patient) {
			for i := range p.statuses {
				p.statuses[i].Version = "v9"
			}
		}, warning, "builds", "this program is another one"},
		{"lag", func(p *patient) { p.statuses[1].Committed = 10 }, warning, "replica 1", "990 batches behind"},
		{"doubt", func(p *patient) { p.statuses[1].InDoubt = true }, warning, "replica 1", "does not vote"},
		{"damage", func(p *patient) { p.statuses[1].Damage = []string{"the log's end\x1b[2J"} }, warning, "replica 1", "damaged: the log's end?[2J"},
		{"cut off", func(p *patient) { p.statuses[1].Peers = 1 }, wrong, "replica 1", "links to 1 other replicas, and needs 2"},
		{"its disk is full", func(p *patient) { p.statuses[1].Disk = &replica.DiskUse{FreeBytes: 1 << 20} }, warning, "replica 1", "has only 1.0 MiB left"},
		{"its disk is slow", func(p *patient) { p.statuses[1].Disk = &replica.DiskUse{SyncMs: 90} }, warning, "replica 1", "syncs take 90 ms"},
		{"one accuser", func(p *patient) {
			p.statuses[3].Suspicions = []replica.Suspicion{{Replica: 1, What: "equivocation", Count: 2}, {Replica: 99, What: "x"}}
		}, warning, "replica 1", "replica 3 suspects replica 1: equivocation (2 times)"},
		{"two accusers", func(p *patient) {
			for _, i := range []int{0, 3} {
				p.statuses[i].Suspicions = []replica.Suspicion{{Replica: 1, What: "equivocation", Count: 2}}
			}
		}, wrong, "replica 1", "2 replicas suspect it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPatient(t)
			tt.harm(p)
			p.d.timeout = time.Second
			p.examine(0)
			if !p.found(tt.severity, tt.about, tt.what) {
				t.Errorf("not found with advice: %s, %s, %q; found:\n%s", tt.severity, tt.about, tt.what, p.text())
			}
			if tt.name == "nothing" && p.d.count(wrong)+p.d.count(warning) > 0 {
				t.Errorf("the healthy patient is told:\n%s", p.text())
			}
		})
	}
}

func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) text() string {
	var b strings.Builder
	p.d.print(&b)
	return b.String()
}

// The ports of a replica that does not run are free, or it is said what keeps it from them.
func TestDoctorLooksAtPorts(t *testing.T) {
	p := newPatient(t)
	me := p.d.cluster.Replicas[0]
	me.Status = net.JoinHostPort("192.0.2.7", "80") // TEST-NET: nobody's
	p.d.ports(t.Context(), me, p.dir(0))
	for _, want := range []struct {
		severity severity
		what     string
	}{{wrong, me.Peer + " (peers) is taken"}, {fine, me.NFS + " (NFS) is free"}, {wrong, "192.0.2.7:80 (status page) is no address of this machine"}} {
		if !p.found(want.severity, "ports", want.what) {
			t.Errorf("%s %s is not said:\n%s", want.severity, want.what, p.text())
		}
	}
	release, err := lockDir(p.dir(0))
	p.must(err)
	defer release()
	p.d.findings = nil
	p.d.ports(t.Context(), me, p.dir(0))
	if len(p.d.findings) != 1 || !p.found(fine, "ports", "runs on this machine") {
		t.Errorf("of a replica that runs it is said:\n%s", p.text())
	}
}

// The real machine can be asked all that a doctor asks.
func TestDoctorMeasuresThisMachine(t *testing.T) {
	m, dir := thisMachine(), t.TempDir()
	for what, ask := range map[string]func() (uint64, error){
		"open files": m.openFiles, "memory": m.memory, "free": func() (uint64, error) { return m.free(dir) },
		"sync": func() (uint64, error) { took, err := m.sync(dir); return uint64(took), err }, //nolint:gosec // it is positive
	} {
		if n, err := ask(); n == 0 || err != nil {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("trying the disk left %v, %v", left, err)
	}
	if _, err := m.sync(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// The command finds a real cluster well, then that a replica is gone; its exit code says so, and JSON has the same.
func TestDoctorOnARealCluster(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	startUp(s, dir, "--durability", "os")
	s.awaitEqualRoots(dir)
	conf := filepath.Join(dir, "cluster.toml")
	if code, _, errs := cliRun(t, "wait", "--config", conf); code != exitOK { // until all have their links
		t.Fatal(errs)
	}
	code, out, errs := cliRun(t, "doctor", "--config", conf, "--id", "2")
	if code != exitOK || strings.Contains(out, "wrong  ") || !strings.Contains(out, "0 wrong") || !strings.Contains(out, "4 of 4 replicas work") || !strings.Contains(out, "replica 2 runs on this machine") {
		t.Errorf("exit code %d:\n%s%s", code, out, errs)
	}
	signalReplica(t, dir, 2, syscall.SIGKILL)
	awaitCondition(t, "replica 2 to be gone", func() bool { return !inUse(filepath.Join(dir, "replica-2")) }, func() string { return "there" })
	code, out, errs = cliRun(t, "doctor", "--config", conf, "--id", "2", "--json")
	var report struct{ Findings []finding }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := &patient{t: t, d: &doctor{findings: report.Findings}}
	if code != exitUnwell || !p.found(wrong, "replica 2", "nobody listens") || !p.found(warning, "group", "3 of 4") || !p.found(fine, "ports", "does not run") {
		t.Errorf("exit code %d:\n%s%s", code, p.text(), errs)
	}
	if err := os.WriteFile(conf, []byte("version = 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := cliRun(t, "doctor", "--config", conf); code != exitUnwell || !strings.Contains(out, "wrong    configuration: ") {
		t.Errorf("a broken configuration: exit code %d:\n%s", code, out)
	}
	if code, _, _ := cliRun(t, "doctor", "--config", filepath.Join(dir, "none")); code != exitUnwell {
		t.Errorf("no configuration: exit code %d", code)
	}
}
