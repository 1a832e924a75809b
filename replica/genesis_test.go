package replica

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// found makes a group that has never run begin with a state, and returns the bytes of its file.
func (g *group) found(state Snapshot) []byte {
	g.t.Helper()
	at := GenesisRef(g.cluster, state.Root())
	proof, err := SignGenesis(g.cluster, g.identities, at)
	if err != nil {
		g.t.Fatal(err)
	}
	var file bytes.Buffer
	if err := WriteGenesis(&file, proof, state); err != nil {
		g.t.Fatal(err)
	}
	g.cluster.Genesis = &config.Genesis{Sequence: uint64(at.Seq), Root: config.Root(at.Root)}
	g.genesis = filepath.Join(g.dir, "genesis")
	if err := os.WriteFile(g.genesis, file.Bytes(), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return file.Bytes()
}

func someState() Snapshot {
	s := newToyService()
	for _, op := range []string{"one", "two", "three"} {
		s.Execute(1, []byte(op), nil)
	}
	return s.Snapshot()
}

func TestAGroupBeginsWithAStateThatItWasGiven(t *testing.T) {
	for _, durability := range []config.Durability{config.Memory, config.OS} {
		t.Run(string(durability), func(t *testing.T) {
			g := stoppedGroup(t, durability, 16)
			g.found(someState())
			for i := range g.nodes {
				g.start(i)
			}
			c := g.client()
			if got := invoke(t, c, "?", true); got != "3" {
				t.Errorf("a read finds %s operations, want those 3 that the group began with", got)
			}
			if got := invoke(t, c, "four", false); got != "4: four" {
				t.Errorf("the first operation answered %q", got)
			}
			g.append(c, "op", 60)
			if s := g.awaitEqual(); s.Stable <= 16 {
				t.Errorf("after %d batches the stable checkpoint is %d", s.Executed, s.Stable)
			}
			if durability == config.Memory {
				return
			}
			for i := range g.nodes {
				g.stop(i)
			}
			if err := os.Remove(g.genesis); err != nil { // it has done its work
				t.Fatal(err)
			}
			for i := range g.nodes {
				g.start(i)
			}
			if got := invoke(t, c, "?", true); got != "64" {
				t.Errorf("after a restart a read finds %s operations, want 64", got)
			}
		})
	}
}

func TestAReplicaDoesNotBeginWithAnotherState(t *testing.T) {
	g := stoppedGroup(t, config.OS, 16)
	file := g.found(someState())
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(g.genesis, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, says string) {
		t.Helper()
		n, err := g.open(0, filepath.Join(t.TempDir(), "store"))
		if err == nil {
			n.Close()
			t.Errorf("%s: it began", what)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want it to say %q", what, err, says)
		}
	}
	for n := 0; n < len(file); n += 9 {
		write(file[:n])
		refused("cut off", "copy it once more")
	}
	// Of the signatures half may be wrong; to the key of its one pair the toy pays no attention.
	key := bytes.Index(file, []byte("state"))
	for i := range file {
		if i >= len(genesisMagic)+4 && i < key-8 || i >= key && i < key+len("state") {
			continue
		}
		changed := bytes.Clone(file)
		changed[i] ^= 1
		write(changed)
		refused("changed", "copy it once more")
	}
	write(append(bytes.Clone(file), 0))
	refused("with a byte more", "goes on after its end")
	write(nil)
	refused("empty", "not a file")
	write(file)
	n, err := g.open(0, g.storeDir(0))
	if err != nil {
		t.Fatalf("the right file: %v", err)
	}
	n.Close()
}

// A replica that was not given the state its group began with does not begin with an empty one: it gets it from the others.
func TestAReplicaWithoutTheFirstStateGetsItFromTheOthers(t *testing.T) {
	g := stoppedGroup(t, config.OS, 16)
	g.found(someState())
	for i := range 3 {
		g.start(i)
	}
	c := g.client()
	if got := invoke(t, c, "four", false); got != "4: four" {
		t.Errorf("the first operation answered %q", got)
	}
	g.genesis += " is not here"
	g.start(3)
	g.append(c, "op", 20)
	if s := g.awaitEqual(); s.Executed < 17 {
		t.Errorf("%+v", s)
	}
	g.awaitVoting(3)
	g.stop(0) // the group needs it now
	g.append(c, "without 0", 20)
	g.awaitEqual()
}

// A group none of whose replicas was given its first state does not serve an empty one instead.
func TestAGroupWithoutItsFirstStateDoesNotBegin(t *testing.T) {
	g := stoppedGroup(t, config.OS, 16)
	g.found(someState())
	g.genesis += " is not here"
	for i := range g.nodes {
		g.start(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got, err := g.client().Invoke(ctx, []byte("?"), false); err == nil {
		t.Errorf("an operation answered %q", got)
	}
	s, err := g.nodes[1].node.Status(t.Context())
	if err != nil || !s.InDoubt || len(s.Damage) == 0 || !strings.Contains(s.Damage[0], "bfsd import") {
		t.Errorf("its status says %+v (%v)", s, err)
	}
}

// awaitVoting waits until a replica knows that it has forgotten nothing that matters.
func (g *group) awaitVoting(i int) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	for {
		s, err := g.nodes[i].node.Status(ctx)
		if err != nil {
			g.t.Fatalf("replica %d is still in doubt: %v", i, err)
		}
		if !s.InDoubt {
			return
		}
		select { // what is awaited happens on the node's loop, which tells nobody
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// FuzzReadGenesis spoils the file: three bytes say where and how.
func FuzzReadGenesis(f *testing.F) {
	g := stoppedGroup(f, config.OS, 16)
	file := g.found(someState())
	at := wire.CheckpointRef{Seq: wire.Seq(g.cluster.Genesis.Sequence), Root: wire.Digest(g.cluster.Genesis.Root)}
	f.Add([]byte{})
	for i := 0; i < len(file); i += 20 {
		f.Add([]byte{byte(i >> 8), byte(i), 255})
	}
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := bytes.Clone(file)
		for ; len(edits) >= 3 && len(b) > 0; edits = edits[3:] {
			i := (int(edits[0])<<8 | int(edits[1])) % (2 * len(b))
			if i < len(b) {
				b[i] = edits[2]
			} else if i -= len(b); edits[2]%2 == 0 {
				b = b[:i]
			} else {
				b = slices.Insert(b, i, edits[2])
			}
		}
		s := newToyService()
		proof, err := readGenesis(bytes.NewReader(b), g.cluster, at, s)
		if err == nil && (s.Snapshot().Root() != at.Root || len(proof) <= g.cluster.F()) {
			t.Errorf("a file was accepted that gives root %v with %d signatures", s.Snapshot().Root(), len(proof))
		}
	})
}
