package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maxGolden bounds what a golden archive unpacks to.
const maxGolden = 64 << 20

// digestOf replaces what files hold by its digest, and paths by what JSON can hold.
func digestOf(all map[string]found) map[string]found {
	out := map[string]found{}
	for path, f := range all {
		if f.Data != "" {
			sum := sha256.Sum256([]byte(f.Data))
			f.Data = hex.EncodeToString(sum[:])
		}
		out[strconv.QuoteToASCII(path)] = f
	}
	return out
}

// A backup that was ever made can be restored for ever: testdata/backup-N.tar.gz was exported by a bfsd of its time, and
// backup-N.json says what a client saw. When the format changes, add the next one, and keep these: BFSD_GOLDEN_BACKUP=N makes
// it.
func TestEveryBackupEverMadeCanBeRestored(t *testing.T) {
	if n := os.Getenv("BFSD_GOLDEN_BACKUP"); n != "" {
		makeGolden(t, filepath.Join("testdata", "backup-"+n))
	}
	archives, err := filepath.Glob("testdata/backup-*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archive in testdata: %v", err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(archive, ".tar.gz")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]found
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			s := local(t)
			_, addr := startUp(s, importCluster(t, unpacked(t, archive)))
			root, c := mountLibrary(t, addr)
			if diff := cmp.Diff(want, digestOf(tree(t, c, root, "", nil))); diff != "" || len(want) < 10 {
				t.Errorf("of %d names (-backup +restored):\n%s", len(want), diff)
			}
			if _, err := c.WriteFile(t.Context(), root, "new", []byte("and it goes on"), 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}

func unpacked(t *testing.T, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxGolden))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// makeGolden exports a small tree of everything.
func makeGolden(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name + ".tar.gz"); err == nil {
		t.Fatalf("%s.tar.gz is there, and stays as it is", name)
	}
	s := local(t)
	dir := t.TempDir()
	_, addr := startUp(s, dir)
	root, c := mountLibrary(t, addr)
	plant(t, c, root)
	archive := filepath.Join(t.TempDir(), "backup.tar")
	exportTo(t, dir, archive)
	text, err := json.MarshalIndent(digestOf(tree(t, c, root, "", nil)), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{name + ".tar.gz": packed.Bytes(), name + ".json": append(text, '\n')} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
