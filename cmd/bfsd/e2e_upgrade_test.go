package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bfsd/replica/config"
)

// buildRelease builds a bfsd of another name, which speaks what the build tag says.
func buildRelease(t *testing.T, name, tag string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bfsd-"+name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", buildTags+","+tag, "-ldflags", "-X main.release="+name, "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building bfsd %s: %v: %s", name, err, out)
	}
	return path
}

// upgradeSite is a cluster of four replicas whose programs are exchanged while it runs.
type upgradeSite struct {
	*site
	dir     string
	cluster *config.Cluster
	running []*server
	gateway *server
}

func (u *upgradeSite) config() string { return filepath.Join(u.dir, "cluster.toml") }

// run starts a member with a program.
func (u *upgradeSite) run(program string, args ...string) *server {
	u.t.Helper()
	args = append([]string{args[0], "--config", u.config()}, args[1:]...)
	return u.launch(u.network.Command(context.WithoutCancel(u.t.Context()), program, args...))
}

func (u *upgradeSite) replica(program string, id int) *server {
	return u.run(program, "replica", "--id", strconv.Itoa(id))
}

func (u *upgradeSite) startGateway(program string) {
	u.t.Helper()
	u.gateway = u.run(program, "gateway", "--key", keyPath(u.dir, gatewayPrincipal(config.FirstGateway)), "--nfs", net.JoinHostPort(u.host(), strconv.Itoa(testPort)))
	select {
	case <-u.gateway.ready:
	case <-u.gateway.ended:
		u.t.Fatalf("the gateway ended: %v\n%s", u.gateway.err, u.gateway.output)
	}
}

// wait is bfsd wait, as the guide uses it.
func (u *upgradeSite) wait(ids ...string) {
	u.t.Helper()
	args := []string{"wait", "--config", u.config(), "--timeout", "2m"}
	for _, id := range ids {
		args = append(args, "--id", id)
	}
	if out, err := u.command(u.t.Context(), args...).CombinedOutput(); err != nil {
		u.t.Fatalf("bfsd wait: %v\n%s", err, out)
	}
}

// metrics is what a replica's metrics page says.
func (u *upgradeSite) metrics(id int) string {
	u.t.Helper()
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return u.network.Dial(ctx, addr)
	}}}
	defer web.CloseIdleConnections()
	req, err := http.NewRequestWithContext(u.t.Context(), http.MethodGet, "http://"+u.cluster.Replicas[id].Status+"/metrics", nil)
	if err != nil {
		u.t.Fatal(err)
	}
	resp, err := web.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<22))
	if err != nil {
		u.t.Fatal(err)
	}
	return string(text)
}

// A cluster is upgraded one replica at a time, then the gateway, while a kernel client writes and sees no error. The new release
// speaks a version of the protocol more. A release that does not speak the old one any more is refused, both sides say why, and
// the others go on.
func TestRollingUpgrade(t *testing.T) {
	u := &upgradeSite{site: newSite(t), dir: filepath.Join(t.TempDir(), "cluster")}
	old, err := bfsdBinary()
	if err != nil {
		t.Fatal(err)
	}
	next, foreign := buildRelease(t, "v2.0-next", "bfsd_protocol_1_2"), buildRelease(t, "v3.0-foreign", "bfsd_protocol_2")
	for program, want := range map[string]string{old: "protocol version 1\n", next: "bfsd v2.0-next", foreign: "protocol version 2\n"} {
		if out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("bfsd --version says %s (%v), want %q in it", out, err, want)
		}
	}
	hosts := strings.Join([]string{u.host(), u.host(), u.host(), u.host()}, ",")
	if out, err := u.command(t.Context(), "init", "--dir", u.dir, "--durability", "os", "--hosts", hosts).CombinedOutput(); err != nil {
		t.Fatalf("bfsd init: %v: %s", err, out)
	}
	if u.cluster, err = config.Load(u.config()); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		u.running = append(u.running, u.replica(old, i))
	}
	u.wait()
	u.startGateway(old)
	guest := u.guest()
	mnt := u.mount(guest, testPort)
	load := u.startCopies(guest, mnt, "go/ast", "copy")

	for i := range 4 {
		u.running[i].stop()
		u.running[i] = u.replica(next, i)
		u.wait(strconv.Itoa(i))
		if got := u.metrics(i); !strings.Contains(got, `version="v2.0-next"`) {
			t.Errorf("replica %d does not run the new release", i)
		}
	}
	u.gateway.stop()
	u.startGateway(next)
	if n := load.stop(); n < 2 {
		t.Errorf("%d copies were made meanwhile: no load", n)
	} else {
		load.compare(u.mount(guest, testPort), n)
		t.Logf("%d copies of %s during the upgrade, without an error", n, load.tree)
	}
	u.awaitEqualRoots(u.dir)

	// A release that speaks the new version alone gets no link to one that speaks the old one alone.
	u.running[2].stop()
	u.running[2] = u.replica(old, 2)
	u.wait("2")
	u.running[3].stop()
	u.running[3] = u.replica(foreign, 3)
	for side, want := range map[*server]string{
		u.running[3]: "this bfsd speaks version 2, the peer another",
		u.running[2]: `peer_speaks=2 this_bfsd_speaks="version 1"`,
	} {
		awaitCondition(t, "the log to say "+want, func() bool { return strings.Contains(side.output.String(), want) }, side.output.String)
	}
	runScript(t, guest, fmt.Sprintf("echo three > %s/without-3; cat %s/without-3", mnt, mnt))
	u.running[3].stop()
	u.running[3] = u.replica(next, 3)
	u.wait()
	u.awaitEqualRoots(u.dir)
}
