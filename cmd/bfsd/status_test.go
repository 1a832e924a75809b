package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bfsd/replica"
	"bfsd/replica/config"
)

// A person, a script and a monitor see what a replica takes of its disk and how quick that is.
func TestStatusTellsOfTheDisk(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	_, addr := startUp(s, dir, "--durability", "disk")
	root, c := mountLibrary(t, addr)
	for i := range 30 {
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint(i), make([]byte, 64<<10), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range s.awaitEqualRoots(dir).Replicas {
		d := r.Disk
		if d == nil || d.Bytes < 1<<20 || d.LogBytes == 0 || d.FreeBytes == 0 || d.GivenBytes < 30*64<<10 || d.WrittenBytes < d.GivenBytes ||
			d.SyncMs <= 0 || d.SyncLongestMs < d.SyncMs {
			t.Errorf("replica %d says of its disk: %+v", r.ID, d)
		}
	}
	code, out, errs := cliRun(t, "status", "--config", dir+"/cluster.toml")
	if code != exitOK || strings.Count(out, "MiB, sync ") != 4 {
		t.Errorf("status exits with %d and says: %s%s", code, out, errs)
	}
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	address := cluster.Replicas[0].Status
	page := get(t, "http://"+address+"/api/cluster")
	if !strings.Contains(page, "of which the log takes") || !strings.Contains(page, "MiB are free; a sync takes") {
		t.Errorf("the status page does not tell of the disk: %s", page)
	}
	metrics := get(t, "http://"+address+"/metrics")
	for _, name := range []string{"bfsd_store_bytes", "bfsd_store_log_bytes", "bfsd_store_free_bytes", "bfsd_store_given_bytes_total", "bfsd_store_written_bytes_total"} {
		if !strings.Contains(metrics, "\n"+name+" ") || strings.Contains(metrics, "\n"+name+" 0\n") {
			t.Errorf("there is no metric %s, or it is 0", name)
		}
	}
}

// Who has just started answers, but does not count as one of those who serve.
func TestStatusShowsWhoIsStarting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	if code, _, errs := cliRun(t, "init", "--dir", dir, "--hosts", hostsHere()); code != exitOK {
		t.Fatal(errs)
	}
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	answer := replica.Status{ID: 2, Root: "\x1b[2J", Damage: []string{"\x1b]0;owned\a"}, PID: 4711, Rejoin: replica.Rejoin{How: replica.RejoinLoading, LoadedBytes: 100 << 20, StateBytes: 1000 << 20, Rate: 200 << 20, LeftMs: 4500}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for i := range cluster.Replicas {
		cluster.Replicas[i].Status = server.Listener.Addr().String()
	}
	report := askAll(t.Context(), cluster, 10*time.Second)
	var out strings.Builder
	if err := report.print(&out, cluster); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\a") {
		t.Errorf("a terminal would obey a replica: %q", &out)
	}
	if report.up() != 0 || !strings.Contains(out.String(), "2        starts  4711") ||
		!strings.Contains(out.String(), "replica 2 starts: it loads its checkpoint, 100.0 MiB of 1000.0 MiB, at 200.0 MiB/s, about 4.5s left") {
		t.Errorf("%d are up:\n%s", report.up(), &out)
	}
}
