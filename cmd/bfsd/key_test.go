package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/nfs/nfs3"
	"bfsd/replica/auth"
	"bfsd/replica/config"
)

// thief is somebody with what a member had: its key, and the cluster.toml of that time.
type thief struct{ dir string }

func (m *machines) rob(member string) *thief {
	m.t.Helper()
	th := &thief{dir: m.t.TempDir()}
	copyFile(m.t, filepath.Join(m.admin, "cluster.toml"), filepath.Join(th.dir, "cluster.toml"))
	copyFile(m.t, filepath.Join(m.admin, member, "key"), filepath.Join(th.dir, "key"))
	return th
}

// refusedBy runs a gateway of the thief's until each of the replicas has told it why it gets no link.
func (m *machines) refusedBy(th *thief, ids ...int) {
	m.t.Helper()
	addr := net.JoinHostPort(m.host(), strconv.Itoa(freePort(m.t)))
	ctx, cancel := context.WithCancel(context.WithoutCancel(m.t.Context()))
	cmd := m.command(ctx, "gateway", "--config", filepath.Join(th.dir, "cluster.toml"), "--key", filepath.Join(th.dir, "key"), "--nfs", addr)
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}()
	for _, i := range ids {
		says := fmt.Sprintf(`peer="replica %d"`, i)
		awaitCondition(m.t, fmt.Sprintf("replica %d to refuse the thief", i), func() bool {
			for line := range strings.Lines(out.String()) {
				if strings.Contains(line, says) && strings.Contains(line, "another key for this member") {
					return true
				}
			}
			return false
		}, out.String)
	}
	if strings.Contains(out.String(), "link up") {
		m.t.Errorf("the thief got a link: %s", out)
	}
}

func (m *machines) key(verb string, args ...string) (out string) {
	m.t.Helper()
	code, out, errs := cliRun(m.t, append([]string{"key", verb, "--config", filepath.Join(m.admin, "cluster.toml")}, args...)...)
	if code != exitOK {
		m.t.Fatalf("bfsd key %s exits with %d: %s%s", verb, code, out, errs)
	}
	return out
}

// gatewayWorks writes a file through the gateway.
func (m *machines) gatewayWorks(name string) {
	m.t.Helper()
	awaitCondition(m.t, "the gateway", func() bool { return firstCall(m.t.Context(), m.nfs) == nil }, m.output[gatewayMachine].String)
	root, c := mountLibrary(m.t, m.nfs)
	if _, err := c.WriteFile(m.t.Context(), root, name, []byte("x"), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// A gateway's key is stolen, and replaced by an order: no replica is restarted, and none gets another cluster.toml. The thief
// is refused at once, by one that was down meanwhile too, and after all were killed; the gateway needs the new key alone.
func TestAKeyIsReplacedByAnOrder(t *testing.T) {
	m := deploy(t, "os")
	m.awaitSettled(0, 1, 2, 3)
	root, c := mountLibrary(t, m.nfs)
	fill(t, c, root, 3)
	th := m.rob("gateway-100")
	m.stop("replica 3", syscall.SIGKILL)

	out := m.key("replace", "--member", "gateway")
	for _, want := range []string{"client 100, gateway, has its key of number 1", filepath.Join(m.admin, "gateway-100", "key"), "The replicas need nothing"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q: %s", want, out)
		}
	}
	// From here on nothing that the old key makes is executed, with whatever links are still about to end.
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	if _, err := c.Mkdir(short, root, "with the old key", nfs3.Sattr{}); err == nil {
		t.Error("a call through the old key was answered")
	}
	cancel()
	awaitCondition(t, "the old key's links to end", func() bool {
		return strings.Count(m.output[gatewayMachine].String(), "another key for this member") >= 3
	}, m.output[gatewayMachine].String)
	m.refusedBy(th, 0, 1, 2)
	m.copyMember(gatewayMachine, "gateway-100") // and not cluster.toml
	m.stop(gatewayMachine, syscall.SIGTERM)
	m.start(gatewayMachine)
	m.gatewayWorks("with the new key")
	root, c = mountLibrary(t, m.nfs)
	if _, err := c.Lookup(t.Context(), root, "with the old key"); !isStatus(err, nfs3.ErrNoEnt) {
		t.Errorf("what the old key made after the order is there: %v", err)
	}

	m.start("replica 3")
	m.awaitSettled(0, 1, 2, 3)
	m.refusedBy(th, 3)
	if code, out, errs := cliRun(t, "doctor", "--config", filepath.Join(m.dirs["replica 0"], "cluster.toml")); code != exitOK || strings.Count(out, "its cluster.toml has old keys of clients 100") != 4 {
		t.Errorf("bfsd doctor exits with %d, and does not say of all four that their cluster.toml is old: %s%s", code, out, errs)
	}
	if _, out, _ := cliRun(t, "status", "--config", filepath.Join(m.admin, "cluster.toml")); !strings.Contains(out, "replica 3: its cluster.toml has old keys of clients 100") {
		t.Errorf("bfsd status does not tell: %s", out)
	}
	shown := m.key("show")
	if !strings.Contains(shown, "100     gateway   1") || !strings.Contains(shown, "an order; cluster.toml has the same") || !strings.Contains(shown, "101     backup    0") {
		t.Errorf("bfsd key show says\n%s", shown)
	}

	for i := range 4 {
		m.stop(replicaMachine(i), syscall.SIGKILL)
	}
	if err := os.RemoveAll(filepath.Join(m.dirs["replica 2"], "replica-2", "store")); err != nil { // and one has lost its disk
		t.Fatal(err)
	}
	for i := range 4 {
		m.start(replicaMachine(i))
	}
	m.gatewayWorks("after the restart")
	for i := range 300 { // past what replica 2 can have said
		root, c = mountLibrary(t, m.nfs)
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("file ", i%10), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.awaitSettled(0, 1, 2, 3)
	m.refusedBy(th, 0, 1, 2, 3)
	m.awaitEqualRoots(m.admin)

	// Once more, with a key that is made where it is used.
	second := m.rob("gateway-100")
	next := filepath.Join(m.dirs[gatewayMachine], "next")
	made := m.key("make", "--member", "100", "--number", "2", "--out", next)
	_, command, ok := strings.Cut(made, "  bfsd key replace --config cluster.toml ")
	if !ok {
		t.Fatal(made)
	}
	out = m.key("replace", strings.Fields(command)...)
	if !strings.Contains(out, "has its key of number 2") {
		t.Error(out)
	}
	copyFile(t, next, filepath.Join(m.dirs[gatewayMachine], "gateway-100", "key"))
	m.stop(gatewayMachine, syscall.SIGTERM)
	m.start(gatewayMachine)
	m.gatewayWorks("with its third key")
	m.refusedBy(second, 0, 1, 2, 3)
	m.awaitEqualRoots(m.admin)
}

// The operator's own key is replaced like others': its orders count with the new one alone. A replacement that was cut off
// is gone on with, and what cannot be done is refused with its reason.
func TestTheOperatorsOwnKeyIsReplaced(t *testing.T) {
	m := deploy(t, "memory")
	m.awaitSettled(0, 1, 2, 3)
	path := filepath.Join(m.admin, "cluster.toml")
	before, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	operator := before.Clients[len(before.Clients)-1]
	home := filepath.Join(m.admin, fmt.Sprintf("operator-%d", operator.ID))
	th := m.rob(fmt.Sprintf("operator-%d", operator.ID))
	out := m.key("replace", "--member", "operator")
	if !strings.Contains(out, "durability is memory") {
		t.Errorf("nothing is said of durability: %s", out)
	}
	id, err := (keyFlags{}).read(filepath.Join(home, "key"))
	if err != nil || id.Number != 1 || id.Key.Public() == operator.Key {
		t.Fatalf("the key file is not the new one (%v)", err)
	}
	m.key("show")

	try := func(want string, args ...string) {
		t.Helper()
		code, out, errs := cliRun(t, append([]string{"key", "replace"}, args...)...)
		if code == exitOK || !strings.Contains(out+errs, want) {
			t.Errorf("%v: exit code %d, and it does not say %q: %s%s", args, code, want, out, errs)
		}
	}
	try("did not answer", "--config", filepath.Join(th.dir, "cluster.toml"), "--key", filepath.Join(th.dir, "key"), "--member", "100", "--timeout", "2s")
	try("has that number or name", "--config", path, "--member", "7777")
	try("bfsd init --replace 2", "--config", path, "--member", "2")
	try("bfsd init --replace 3", "--config", path, "--member", "replica-3")
	try("goes with --number", "--config", path, "--member", "100", "--public", auth.GenerateKey().Public().String())
	try("checksum", "--config", path, "--member", "100", "--number", "1", "--public", swapped(auth.GenerateKey().Public().String()))
	try("the same key", "--config", path, "--member", "100", "--number", "1", "--public", before.Replicas[1].Key.String())
	try("make one of number 2", "--config", path, "--member", strconv.Itoa(int(operator.ID)), "--number", "1", "--public", auth.GenerateKey().Public().String())

	// Cut off between the order and what follows it here: the key file and cluster.toml are as before.
	copyFile(t, path, filepath.Join(th.dir, "between.toml"))
	m.key("replace", "--member", "backup")
	backup := filepath.Join(m.admin, "backup-101")
	for _, name := range [][2]string{{"key", "key.next"}, {"key.replaced-1", "key"}} {
		if err := os.Rename(filepath.Join(backup, name[0]), filepath.Join(backup, name[1])); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, filepath.Join(th.dir, "between.toml"), path)
	m.key("replace", "--member", "backup")
	after, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := (keyFlags{}).read(filepath.Join(backup, "key"))
	if err != nil || got.Number != 1 || after.Clients[1].Key != got.Key.Public() || after.Clients[1].KeyNumber != 1 {
		t.Errorf("the second attempt did not go on: %+v, %v, %+v", got, err, after.Clients[1])
	}
	code, _, errs := cliRun(t, "export", "--config", path, "--key", filepath.Join(backup, "key"), "--output", filepath.Join(t.TempDir(), "backup.tar"))
	if code != exitOK {
		t.Errorf("a backup with the new key: %d: %s", code, errs)
	}
	if code, _, errs := cliRun(t, "init", "--dir", m.admin, "--replace-client", "101"); code == exitOK || !strings.Contains(errs, "bfsd key replace") {
		t.Errorf("bfsd init replaces a key that an order has replaced: %d: %s", code, errs)
	}
}

// swapped is a text with two different characters, side by side and in the middle, swapped.
func swapped(s string) string {
	b := []byte(s)
	for i := len(b) / 2; i < len(b); i++ {
		if b[i] != b[i-1] {
			b[i], b[i-1] = b[i-1], b[i]
			return string(b)
		}
	}
	return s
}
