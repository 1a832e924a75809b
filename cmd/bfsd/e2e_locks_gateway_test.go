package main

import (
	_ "embed"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gatewayNamespace is what deploy/README.md has an administrator do.
//
//go:embed testdata/gateway-netns.sh
var gatewayNamespace string

// TestLocksThroughAGatewayOnTheSameMachine: the kernel of the machine that runs the gateway mounts it, with locks. The
// gateway serves in a network namespace, so that its lock manager is not at the address of the kernel's own.
func TestLocksThroughAGatewayOnTheSameMachine(t *testing.T) {
	lockable(t)
	c := newLabCluster(t, 4, "--rpcbind", "serve")
	binary, err := bfsdBinary()
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.lockGuest("veth"), c.lockGuest().use(c, 0)
	begin := func() {
		t.Helper()
		runScript(t, a.Guest, "BFSD="+binary+"; CONFIG="+filepath.Join(c.dir, "cluster.toml")+
			"; KEY="+filepath.Join(c.dir, "gateway-100", "key")+"\n"+gatewayNamespace)
		a.mnt = "/mnt/gateway"
	}
	c.gateway.stop() // its key is used in the guest
	begin()
	ex := lockRequest{File: "f", Kind: "fcntl", Type: unix.F_WRLCK}
	for _, order := range [][2]*lockClient{{a, b}, {b, a}} {
		holder, waiter := order[0], order[1]
		if !holder.ask(t, ex).Held {
			t.Fatal("nobody has it")
		}
		if waiter.ask(t, ex).Held {
			t.Error("granted to both")
		}
		done := waiter.later(t, ex)
		waits(t, done)
		holder.free(t, "fcntl", "f")
		t.Logf("granted after %v", granted(t, done, 10*time.Second))
		waiter.free(t, "fcntl", "f")
	}
	if !a.ask(t, ex).Held {
		t.Fatal("nobody has it")
	}
	done := b.later(t, ex)
	waits(t, done)
	a.Kill()
	again, err := a.Restart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.Guest = again
	a.startLocking()
	waits(t, done) // without its gateway it can tell nobody
	begin()
	t.Logf("granted %v after the gateway was started on the machine that restarted", granted(t, done, time.Minute))
}
