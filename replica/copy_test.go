package replica

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// backupOf is the identity, among a test group's, of the client that may copy the state; gatewayOf of one that may not.
const (
	gatewayOf = 4
	backupOf  = 5
)

// copyState copies the group's state with the key of one of its members, within a time.
func (g *group) copyState(member int, probe string, within time.Duration) (*toyService, Copied, error) {
	g.t.Helper()
	keys, err := g.cluster.Keyring(g.identities[member])
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), within)
	defer cancel()
	service := newToyService()
	o := CopyOptions{Cluster: g.cluster, Keys: keys, Service: service, Log: slog.New(slog.DiscardHandler)}
	if probe != "" {
		o.Probe = []byte(probe)
	}
	done, err := Copy(ctx, o)
	return service, done, err
}

func TestACopyHoldsWhatWasAnsweredBeforeAndIsProven(t *testing.T) {
	g := newGroup(t, config.Memory, 16)
	c := g.client()
	for i := range 3 { // less than a checkpoint: Copy has to bring one about
		invoke(t, c, fmt.Sprint("early ", i), false)
	}
	for round := range 3 {
		last := invoke(t, c, fmt.Sprint("round ", round), false)
		s, done, err := g.copyState(backupOf, "?", 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.ops) != 4+round || fmt.Sprintf("%d: %s", len(s.ops), s.ops[len(s.ops)-1]) != last {
			t.Errorf("the copy holds %q, the last answer was %q", s.ops, last)
		}
		if s.Snapshot().Root() != done.At.Root {
			t.Errorf("the copy's root is %v, the certificate's %v", s.Snapshot().Root(), done.At.Root)
		}
		signers, err := VerifyCertificate(g.cluster, done.At, EncodeCertificate(done.Proof))
		if err != nil || len(signers) < 2 {
			t.Errorf("the certificate: %v, %v", signers, err)
		}
	}
}

func TestACopyIsTakenWhileOthersWrite(t *testing.T) {
	g := newGroup(t, config.Memory, 16)
	c := g.client()
	stop := make(chan struct{})
	ended := make(chan int)
	go func() {
		written := 0
		for ; ; written++ {
			select {
			case <-stop:
				ended <- written
				return
			default:
			}
			if _, err := c.Invoke(t.Context(), fmt.Appendf(nil, "write %d", written), false); err != nil {
				t.Errorf("write %d: %v", written, err)
				close(ended)
				return
			}
		}
	}()
	_, done, err := g.copyState(backupOf, "?", 30*time.Second)
	close(stop)
	if written := <-ended; err != nil || done.At.Seq == 0 || written == 0 {
		t.Errorf("copied %+v beside %d writes: %v", done.At, written, err)
	}
}

func TestAClientWithoutPermissionGetsNoCopy(t *testing.T) {
	g := newGroup(t, config.Memory, 4)
	g.append(g.client(), "op", 40)
	g.awaitEqual()
	if s, _, err := g.copyState(gatewayOf, "", 2*time.Second); err == nil || len(s.ops) > 0 {
		t.Errorf("a gateway's key copied %d operations: %v", len(s.ops), err)
	}
	if _, _, err := g.copyState(0, "", 2*time.Second); err == nil || !strings.Contains(err.Error(), "must be a client's") {
		t.Errorf("a replica's key: %v", err)
	}
}

func TestWithoutAQuorumTheNewestCheckpointCanBeCopied(t *testing.T) {
	g := newGroup(t, config.Memory, 16)
	g.append(g.client(), "op", 300)
	g.awaitEqual()
	for i := range 3 {
		g.stop(i)
	}
	if _, _, err := g.copyState(backupOf, "?", time.Second); err == nil || !strings.Contains(err.Error(), "quorum of 3") {
		t.Errorf("with one replica of four left, a current copy: %v", err)
	}
	s, done, err := g.copyState(backupOf, "", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if done.At.Seq == 0 || s.Snapshot().Root() != done.At.Root {
		t.Errorf("copied checkpoint %+v with root %v", done.At, s.Snapshot().Root())
	}
}

func TestACertificateIsCheckedInEveryPart(t *testing.T) {
	g := newGroup(t, config.Memory, 4)
	g.append(g.client(), "op", 40)
	g.awaitEqual()
	_, done, err := g.copyState(backupOf, "", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	frames := EncodeCertificate(done.Proof)
	if _, err := VerifyCertificate(g.cluster, done.At, frames); err != nil {
		t.Fatal(err)
	}
	other := newGroup(t, config.Memory, 4).cluster
	for name, bad := range map[string]func() error{
		"one signature": func() error { _, err := VerifyCertificate(g.cluster, done.At, frames[:1]); return err },
		"twice the same": func() error {
			_, err := VerifyCertificate(g.cluster, done.At, [][]byte{frames[0], frames[0]})
			return err
		},
		"another cluster": func() error { _, err := VerifyCertificate(other, done.At, frames); return err },
		"another root": func() error {
			_, err := VerifyCertificate(g.cluster, wire.CheckpointRef{Seq: done.At.Seq}, frames)
			return err
		},
		"another message": func() error {
			_, err := VerifyCertificate(g.cluster, done.At, [][]byte{wire.Encode(&wire.Decided{}), frames[0]})
			return err
		},
	} {
		if bad() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range frames[0] {
		changed := append([]byte(nil), frames[0]...)
		changed[i] ^= 4
		if _, err := VerifyCertificate(g.cluster, done.At, [][]byte{changed, frames[1]}); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}
