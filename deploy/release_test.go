package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// make release gives the same bytes from the same sources, wherever they lie. With BFSD_LONG_TESTS each build begins with an empty
// cache, and so compiles everything anew.
func TestReleaseIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("builds bfsd twice; run without -short")
	}
	var binaries [2][]byte
	for i := range binaries {
		tree := sourceTree(t)
		cmd := exec.CommandContext(t.Context(), "make", "release")
		cmd.Dir, cmd.Env = tree, os.Environ()
		if os.Getenv("BFSD_LONG_TESTS") != "" {
			cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir())
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make release: %v\n%s", err, out)
		}
		binaries[i] = []byte(read(t, filepath.Join(tree, "bin/release/bfsd")))
		if bytes.Contains(binaries[i], []byte(tree)) {
			t.Errorf("the release names the directory that it was built in, %s", tree)
		}
		out, err := exec.CommandContext(t.Context(), filepath.Join(tree, "bin/release/bfsd"), "--version").Output()
		if err != nil || strings.Contains(string(out), "unknown") || strings.Contains(string(out), "(devel)") {
			t.Errorf("the release does not know its version: %s (%v)", out, err)
		}
	}
	if !bytes.Equal(binaries[0], binaries[1]) {
		t.Errorf("two releases from the same sources differ: %d and %d bytes", len(binaries[0]), len(binaries[1]))
	}
}
