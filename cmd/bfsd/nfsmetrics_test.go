package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bfsd/nfs/rpc"
	"bfsd/replica/config"
)

// A gateway and a replica tell what their NFS clients ask for, and what hostile ones do.
func TestNFSMetrics(t *testing.T) {
	s := &site{t: t}
	dir := t.TempDir()
	front, metrics := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", dir, "--nfs", front, "--status", metrics, "--durability", "memory")
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]struct{ nfs, metrics string }{
		"gateway": {front, metrics}, "replica": {cluster.Replicas[1].NFS, cluster.Replicas[1].Status},
	} {
		useNFS(t, at.nfs)
		hostile, err := net.Dial("tcp", at.nfs)
		if err != nil {
			t.Fatal(err)
		}
		defer hostile.Close()
		if _, err := fmt.Fprint(hostile, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		var page string
		awaitCondition(t, "the hostile client to be counted", func() bool {
			page = get(t, "http://"+at.metrics+"/metrics")
			return strings.Contains(page, `bfsd_nfs_events_total{reason="record_too_long"} 1`)
		}, func() string { return page })
		for _, want := range []string{
			`bfsd_nfs_calls_total{procedure="LOOKUP",status="NFS3ERR_NOENT"} 1`, `bfsd_nfs_calls_total{procedure="MOUNT/MNT",status="MNT3_OK"}`,
			`bfsd_nfs_call_seconds_count{procedure="LOOKUP"} 1`, "bfsd_nfs_connections ", "bfsd_nfs_reserved_bulk_bytes 0", "go_goroutines ",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: its metrics lack %s", name, want)
			}
		}
		for _, e := range rpc.Events() {
			if !strings.Contains(page, fmt.Sprintf("bfsd_nfs_events_total{reason=%q}", e.String())) {
				t.Errorf("%s: its metrics lack %v", name, e)
			}
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
