// Package deploy_test tries the files of this directory as far as a machine without their engines can.
package deploy_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// build makes the static binary that the image holds, once.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bfsd")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "bfsd/cmd/bfsd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building bfsd without cgo: %v\n%s", err, out)
	}
	return binary
}

var (
	execStart = regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/bfsd (.*)$`)
	command   = regexp.MustCompile(`(?m)^ +command: \[(.*)\]$`)
)

// The command lines in the units and the compose file are ones that bfsd takes. Given a configuration that is not there, it
// fails over that (1), not over its usage (2).
func TestCommandLinesAreUnderstood(t *testing.T) {
	var lines [][]string
	for _, name := range []string{"bfsd-replica@.service", "bfsd-gateway.service"} {
		for _, m := range execStart.FindAllStringSubmatch(read(t, name), -1) {
			lines = append(lines, strings.Fields(strings.ReplaceAll(m[1], "%i", "2")))
		}
	}
	for _, m := range command.FindAllStringSubmatch(read(t, "container/compose.yaml"), -1) {
		lines = append(lines, strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", "))
	}
	if len(lines) != 7 {
		t.Fatalf("found %d command lines, want 2 in units and 5 in the compose file", len(lines))
	}
	understood(t, lines)
}

// systemd accepts the units.
func TestUnitsVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "bfsd") // what ExecStart names need not be installed here
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var units []string
	for _, name := range []string{"bfsd-replica@.service", "bfsd-gateway.service", "mnt-bfsd.mount"} {
		unit := filepath.Join(dir, name)
		text := strings.ReplaceAll(read(t, name), "/usr/local/bin/bfsd", binary)
		if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	units[0] = strings.Replace(units[0], "@", "@2", 1) // an instance
	if err := os.Symlink("bfsd-replica@.service", units[0]); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	var ours []string
	for line := range strings.Lines(string(out)) { // it also complains about the machine's own units
		if strings.Contains(line, dir) || strings.Contains(line, "bfsd") {
			ours = append(ours, line)
		}
	}
	if len(ours) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, strings.Join(ours, ""))
	}
}

// The image holds the binary and a directory for data that its user owns; the same binary gives the same image; the manifest
// names what is there.
func TestImage(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("jq is not installed")
	}
	binary := build(t)
	var images [2][]byte
	for i := range images {
		file := filepath.Join(t.TempDir(), "image.tar")
		if out, err := exec.CommandContext(t.Context(), "container/image", binary, file).CombinedOutput(); err != nil {
			t.Fatalf("making the image: %v\n%s", err, out)
		}
		images[i] = []byte(read(t, file))
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of one binary differ")
	}
	files := untar(t, images[0])
	var index, manifest struct {
		Manifests []struct{ Digest string }
		Layers    []struct {
			Digest string
			Size   int
		}
	}
	decode(t, files["index.json"].content, &index)
	blob := func(digest string) []byte {
		return files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")].content
	}
	decode(t, blob(index.Manifests[0].Digest), &manifest)
	layer := blob(manifest.Layers[0].Digest)
	if len(layer) != manifest.Layers[0].Size {
		t.Fatalf("the layer has %d bytes, the manifest says %d", len(layer), manifest.Layers[0].Size)
	}
	root := untar(t, layer)
	if got := root["bfsd"]; !bytes.Equal(got.content, []byte(read(t, binary))) || got.header.Mode != 0o755 {
		t.Error("the layer does not hold the binary, executable")
	}
	if got := root["data/"].header; got == nil || got.Uid != 65532 || got.Mode != 0o700 {
		t.Errorf("/data in the layer is %+v, want a directory of user 65532, mode 0700", got)
	}
}

type entry struct {
	header  *tar.Header
	content []byte
}

func untar(t *testing.T, b []byte) map[string]entry {
	t.Helper()
	files := make(map[string]entry)
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = entry{h, content}
	}
}

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
