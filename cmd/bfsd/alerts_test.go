package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
	"bfsd/replica/config"
)

// observed is a cluster that is scraped as Prometheus would, and its gateway, which is used.
type observed struct {
	t       *testing.T
	dir     string
	cluster *config.Cluster
	client  *nfsclient.Client
	root    nfs3.FH
	files   int

	targets []target
	scrapes []map[string]string // each by series
}

// target is what is scraped.
type target struct{ job, instance, addr string }

// scrapeInterval is the time that is said to lie between two scrapes; alerts wait for so long that no test could.
const scrapeInterval = 30

func observe(t *testing.T) *observed {
	t.Helper()
	s := &site{t: t}
	o := &observed{t: t, dir: t.TempDir()}
	front, metrics := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", o.dir, "--nfs", front, "--status", metrics, "--durability", "memory")
	var err error
	if o.cluster, err = config.Load(filepath.Join(o.dir, "cluster.toml")); err != nil {
		t.Fatal(err)
	}
	o.targets = append(o.targets, target{"bfsd-gateway", "gateway", metrics})
	for _, r := range o.cluster.Replicas {
		o.targets = append(o.targets, target{"bfsd-replica", fmt.Sprint("replica-", r.ID), r.Status})
	}
	if o.client, err = nfsclient.Dial(t.Context(), front); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.client.Close() })
	if o.root, err = o.client.Mount(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	return o
}

// work has the group order so many operations, one after the other.
func (o *observed) work(operations int) {
	o.t.Helper()
	for range operations {
		o.files++
		if _, err := o.client.Mkdir(o.t.Context(), o.root, fmt.Sprint("directory ", o.files), nfs3.Sattr{}); err != nil {
			o.t.Fatal(err)
		}
	}
}

// scrape reads the metrics of all processes.
func (o *observed) scrape() {
	o.t.Helper()
	series := map[string]string{}
	for _, at := range o.targets {
		who := fmt.Sprintf(`job=%q,instance=%q`, at.job, at.instance)
		page, up := scrapePage(o.t, at.addr)
		series["up{"+who+"}"] = map[bool]string{true: "1", false: "0"}[up]
		for line := range strings.Lines(page) {
			name, rest, value := splitSample(line)
			if name == "" {
				continue
			}
			series[name+"{"+strings.TrimPrefix(rest+","+who, ",")+"}"] = value
		}
	}
	o.scrapes = append(o.scrapes, series)
}

var sampleLine = regexp.MustCompile(`^(bfsd_[a-z0-9_]+)(?:\{(.*)\})? (\S+)\n$`)

func splitSample(line string) (name, labels, value string) {
	m := sampleLine.FindStringSubmatch(line)
	if m == nil {
		return "", "", ""
	}
	return m[1], m[2], m[3]
}

// scrapePage gets the metrics of a process, if it is there.
func scrapePage(t *testing.T, addr string) (page string, up bool) {
	t.Helper()
	r, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		return "", false
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.StatusCode == http.StatusOK
}

// expectation is which alerts fire after a scrape, by their name and the labels replica or instance.
type expectation struct {
	scrape int
	firing []string
}

// judge has promtool evaluate the shipped rules on what was scraped.
func (o *observed) judge(promtool string, wanted ...expectation) {
	o.t.Helper()
	names := map[string]bool{}
	for _, s := range o.scrapes {
		for k := range s {
			names[k] = true
		}
	}
	sorted := make([]string, 0, len(names))
	for k := range names {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	rules, err := filepath.Abs("../../deploy/prometheus/alerts.yml")
	if err != nil {
		o.t.Fatal(err)
	}
	var y strings.Builder
	fmt.Fprintf(&y, "rule_files: [%q]\nevaluation_interval: %ds\ntests:\n- interval: %ds\n  input_series:\n", rules, scrapeInterval, scrapeInterval)
	for _, name := range sorted {
		values := make([]string, len(o.scrapes))
		for i, s := range o.scrapes {
			values[i] = "_"
			if v, ok := s[name]; ok {
				values[i] = v
			}
		}
		fmt.Fprintf(&y, "  - {series: '%s', values: '%s'}\n", strings.ReplaceAll(name, "'", "''"), strings.Join(values, " "))
	}
	y.WriteString("  promql_expr_test:\n")
	for _, w := range wanted {
		fmt.Fprintf(&y, "  - expr: count by (alertname, replica, instance) (ALERTS{alertstate=\"firing\"})\n    eval_time: %ds\n    exp_samples:\n", w.scrape*scrapeInterval)
		for _, f := range w.firing {
			fmt.Fprintf(&y, "    - {labels: '%s', value: 1}\n", f)
		}
		if len(w.firing) == 0 {
			y.WriteString("    - []\n")
		}
	}
	text := strings.ReplaceAll(y.String(), "exp_samples:\n    - []\n", "exp_samples: []\n")
	path := filepath.Join(o.t.TempDir(), "test.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	if out, err := exec.CommandContext(o.t.Context(), promtool, "test", "rules", path).CombinedOutput(); err != nil {
		o.t.Errorf("the alerts that fire on what was scraped are not those expected: %v\n%s", err, out)
	}
}

func lookForPromtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus); the alerts are not evaluated")
	}
	return path
}

// A replica that reaches none of the others while they work raises the alert that it lags, in two minutes, and that its own
// front end gets no results; no alert is raised about any other. Before, none is.
func TestALaggingReplicaRaisesAnAlert(t *testing.T) {
	promtool := lookForPromtool(t)
	o := observe(t)
	for range 4 {
		o.work(10)
		o.scrape()
	}
	o.cutOff(3)
	o.scrape()
	o.work(300)
	for range 12 {
		o.scrape()
		o.work(20)
	}
	last := len(o.scrapes) - 1
	o.judge(
		promtool, expectation{3, nil}, expectation{4, nil},
		expectation{last - 4, []string{`{alertname="BfsdReplicaLags",instance="replica-3"}`, `{alertname="BfsdStuck",instance="replica-3"}`}},
	)
}

// cutOff puts in the place of a replica one that has wrong addresses for all the others, as behind a firewall.
func (o *observed) cutOff(id uint32) {
	o.t.Helper()
	signalReplica(o.t, o.dir, id, syscall.SIGKILL)
	status := o.cluster.Replicas[id].Status
	awaitCondition(o.t, "the killed replica to be gone", func() bool { _, up := scrapePage(o.t, status); return !up }, func() string { return "up" })
	s := &site{t: o.t}
	for i := range o.cluster.Replicas {
		o.cluster.Replicas[i].Peer = net.JoinHostPort(s.host(), strconv.Itoa(freePort(o.t)))
	}
	path := filepath.Join(o.t.TempDir(), "cluster.toml")
	if err := o.cluster.Save(path); err != nil {
		o.t.Fatal(err)
	}
	s.launch(s.command(context.WithoutCancel(o.t.Context()), "replica", "--config", path, "--id", fmt.Sprint(id), "--dir", filepath.Join(o.dir, fmt.Sprint("replica-", id))))
	awaitCondition(o.t, "the replica that is cut off to be up", func() bool { _, up := scrapePage(o.t, status); return up }, func() string { return "down" })
}
