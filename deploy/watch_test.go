package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var metricName = regexp.MustCompile(`\bbfsd_[a-z0-9_]+`)

// documentedMetrics are the names in METRICS.md, which a test in cmd/bfsd compares with what processes export.
func documentedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for line := range strings.Lines(readText(t, "METRICS.md")) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		name := metricName.FindString(line)
		known[name] = true
		if strings.Contains(line, "| histogram |") {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[name+part] = true
			}
		}
	}
	return known
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Alerts and the dashboard name no metric that is not exported, and every alert is tried by a unit test.
func TestRulesNameMetricsThatExist(t *testing.T) {
	known := documentedMetrics(t)
	rules, tests := readText(t, "prometheus/alerts.yml"), readText(t, "prometheus/alerts_test.yml")
	for _, m := range regexp.MustCompile(`(?m)^        expr: (.*)$`).FindAllStringSubmatch(rules, -1) {
		for _, name := range metricName.FindAllString(m[1], -1) {
			if !known[name] {
				t.Errorf("an alert looks at %s, which METRICS.md does not have: %s", name, m[1])
			}
		}
	}
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 {
		t.Fatal("no alerts were found")
	}
	for _, a := range alerts {
		if !regexp.MustCompile(`\b` + a[1] + `\b`).MatchString(tests) {
			t.Errorf("no unit test has the alert %s fire", a[1])
		}
	}
}

// The rules are valid, and fire when they should and only then: promtool says so.
func TestAlertRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus); the rules are not tried")
	}
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"}, {"check", "config", "--syntax-only", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// The dashboard is one that Grafana takes: panels with ids of their own that do not overlap, each asking for something that
// exists.
func TestDashboard(t *testing.T) {
	var board struct {
		UID    string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, "grafana/bfsd.json")), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || len(board.Panels) < 10 {
		t.Fatalf("the dashboard has the uid %q and %d panels", board.UID, len(board.Panels))
	}
	known, ids, taken := documentedMetrics(t), map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: another one has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q or outside at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				if !known[name] {
					t.Errorf("panel %q asks for %s, which METRICS.md does not have", p.Title, name)
				}
			}
		}
	}
}

// promtool takes the dashboard's expressions, too.
func TestDashboardExpressions(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus); the expressions are not parsed")
	}
	exprs := regexp.MustCompile(`"expr": (".*"),?`).FindAllStringSubmatch(readText(t, "grafana/bfsd.json"), -1)
	if len(exprs) == 0 {
		t.Fatal("no expressions were found")
	}
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for _, e := range exprs {
		var expr string
		if err := json.Unmarshal([]byte(e[1]), &expr); err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(strings.ReplaceAll(expr, "$__rate_interval", "1m"))
		if err != nil {
			t.Fatal(err)
		}
		rules += "  - {record: x, expr: " + string(quoted) + "}\n"
	}
	path := t.TempDir() + "/rules.yml"
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	// Rules of one name and no labels are duplicates to the linter, which is beside the point here.
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "--lint=none", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
