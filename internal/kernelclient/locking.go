package kernelclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// lockPrograms are what a client's kernel needs beside it for locks over NFS version 3, with their Debian packages.
var lockPrograms = []struct{ program, debian string }{
	{"rpcbind", "rpcbind"}, {"rpc.statd", "nfs-common"}, {"sm-notify", "nfs-common"},
}

// LockingAvailable tells why StartLocking cannot work on this machine, naming what to install; nil when it can.
func LockingAvailable() error {
	var missing []string
	for _, need := range lockPrograms {
		if _, err := exec.LookPath(need.program); err != nil {
			missing = append(missing, need.debian)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("locks over NFS version 3 need packages that are not installed: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// startLocking is what a Debian system does at its start: rpcbind, then news of the restart to the servers that the former
// life locked at, then statd.
const startLocking = `set -e
mkdir /mnt/statd
mount -t hostfs none /mnt/statd -o "$STATE"
exec >/mnt/locking.log 2>&1 </dev/null
rpcbind -w
sm-notify -d -f -P /mnt/statd &
rpc.statd --no-notify --state-directory-path /mnt/statd
`

// StartLocking starts what a mount with locks needs, with the distribution's own programs: rpcbind and rpc.statd. state is
// a directory of the host that stands for the guest's disk: statd keeps there which servers have to be told when the guest
// starts anew, and tells them when it does (SM_NOTIFY).
func (g *Guest) StartLocking(ctx context.Context, state string) error {
	if err := LockingAvailable(); err != nil {
		return err
	}
	if g.options.Kind != UML {
		return errors.New("start what locks need: only in user-mode Linux, since a native guest's lock manager is this machine's own")
	}
	for _, dir := range []string{"sm", "sm.bak"} {
		if err := os.MkdirAll(filepath.Join(state, dir), 0o700); err != nil {
			return fmt.Errorf("start what locks need: %w", err)
		}
	}
	var out bytes.Buffer
	job := Job{Args: []string{"sh", "-c", startLocking}, Env: []string{"STATE=" + state}}
	exit, err := g.Exec(ctx, job, &out, &out)
	if err == nil && exit != 0 {
		_, logErr := g.Exec(ctx, Job{Args: []string{"cat", "/mnt/locking.log"}}, &out, &out)
		err = errors.Join(fmt.Errorf("the script ended with %d: %s", exit, &out), logErr)
	}
	if err != nil {
		return fmt.Errorf("start what locks need in guest %s: %w", g.Address(), err)
	}
	return nil
}

// Kill ends the guest as a power cut ends a machine.
func (g *Guest) Kill() {
	g.kill(errors.New("its power was cut"))
	<-g.exited
}

// Restart boots a guest that has ended again: with the same address and name, and with nothing else of its former life.
func (g *Guest) Restart(ctx context.Context) (*Guest, error) {
	select {
	case <-g.exited:
	default:
		return nil, fmt.Errorf("start guest %s again: it runs", g.Address())
	}
	return g.network.startGuest(ctx, g.options, g.number, g.plugged)
}
