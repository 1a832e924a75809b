package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/loopback"
	"bfsd/replica/config"
)

// machines are hosts that each have a copy of cluster.toml and one member's directory, and nothing else, as the guide says.
type machines struct {
	*site

	admin   string // the directory that bfsd init wrote
	dirs    map[string]string
	running map[string]*exec.Cmd
	output  map[string]*syncBuffer
	nfs     string // where the gateway serves
}

const gatewayMachine = "gateway"

func replicaMachine(id int) string { return fmt.Sprint("replica ", id) }

// hostsHere is the value of --hosts for four replicas on this machine.
func hostsHere() string { return strings.Join(slices.Repeat([]string{loopback.Host()}, 4), ",") }

// deploy makes a cluster and starts it, each member on a machine of its own.
func deploy(t *testing.T, durability string) *machines {
	t.Helper()
	m := &machines{
		site: local(t), admin: filepath.Join(t.TempDir(), "admin"), dirs: map[string]string{}, running: map[string]*exec.Cmd{}, output: map[string]*syncBuffer{},
	}
	port := freePort(t)
	if code, out, errs := cliRun(t, "init", "--dir", m.admin, "--hosts", hostsHere(), "--port", strconv.Itoa(port), "--durability", durability); code != exitOK {
		t.Fatalf("bfsd init exits with %d: %s%s", code, out, errs)
	}
	m.nfs = net.JoinHostPort(m.host(), strconv.Itoa(freePort(t)))
	for i := range 4 {
		m.dirs[replicaMachine(i)] = t.TempDir()
		m.copyConfig(replicaMachine(i))
		m.copyMember(replicaMachine(i), fmt.Sprintf("replica-%d", i))
		m.start(replicaMachine(i))
	}
	m.dirs[gatewayMachine] = t.TempDir()
	m.copyConfig(gatewayMachine)
	m.copyMember(gatewayMachine, "gateway-100")
	m.start(gatewayMachine)
	t.Cleanup(func() {
		for name := range m.running {
			m.stop(name, syscall.SIGTERM)
		}
		if t.Failed() {
			for name, out := range m.output {
				t.Logf("%s said:\n%s", name, out)
			}
		}
	})
	return m
}

func (m *machines) copyConfig(machine string) {
	m.t.Helper()
	copyFile(m.t, filepath.Join(m.admin, "cluster.toml"), filepath.Join(m.dirs[machine], "cluster.toml"))
}

// copyMember copies a member's directory from the administrator's.
func (m *machines) copyMember(machine, member string) {
	m.t.Helper()
	to := filepath.Join(m.dirs[machine], member)
	if err := os.MkdirAll(to, 0o700); err != nil {
		m.t.Fatal(err)
	}
	copyFile(m.t, filepath.Join(m.admin, member, "key"), filepath.Join(to, "key"))
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// start runs what belongs on a machine, in its directory.
func (m *machines) start(machine string) {
	m.t.Helper()
	args := []string{"gateway", "--config", "cluster.toml", "--key", "gateway-100/key", "--nfs", m.nfs}
	if id, ok := strings.CutPrefix(machine, "replica "); ok {
		args = []string{"replica", "--config", "cluster.toml", "--id", id}
	}
	cmd := m.command(context.WithoutCancel(m.t.Context()), args...)
	cmd.Dir = m.dirs[machine]
	if m.output[machine] == nil {
		m.output[machine] = &syncBuffer{}
	}
	cmd.Stdout, cmd.Stderr = m.output[machine], m.output[machine]
	if err := cmd.Start(); err != nil {
		m.t.Fatalf("starting %s: %v", machine, err)
	}
	m.running[machine] = cmd
}

func (m *machines) stop(machine string, sig syscall.Signal) {
	m.t.Helper()
	cmd := m.running[machine]
	delete(m.running, machine)
	_ = cmd.Process.Signal(sig) // it may have ended
	_ = cmd.Wait()              // as it was told
}

// awaitSettled waits until bfsd status shows all of them up and up to date, as the instructions say it.
func (m *machines) awaitSettled(ids ...int) {
	m.t.Helper()
	said := ""
	awaitCondition(m.t, fmt.Sprintf("replicas %v to be up and up to date", ids), func() bool {
		code, out, errs := cliRun(m.t, "status", "--config", filepath.Join(m.admin, "cluster.toml"))
		if said = out + errs; strings.Contains(said, "are agreeing on a primary") {
			return false
		}
		for _, id := range ids {
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^%d +yes `, id)).MatchString(out) || regexp.MustCompile(fmt.Sprintf(`(?m)^replica %d `, id)).MatchString(out) {
				return false
			}
		}
		return code == exitOK
	}, func() string { return said })
}

// A machine dies for good, and another takes its place: what bfsd init --replace prints is done word by word, while users
// work. Afterwards the group survives the loss of another replica, so the new one does all that a replica does.
func TestANewMachineTakesThePlaceOfADeadOne(t *testing.T) {
	m := deploy(t, "os")
	m.awaitSettled(0, 1, 2, 3)
	root, c := mountLibrary(t, m.nfs)
	fill(t, c, root, 8)
	for i := range 200 { // beyond a checkpoint, which the dead one has signed
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("before ", i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.stop("replica 2", syscall.SIGKILL)
	if err := os.RemoveAll(m.dirs["replica 2"]); err != nil {
		t.Fatal(err)
	}
	calls, stop := m.load(m.nfs)
	code, out, errs := cliRun(t, "init", "--replace", "2", "--dir", m.admin)
	if code != exitOK {
		t.Fatalf("bfsd init --replace exits with %d: %s%s", code, out, errs)
	}
	t.Log(out)
	// 1. The others, one after the other, in the order in which they are listed.
	listed := regexp.MustCompile(`(?m)^     replica (\d+) at `).FindAllStringSubmatch(out, -1)
	if len(listed) != 3 {
		t.Fatalf("of the others %d are listed", len(listed))
	}
	for _, line := range listed {
		id, err := strconv.Atoi(line[1])
		if err != nil {
			t.Fatal(err)
		}
		m.copyConfig(replicaMachine(id))
		m.stop(replicaMachine(id), syscall.SIGTERM)
		m.start(replicaMachine(id))
		m.awaitSettled(id)
	}
	// 2. The new machine.
	m.dirs["replica 2"] = t.TempDir()
	m.copyConfig("replica 2")
	m.copyMember("replica 2", "replica-2")
	m.start("replica 2")
	m.awaitSettled(0, 1, 2, 3)
	// 3. The gateway. Its clients connect anew.
	before := calls.Load()
	longest := stop()
	m.copyConfig(gatewayMachine)
	m.stop(gatewayMachine, syscall.SIGTERM)
	m.start(gatewayMachine)
	awaitCondition(t, "the gateway", func() bool { return firstCall(t.Context(), m.nfs) == nil }, m.output[gatewayMachine].String)
	root, c = mountLibrary(t, m.nfs)
	if before < 3 {
		t.Errorf("there were %d calls meanwhile: no load", before)
	}
	for i := range 150 { // so that it is past whatever its predecessor may have said
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("after ", i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report := m.awaitEqualRoots(m.admin)
	if r := report.Replicas[2].Rejoin; r.Transfers == 0 {
		t.Errorf("the new replica came up without fetching the state: %+v", r)
	}
	// The other three include the new one: without its votes there is no quorum.
	m.stop("replica 0", syscall.SIGKILL)
	began := time.Now()
	for i := range 20 {
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("without 0: ", i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d calls during the replacement, the longest %v; 20 calls with the new replica in every quorum took %v",
		before, longest.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	m.awaitEqualRoots(m.admin, 0)
}

func TestOnlyADeadReplicaIsReplaced(t *testing.T) {
	dir := initCluster(t)
	home := filepath.Join(dir, "replica-2")
	try := func(name string, code int, says string, more ...string) {
		t.Helper()
		before, err := os.ReadFile(filepath.Join(dir, "cluster.toml"))
		if err != nil {
			t.Fatal(err)
		}
		got, out, errs := cliRun(t, append([]string{"init", "--dir", dir, "--replace"}, more...)...)
		if got != code || !strings.Contains(out+errs, says) {
			t.Errorf("%s: exit code %d, want %d, and it to say %q: %s%s", name, got, code, says, out, errs)
		}
		after, err := os.ReadFile(filepath.Join(dir, "cluster.toml"))
		if err != nil {
			t.Fatal(err)
		}
		if code != exitOK && string(before) != string(after) {
			t.Errorf("%s: cluster.toml was changed", name)
		}
	}
	try("no such replica", exitUsage, "0 to 3", "4")
	try("two hosts", exitUsage, "name the one", "2", "--hosts", "a,b")
	release, err := lockDir(home)
	if err != nil {
		t.Fatal(err)
	}
	try("a running one", exitFailure, "is running", "2")
	release()
	if err := os.Mkdir(filepath.Join(home, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	try("one with data", exitFailure, "holds the data", "2")
	if err := os.Remove(filepath.Join(home, "store")); err != nil {
		t.Fatal(err)
	}
	before, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	try("a dead one", exitOK, "new key", "2", "--hosts", "new.example")
	after, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if after.Replicas[2].Key == before.Replicas[2].Key || after.Replicas[2].Peer != "new.example:9" || after.Replicas[1] != before.Replicas[1] {
		t.Errorf("replica 2 was %+v, is %+v", before.Replicas[2], after.Replicas[2])
	}
	identity, err := (keyFlags{}).read(filepath.Join(home, "key"))
	if err != nil || identity.Key.Public() != after.Replicas[2].Key {
		t.Errorf("the key file does not hold the key (%v)", err)
	}
	if _, err := (keyFlags{}).read(filepath.Join(home, "key.replaced-1")); err != nil {
		t.Errorf("the old key is gone: %v", err)
	}
}
