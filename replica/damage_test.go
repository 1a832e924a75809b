package replica

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bfsd/replica/config"
)

// harm is something that a disk, or a person, does to a file of a stopped replica.
type harm struct {
	name string
	do   func(rng *rand.Rand, path string, content []byte) error
}

func harms() []harm {
	write := func(path string, content []byte) error { return os.WriteFile(path, content, 0o600) }
	return []harm{
		{"a bit changed", func(rng *rand.Rand, path string, content []byte) error {
			if len(content) == 0 {
				return os.Remove(path)
			}
			content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
			return write(path, content)
		}},
		{"a bit near the end changed", func(rng *rand.Rand, path string, content []byte) error {
			if len(content) == 0 {
				return os.Remove(path)
			}
			content[len(content)-1-rng.IntN(min(len(content), 200))] ^= 1 << rng.IntN(8)
			return write(path, content)
		}},
		{"its end cut off", func(rng *rand.Rand, path string, content []byte) error {
			return write(path, content[:rng.IntN(len(content)+1)])
		}},
		{"its end zeroed", func(rng *rand.Rand, path string, content []byte) error {
			clear(content[rng.IntN(len(content)+1):])
			return write(path, content)
		}},
		{"rubbish in place of a block", func(rng *rand.Rand, path string, content []byte) error {
			at := rng.IntN(len(content) + 1)
			for i := at; i < min(at+512, len(content)); i++ {
				content[i] = byte(rng.Uint32())
			}
			return write(path, content)
		}},
		{"gone", func(_ *rand.Rand, path string, _ []byte) error { return os.Remove(path) }},
	}
}

// kinds groups the files of a store, so that each kind gets its share of harm.
func kinds(t testing.TB, dir string) map[string][]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string][]string{}
	for _, e := range entries {
		kind, _, _ := strings.Cut(e.Name(), "-")
		if ext := filepath.Ext(e.Name()); ext == ".sst" || ext == ".log" {
			kind = ext
		}
		if strings.HasPrefix(e.Name(), "marker.") {
			kind = strings.Join(strings.Split(e.Name(), ".")[:2], ".")
		}
		if e.Name() != "LOCK" {
			byKind[kind] = append(byKind[kind], e.Name())
		}
	}
	return byKind
}

// Whatever is done to whichever file of one stopped replica, nobody reads anything wrong, and the replica comes back with
// the state that the others have, and votes again.
func TestAReplicaWhoseStoreIsDamagedComesBackOrSaysWhyNot(t *testing.T) {
	cases := 8
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		cases = 1000
	}
	rng := rand.New(rand.NewPCG(3, 4))
	g := newGroup(t, config.OS, 4)
	c := g.client()
	g.append(c, "before", 50)
	count := 50
	outcomes := map[string]int{}
	all := []string{".log", ".sst", "MANIFEST", "OPTIONS", "marker.format", "marker.manifest", "high", "everything"}
	for i := range cases {
		kind, h := all[i%len(all)], harms()[rng.IntN(len(harms()))]
		victim := rng.IntN(4)
		if rng.IntN(2) == 0 { // else it has no table
			g.stop(victim)
			g.start(victim)
		}
		g.append(c, fmt.Sprintf("case %d", i), 5)
		g.awaitEqual()
		g.stop(victim)
		what := g.harm(rng, victim, kind, h)
		outcome := g.recoverFromDamage(victim, what)
		outcomes[fmt.Sprintf("%s: %s", kind, outcome)]++
		// A guest that comes too often is not entertained: the group must be at work.
		g.append(c, fmt.Sprintf("after %d", i), 40)
		g.awaitEqual()
		count += 45
		if got := invoke(t, c, "?", true); got != fmt.Sprint(count) {
			t.Fatalf("%s: the state has %s operations, want %d", what, got, count)
		}
	}
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%4d × %s", outcomes[o], o)
	}
}

// harm does harm to a file of a kind, and says what it did.
func (g *group) harm(rng *rand.Rand, victim int, kind string, h harm) string {
	g.t.Helper()
	dir := g.storeDir(victim)
	if kind == "everything" {
		if err := os.RemoveAll(dir); err != nil {
			g.t.Fatal(err)
		}
		return fmt.Sprintf("replica %d without its store", victim)
	}
	names := kinds(g.t, dir)[kind]
	if len(names) == 0 {
		return fmt.Sprintf("replica %d with no %s", victim, kind)
	}
	name := names[rng.IntN(len(names))]
	path := filepath.Join(dir, name)
	content, err := os.ReadFile(path)
	if err == nil {
		err = h.do(rng, path, content)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return fmt.Sprintf("replica %d with %s %s", victim, name, h.name)
}

// recoverFromDamage starts the victim again and says what became of it.
func (g *group) recoverFromDamage(victim int, what string) string {
	g.t.Helper()
	node, err := g.open(victim, g.storeDir(victim))
	if err != nil {
		// It may refuse, if it says why and what to do; then somebody does that.
		if !strings.Contains(err.Error(), g.storeDir(victim)) || !strings.Contains(err.Error(), "move that directory away") {
			g.t.Fatalf("%s: it does not start, and does not say what to do: %v", what, err)
		}
		if err := os.RemoveAll(g.storeDir(victim)); err != nil {
			g.t.Fatal(err)
		}
		g.start(victim)
		return "refused"
	}
	damage := node.damage
	doubt := node.info.Load().Doubt
	g.run(victim, node)
	aside, err := filepath.Glob(g.storeDir(victim) + ".damaged-*")
	for _, d := range aside {
		err = errors.Join(err, os.RemoveAll(d))
	}
	if err != nil {
		g.t.Fatal(err)
	}
	switch {
	case len(aside) > 0 && len(damage) > 0 && doubt:
		return "fetched everything"
	case len(aside) == 0 && len(damage) > 0 && doubt:
		return "forgot, and rejoined"
	case len(aside) == 0 && len(damage) == 0 && doubt && strings.Contains(what, "without its store"):
		return "began anew, and rejoined"
	case len(aside) == 0 && len(damage) == 0 && !doubt:
		return "nothing was lost"
	}
	g.t.Fatalf("%s: damage %v, in doubt %t, set aside %v", what, damage, doubt, aside)
	return ""
}
