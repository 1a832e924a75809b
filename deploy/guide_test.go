package deploy_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guideBlock finds the commands in README.md that the guide is made of: those after a mark <!-- guide --> or
// <!-- guide: PART -->, which a reader does not see.
var guideBlock = regexp.MustCompile("(?m)^<!-- guide(?:: (\\w+))? -->\n```sh\n((?s:.*?))^```$")

// shBlock finds all commands.
var shBlock = regexp.MustCompile("(?m)^```sh$")

// guide is the commands of README.md, in order, by part.
func guide(t *testing.T) map[string][]string {
	t.Helper()
	parts := map[string][]string{}
	for _, m := range guideBlock.FindAllStringSubmatch(read(t, "README.md"), -1) {
		parts[m[1]] = append(parts[m[1]], m[2])
	}
	return parts
}

// No command in the chapters of the guide is left out by the test.
func TestGuideHasNoOtherCommands(t *testing.T) {
	text := read(t, "README.md")
	begin, end := strings.Index(text, "\n## Four machines"), strings.Index(text, "\n## Keys")
	if begin < 0 || end < begin {
		t.Fatal("README.md has lost the chapters of the guide")
	}
	all, marked := len(shBlock.FindAllString(text[begin:end], -1)), len(guideBlock.FindAllString(text[begin:end], -1))
	if all == 0 || all != marked {
		t.Errorf("of %d blocks of commands in the guide %d are marked to be tested", all, marked)
	}
}

// What the guide says is done word by word on hosts of a lab: four machines become a cluster, one more mounts it; all get a new
// release; one of the four is lost, and a spare machine takes its place; then another is lost, so that the new one is needed.
func TestGuide(t *testing.T) {
	l := newLab(t, "a.example", "b.example", "c.example", "d.example", "e.example")
	parts := guide(t)
	if len(parts[""]) < 6 || len(parts["upgrade"]) < 1 || len(parts["replace"]) < 4 {
		t.Fatalf("the guide has %d blocks of commands, %d to upgrade, and %d to replace a machine", len(parts[""]), len(parts["upgrade"]), len(parts["replace"]))
	}
	tree := sourceTree(t)
	for _, block := range parts[""] {
		l.follow(tree, block)
	}
	l.agree(tree, 0, 1, 2, 3)
	l.sh(desk, "cp -a /usr/include/linux /mnt/bfsd/ && sync")
	for _, block := range parts["upgrade"] {
		l.follow(tree, block)
	}
	l.agree(tree, 0, 1, 2, 3)

	l.hosts["c.example"].die()
	l.sh(desk, "echo still > /mnt/bfsd/without-c")
	for _, block := range parts["replace"] {
		l.follow(tree, block)
	}
	l.agree(tree, 0, 1, 2, 3)
	l.sh(desk, `test "$(cat /mnt/bfsd/without-c)" = still && diff -r --no-dereference /usr/include/linux /mnt/bfsd/linux`)

	l.hosts["a.example"].die() // now the new one is in every quorum
	l.sh(desk, "echo again > /mnt/bfsd/without-a && cat /mnt/bfsd/without-a")
	l.agree(tree, 1, 2, 3)
}

// follow types commands of the guide on the administrator's machine, in the source tree. The first that fails is the end.
func (l *lab) follow(tree, block string) {
	l.t.Helper()
	l.t.Logf("$ %s", strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n  "))
	cmd := l.typed(l.t.Context(), tree, block)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("the guide's command fails: %v\n%s\n%s\n%s", err, block, out, l.logs())
	} else {
		l.t.Logf("%s", out)
	}
}

// typed is a script in the source tree on the administrator's machine, where ssh and scp are remote.
func (l *lab) typed(ctx context.Context, tree, script string) *exec.Cmd {
	l.t.Helper()
	tools := filepath.Join(l.dir, "tools")
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, name := range []string{"ssh", "scp"} {
		if err := os.MkdirAll(tools, 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(tools, name)); err != nil && !os.IsExist(err) {
			l.t.Fatal(err)
		}
	}
	cmd := l.hosts[admin].command(ctx, "sh", "-euc", "cd "+tree+"\n"+script)
	cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), remoteVariable+"="+l.calls)
	return cmd
}

// sh runs a command on a host, which must succeed.
func (l *lab) sh(host, command string) string {
	l.t.Helper()
	out, exit, err := l.run(l.t.Context(), host, command, nil)
	if err != nil || exit != 0 {
		l.t.Fatalf("on %s: %s: %v, exit code %d\n%s\n%s", host, command, err, exit, out, l.logs())
	}
	return out
}

// agree waits until the replicas are up, and compares their states.
func (l *lab) agree(tree string, ids ...int) {
	l.t.Helper()
	type replica struct {
		Up       bool
		Executed uint64
		Root     string
	}
	var report struct{ Replicas []replica }
	same := func() bool {
		out, err := l.typed(l.t.Context(), tree, "bin/release/bfsd status --json --config cluster/cluster.toml").Output()
		if err != nil {
			return false
		}
		decode(l.t, out, &report)
		first := report.Replicas[ids[0]]
		for _, i := range ids {
			if r := report.Replicas[i]; !r.Up || r.Root == "" || r != first {
				return false
			}
		}
		return true
	}
	for range 100 { // each takes a process
		if same() {
			return
		}
	}
	b, err := json.MarshalIndent(report, "", " ")
	l.t.Fatalf("the states of replicas %v do not agree: %s (%v)\n%s", ids, b, err, l.logs())
}

// logs is what the services have said.
func (l *lab) logs() string {
	var all strings.Builder
	for name, h := range l.hosts {
		found, err := filepath.Glob(filepath.Join(h.files, "var/lib/*.log"))
		if err != nil {
			l.t.Fatal(err)
		}
		for _, file := range found {
			all.WriteString("--- " + name + " " + filepath.Base(file) + "\n" + read(l.t, file))
		}
	}
	out, _, err := l.run(context.WithoutCancel(l.t.Context()), desk, "cat /var/lib/*.log", nil)
	if err != nil {
		out = err.Error()
	}
	return all.String() + "--- " + desk + "\n" + out
}

// sourceTree is a copy of the source tree, work in progress included, in which to build.
func sourceTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bfsd")
	script := `git clone -q --shared .. "$1" && cd .. && git ls-files -z --cached --others --exclude-standard --deduplicate |
  while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; else rm -f "$1/$f"; fi; done | xargs -0 cp -a --parents -t "$1"`
	if out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script, "bash", dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the source tree: %v\n%s", err, out)
	}
	return dir
}
