package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

func addresses(n int) []Addresses {
	a := make([]Addresses, n)
	for i := range a {
		a[i] = Addresses{
			Peer: fmt.Sprintf("127.0.0.1:%d", 7100+i), NFS: fmt.Sprintf("127.0.0.1:%d", 7200+i), Status: fmt.Sprintf("[::1]:%d", 7300+i),
		}
	}
	return a
}

func generate(t testing.TB, n int, gateways ...string) (*Cluster, []auth.Identity) {
	t.Helper()
	c, ids, err := Generate(Options{Replicas: addresses(n), Gateways: gateways})
	if err != nil {
		t.Fatal(err)
	}
	return c, ids
}

func TestSaveAndLoadRoundTrip(t *testing.T) {
	for _, n := range replicaCounts {
		c, _ := generate(t, n, "laptop", "build-7")
		c.Replicas[0].NFS, c.Replicas[0].Status = "", ""
		path := filepath.Join(t.TempDir(), "cluster.toml")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatalf("n = %d: saved and loaded differ:\n%s", n, diff)
		}
	}
}

func TestSavedFileExplainsItself(t *testing.T) {
	c, _ := generate(t, 4, "laptop")
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# A bfsd cluster of 4 replicas, of which 1 may be faulty.", "#   disk    synced", "[[replica]]", "[[client]]",
		"checkpoint_interval = 128", "# A checkpoint every so many batches", "name = 'laptop'", "peer = '127.0.0.1:7100'",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the file does not say %q:\n%s", want, data)
		}
	}
}

func TestFaultsAndQuorumFollowFromTheNumberOfReplicas(t *testing.T) {
	for _, tc := range []struct{ n, f, quorum int }{{1, 0, 1}, {4, 1, 3}, {7, 2, 5}, {10, 3, 7}, {13, 4, 9}} {
		c, _ := generate(t, tc.n)
		if c.N() != tc.n || c.F() != tc.f || c.Quorum() != tc.quorum {
			t.Errorf("n = %d: N, F, Quorum = %d, %d, %d, want f = %d, quorum = %d", tc.n, c.N(), c.F(), c.Quorum(), tc.f, tc.quorum)
		}
	}
}

func TestGeneratedKeysFormKeyringsThatAgree(t *testing.T) {
	c, ids := generate(t, 4, "laptop")
	if len(ids) != 5 {
		t.Fatalf("%d identities, want 4 replicas and 1 gateway", len(ids))
	}
	rings := make([]*auth.Keyring, len(ids))
	for i, id := range ids {
		ring, err := c.Keyring(id)
		if err != nil {
			t.Fatal(err)
		}
		rings[i] = ring
	}
	d := wire.Digest{7}
	for client, ring := range map[wire.ClientID]*auth.Keyring{100: rings[4], 2: rings[2]} {
		for r := range 4 {
			a, okA := ring.RequestMAC(client, wire.ReplicaID(r), d)
			b, okB := rings[r].RequestMAC(client, wire.ReplicaID(r), d)
			if !okA || !okB || a != b {
				t.Errorf("client %d and replica %d do not share a MAC key", client, r)
			}
		}
	}
	foreign, _ := generate(t, 4)
	if _, err := foreign.Keyring(ids[0]); err == nil || !strings.Contains(err.Error(), c.ID.String()) {
		t.Errorf("another cluster's key gave %v, want an error that names its cluster", err)
	}
}

func TestMissingTunablesHaveDefaults(t *testing.T) {
	c, _ := generate(t, 4)
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	start, end := bytes.Index(data, []byte("[tunables]")), bytes.Index(data, []byte("[[replica]]"))
	got, err := Parse(append(bytes.Clone(data[:start]), append([]byte("[tunables]\nbatch_requests = 5\n"), data[end:]...)...))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultTunables()
	want.BatchRequests = 5
	if diff := cmp.Diff(want, got.Tunables); diff != "" {
		t.Fatal(diff)
	}
	if got.Optimisations != AllOptimisations() {
		t.Fatalf("without a table of optimisations there are %+v, want all on", got.Optimisations)
	}
}

func TestSwitchesDecideWhatMembersAgreeOn(t *testing.T) {
	c, _ := generate(t, 4)
	requests, window := c.Batch()
	if requests != c.Tunables.BatchRequests || window != c.Tunables.BatchWindow || c.LargeRequestBytes() != c.Tunables.LargeRequestBytes {
		t.Errorf("all on: batches of %d, %d in flight, large above %d; want what the tunables say", requests, window, c.LargeRequestBytes())
	}
	c.Optimisations.Batching, c.Optimisations.LargeRequests = false, false
	requests, window = c.Batch()
	if requests != 1 || window != int(c.Tunables.CheckpointInterval) {
		t.Errorf("batching off: batches of %d, %d in flight; want single requests that do not wait for each other", requests, window)
	}
	if c.LargeRequestBytes() < wire.MaxOp {
		t.Errorf("large requests off: an operation above %d bytes travels apart; none should", c.LargeRequestBytes())
	}
}

func TestMistakesInTheFileAreNamed(t *testing.T) {
	c, _ := generate(t, 4, "laptop")
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for _, tc := range []struct{ name, old, replacement, want string }{
		{"syntax", "version = 1", "version = ", "line"},
		{"unknown field", "batch_requests =", "batch_request =", "no field tunables.batch_request"},
		{"wrong type", "batch_requests = 64", "batch_requests = 'many'", "tunables.batch_requests"},
		{"later version", "version = 1", "version = 9", "version 1"},
		{"odd cluster id", c.ID.String(), "12", "16 hex digits"},
		{"no seed", "seed = ", "# seed = ", "seed is missing"},
		{"durability", "durability = 'disk'", "durability = 'hope'", `"hope"`},
		{"key by hand", c.Replicas[2].Key.String(), strings.Replace(c.Replicas[2].Key.String(), ":", ":A", 1), "line"},
		{"key twice", c.Replicas[2].Key.String(), c.Replicas[1].Key.String(), "replica 1 and replica 2 have the same key"},
		{"key of a replica at a gateway", c.Clients[0].Key.String(), c.Replicas[1].Key.String(), "replica 1 and client 100"},
		{"no port", "'127.0.0.1:7102'", "'127.0.0.1'", "replica 2: peer"},
		{"port 0", "'127.0.0.1:7102'", "'127.0.0.1:0'", "replica 2: peer"},
		{"no host", "'127.0.0.1:7102'", "':7102'", "replica 2: peer"},
		{"listening address", "'127.0.0.1:7102'", "'0.0.0.0:7102'", "own address"},
		{"address twice", "'127.0.0.1:7102'", "'127.0.0.1:7201'", "give each its own port"},
		{"id out of order", "id = 2", "id = 3", "in order"},
		{"negative id", "id = 2", "id = -2", "line"},
		{"low client id", "id = 100", "id = 3", "below 100"},
		{"client name", "'laptop'", "'my laptop'", "client 100: name"},
		{"interval 0", "checkpoint_interval = 128", "checkpoint_interval = 0", "tunables.checkpoint_interval"},
		{"window past the log", "batch_window = 8", "batch_window = 257", "twice checkpoint_interval"},
		{"timeout", "request_timeout_ms = 150", "request_timeout_ms = 0", "tunables.request_timeout_ms"},
		{"switch that is none", "digest_replies = true", "digest_replies = 'no'", "optimisations.digest_replies"},
		{"unknown switch", "piggyback = true", "piggybacks = true", "no field optimisations.piggybacks"},
		{"no inodes", "max_inodes = 1048576", "max_inodes = 1", "limits.max_inodes"},
		{"too few replicas", good[strings.LastIndex(good, "[[replica]]"):strings.Index(good, "[[client]]")], "", "3 [[replica]]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := strings.Replace(good, tc.old, tc.replacement, 1)
			if bad == good {
				t.Fatalf("%q is not in the file", tc.old)
			}
			_, err := Parse([]byte(bad))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	_, err := Parse([]byte("version = 1\n\ncolour = 'red'\n"))
	if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "colour") {
		t.Fatalf("error %v, want one that names line 3 and the field", err)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.toml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file gave %v", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("#"), maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("an oversized file gave %v", err)
	}
}

func TestGenerateRefusesWhatValidateRefuses(t *testing.T) {
	for _, n := range []int{0, 2, 3, 5, 16} {
		if _, _, err := Generate(Options{Replicas: addresses(n)}); err == nil {
			t.Errorf("%d replicas were accepted", n)
		}
	}
	if _, _, err := Generate(Options{Replicas: addresses(4), Gateways: []string{"a", "a"}}); err == nil {
		t.Error("two gateways of one name were accepted")
	}
}

func TestKeyFileNames(t *testing.T) {
	for p, want := range map[wire.Principal]string{
		{Role: wire.RoleReplica, ID: 2}: "replica-2.key", {Role: wire.RoleClient, ID: 100}: "client-100.key",
	} {
		if got := KeyFileName(p); got != want {
			t.Errorf("KeyFileName(%v) = %s, want %s", p, got, want)
		}
	}
}

// TestValidTunablesSurviveTheFile draws values inside the ranges: every one is written and read back exactly.
func TestValidTunablesSurviveTheFile(t *testing.T) {
	base, _ := generate(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		c := *base
		c.Limits = Limits{MaxBytes: rapid.Uint64Range(1<<20, 1<<50).Draw(t, "bytes"), MaxInodes: rapid.Uint64Range(16, 1<<32).Draw(t, "inodes"), Duplicates: rapid.IntRange(0, 1<<22).Draw(t, "duplicates")}
		c.Tunables.BatchRequests = rapid.IntRange(1, wire.MaxBatch).Draw(t, "batch")
		c.Tunables.ViewChangeTimeoutMS = rapid.IntRange(10, 600_000).Draw(t, "timeout")
		c.Durability = rapid.SampledFrom([]Durability{Memory, OS, Disk}).Draw(t, "durability")
		for _, on := range []*bool{
			&c.Optimisations.MACs, &c.Optimisations.Batching, &c.Optimisations.DigestReplies, &c.Optimisations.Tentative,
			&c.Optimisations.ReadOnly, &c.Optimisations.LargeRequests, &c.Optimisations.Piggyback,
		} {
			*on = rapid.Bool().Draw(t, "on")
		}
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&c, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzParse: no input makes it panic, and what it accepts it can write and read back.
func FuzzParse(f *testing.F) {
	for _, n := range []int{1, 4} {
		c, _ := generate(f, n, "laptop")
		data, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("version = 1\n[[replica]]\nid = 4294967295\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatalf("accepted, but cannot be written: %v", err)
		}
		got, err := Parse(again)
		if err != nil {
			t.Fatalf("written, but cannot be read: %v\n%s", err, again)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatal(diff)
		}
	})
}
