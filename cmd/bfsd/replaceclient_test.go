package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bfsd/replica/config"
)

// A gateway's key is stolen: what bfsd init --replace-client prints is done word by word. A replica that was down meanwhile gets the
// file before it starts. Then the gateway works with its new key, and the thief gets no link to any replica.
func TestAGatewayGetsANewKey(t *testing.T) {
	m := deploy(t, "os")
	m.awaitSettled(0, 1, 2, 3)
	root, c := mountLibrary(t, m.nfs)
	fill(t, c, root, 3)
	thief := t.TempDir()
	copyFile(t, filepath.Join(m.admin, "cluster.toml"), filepath.Join(thief, "cluster.toml"))
	copyFile(t, filepath.Join(m.admin, "gateway-100", "key"), filepath.Join(thief, "key"))
	m.stop("replica 3", syscall.SIGTERM)

	code, out, errs := cliRun(t, "init", "--replace-client", "100", "--dir", m.admin)
	if code != exitOK {
		t.Fatalf("bfsd init --replace-client exits with %d: %s%s", code, out, errs)
	}
	listed := regexp.MustCompile(`(?m)^     replica (\d+) at `).FindAllStringSubmatch(out, -1)
	if len(listed) != 4 {
		t.Fatalf("%d replicas are listed: %s", len(listed), out)
	}
	for _, line := range listed {
		name := "replica " + line[1]
		m.copyConfig(name)
		if m.running[name] != nil {
			m.stop(name, syscall.SIGTERM)
		}
		m.start(name)
		if code, out, errs := cliRun(t, "wait", "--config", filepath.Join(m.admin, "cluster.toml"), "--id", line[1], "--timeout", "1m"); code != exitOK {
			t.Fatalf("bfsd wait exits with %d: %s%s", code, out, errs)
		}
	}
	m.copyConfig(gatewayMachine)
	m.copyMember(gatewayMachine, "gateway-100")
	m.stop(gatewayMachine, syscall.SIGTERM)
	m.start(gatewayMachine)
	awaitCondition(t, "the gateway", func() bool { return firstCall(t.Context(), m.nfs) == nil }, m.output[gatewayMachine].String)
	root, c = mountLibrary(t, m.nfs)
	if _, err := c.WriteFile(t.Context(), root, "with the new key", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}

	addr := net.JoinHostPort(m.host(), strconv.Itoa(freePort(t)))
	stolen := m.launch(m.command(context.WithoutCancel(t.Context()), "gateway", "--config", filepath.Join(thief, "cluster.toml"), "--key", filepath.Join(thief, "key"), "--nfs", addr))
	for i := range 4 {
		says := fmt.Sprintf(`peer="replica %d"`, i)
		awaitCondition(t, "the thief to be refused by replica "+strconv.Itoa(i), func() bool {
			for line := range strings.Lines(stolen.output.String()) {
				if strings.Contains(line, "no link to peer") && strings.Contains(line, says) {
					return true
				}
			}
			return false
		}, stolen.output.String)
	}
	if strings.Contains(stolen.output.String(), "connection refused") {
		t.Errorf("the thief did not reach the replicas: %s", stolen.output)
	}
	m.awaitEqualRoots(m.admin)
}

// Only who is there gets a new key; the old one stays under another name, and nobody else's changes.
func TestOnlyAClientIsReplaced(t *testing.T) {
	dir := initCluster(t)
	before, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errs := cliRun(t, "init", "--dir", dir, "--replace-client", "7"); code != exitUsage || !strings.Contains(out+errs, "no client of that number") {
		t.Errorf("a client that there is not: %d: %s%s", code, out, errs)
	}
	if code, _, _ := cliRun(t, "init", "--dir", dir, "--replace-client", "100", "--replace", "1"); code != exitUsage {
		t.Errorf("two at once: %d", code)
	}
	for _, c := range before.Clients {
		if code, out, errs := cliRun(t, "init", "--dir", dir, "--replace-client", strconv.Itoa(int(c.ID))); code != exitOK {
			t.Fatalf("client %d: %d: %s%s", c.ID, code, out, errs)
		}
		home := homeDir(dir, before, gatewayPrincipal(c.ID))
		identity, err := (keyFlags{}).read(filepath.Join(home, "key"))
		if err != nil || identity.Key.Public() == c.Key {
			t.Errorf("client %d has its old key (%v)", c.ID, err)
		}
		if old, err := (keyFlags{}).read(filepath.Join(home, "key.replaced-1")); err != nil || old.Key.Public() != c.Key {
			t.Errorf("the old key of client %d is gone (%v)", c.ID, err)
		}
	}
	after, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range before.Replicas {
		if before.Replicas[i] != after.Replicas[i] {
			t.Errorf("replica %d was changed", i)
		}
	}
	for i := range before.Clients {
		if before.Clients[i].Key == after.Clients[i].Key || before.Clients[i].Name != after.Clients[i].Name {
			t.Errorf("client %+v became %+v", before.Clients[i], after.Clients[i])
		}
	}
}
