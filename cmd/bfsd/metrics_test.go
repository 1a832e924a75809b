package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"bfsd/replica/config"
)

// metric is one as it is documented, or exported.
type metric struct {
	Type   string
	Labels []string
}

// deploy/METRICS.md says what replicas and gateways export, no more and no less, and the names are as Prometheus wants them.
func TestMetricsAreAsDocumented(t *testing.T) {
	s := &site{t: t}
	dir := t.TempDir()
	front, metrics := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", dir, "--nfs", front, "--status", metrics, "--durability", "os")
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	everywhere, fronts := documented(t, "Every process"), documented(t, "Front ends")
	for name, at := range map[string]struct {
		nfs, metrics string
		documented   []map[string]metric
	}{
		"a replica": {cluster.Replicas[1].NFS, cluster.Replicas[1].Status, []map[string]metric{everywhere, fronts, documented(t, "Replicas")}},
		"a gateway": {front, metrics, []map[string]metric{everywhere, fronts}},
	} {
		useNFS(t, at.nfs)
		page := get(t, "http://"+at.metrics+"/metrics")
		want := map[string]metric{}
		for _, d := range at.documented {
			for k, v := range d {
				want[k] = v
			}
		}
		if diff := cmp.Diff(want, exported(t, page)); diff != "" {
			t.Errorf("%s does not export what deploy/METRICS.md says (-document +process):\n%s", name, diff)
		}
		problems, err := promlint.New(strings.NewReader(page)).Lint()
		if err != nil {
			t.Fatalf("%s: what it exports does not parse: %v", name, err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "bfsd_") {
				t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
			}
		}
	}
}

// useNFS makes calls, so that what is counted by procedure exists.
func useNFS(t *testing.T, addr string) {
	t.Helper()
	root, c := mountLibrary(t, addr)
	if _, err := c.Lookup(t.Context(), root, "none"); err == nil {
		t.Fatal("there is something in an empty file system")
	}
}

var documentedMetric = regexp.MustCompile("^\\| `(bfsd_[a-z0-9_]+)` \\| (gauge|counter|histogram) \\| ([a-z, ]*)\\| \\S.*\\|$")

// documented reads the tables of a section of deploy/METRICS.md.
func documented(t *testing.T, section string) map[string]metric {
	t.Helper()
	text, err := os.ReadFile("../../deploy/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n## "+section)
	if !found {
		t.Fatalf("deploy/METRICS.md has no section %q", section)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	all := map[string]metric{}
	for line := range strings.Lines(part) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		m := documentedMetric.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("deploy/METRICS.md: this row is not as the others: %s", line)
			continue
		}
		all[m[1]] = metric{m[2], labels(strings.Split(m[3], ","))}
	}
	return all
}

func labels(names []string) []string {
	var all []string
	for _, n := range names {
		if n = strings.TrimSpace(n); n != "" && n != "le" {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

var sampleForm = regexp.MustCompile(`^(bfsd_[a-z0-9_]+)(?:\{(.*)\})? `)

// exported reads the bfsd_ metrics of a page.
func exported(t *testing.T, page string) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(line, "# TYPE bfsd_"); ok {
			var name, kind string
			if _, err := fmt.Sscan("bfsd_"+text, &name, &kind); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all[name] = metric{Type: kind}
			continue
		}
		m := sampleForm.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[1]
		if _, known := all[name]; !known { // a histogram's parts
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, suffix)
			}
		}
		var names []string
		for _, pair := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(m[2], -1) {
			names = append(names, pair[1])
		}
		if found := labels(names); all[name].Labels == nil && found != nil {
			all[name] = metric{all[name].Type, found}
		}
	}
	return all
}
