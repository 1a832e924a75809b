package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bfsd/bench/internal/measure"
)

const andrewText = `{"date":"2026-01-02T03:04:05Z","command":["go","run","./bench/andrew"],"workload":"andrew","client":"kernel","kernel":"uml",
"scale":3,"durability":"disk","compiler":"tcc","baseline":"plain","files":210,"bytes":1000000,"load":{"median":1,"min":0.5,"max":2},
"about":{"bfs":"a cluster","crashed-primary":"the primary is killed"},"settings":{"batch_requests":64,"processes":5},
"machine":{"cpu":"a CPU","cores":2,"commit":"abc"},
"skipped":[{"target":"knfsd","reason":"not installed"}],
"targets":[
{"target":"bfs","fault":"none","replicas":4,"durability":"disk","runs":3,"phases":{"MakeDir":{"median":2,"min":1,"max":3,"ratio":2},"Copy":{"median":4,"min":4,"max":4,"ratio":4}},"total":{"median":6,"min":5,"max":7,"ratio":3},"longest_pause":{"median":0.01,"min":0.01,"max":0.01}},
{"target":"bfs","fault":"crashed-primary","replicas":4,"durability":"disk","runs":3,"failed":1,"phases":{"MakeDir":{"median":2,"min":1,"max":3}},"total":{"median":9,"min":8,"max":10},"longest_pause":{"median":0.654,"min":0.6,"max":0.7},"view_changes":{"median":1,"min":1,"max":1},"to_normal":1.5},
{"target":"plain","fault":"none","durability":"memory","runs":3,"phases":{"MakeDir":{"median":1,"min":1,"max":1,"ratio":1},"Copy":{"median":1,"min":1,"max":1,"ratio":1}},"total":{"median":2,"min":2,"max":2,"ratio":1}},
{"target":"<script>alert(1)</script>","fault":"none","durability":"memory","runs":1,"failed":1}]}`

const sequentialText = `{"date":"2026-01-03T03:04:05Z","command":["x"],"workload":"sequential","client":"library","baseline":"plain","units":{"Write":"MiB/s","Read":"MiB/s"},
"machine":{"cpu":"a CPU"},"targets":[
{"target":"bfs","fault":"none","replicas":4,"phases":{"Write":{"median":2,"min":1,"max":3}},"rates":{"Write":{"median":80,"min":70,"max":90}},"total":{"median":2,"min":1,"max":3}},
{"target":"plain","fault":"none","phases":{"Write":{"median":1,"min":1,"max":1}},"rates":{"Write":{"median":160,"min":160,"max":160}},"total":{"median":1,"min":1,"max":1}}]}`

const nullText = `{"date":"2026-01-01T00:00:00Z","command":["go","run","./bench/null"],"durability":"memory","gateways":1,"runs":3,"tcp_echo_p50":{"median":0.00002,"min":0.00001,"max":0.00003},
"entries":[{"part":"groups","target":"bfs","replicas":4,"mode":"rw","op":"0/0","clients":1,"runs":3,"p50":{"median":0.0004,"min":0.0003,"max":0.0005,"ratio":3},"throughput":{"median":2000,"min":1900,"max":2100}},
{"part":"groups","target":"bfs","replicas":4,"mode":"rw","op":"0/0","clients":20,"runs":3,"throughput":{"median":9000,"min":8000,"max":9100}},
{"part":"switches","target":"bfs","replicas":4,"switched_off":"macs","mode":"rw","op":"0/0","clients":1,"runs":3}]}`

const wanText = `{"date":"2026-01-01T00:00:00Z","command":["go","run","./bench/wan"],"source":"somebody's measurements","regions":["here","there"],
"groups":[{"f":1,"replicas":4,"primary":"here","entries":[{"load":"ordered","region":"here","op":"ordered","calls":9,"p50":0.1,"p99":0.2},{"load":"mixed","region":"there","op":"read-only","calls":9,"p50":0.3,"p99":0.4}]}]}`

// directories writes each summary into a directory of its own.
func directories(t *testing.T, texts ...string) (dirs []string) {
	t.Helper()
	for i, text := range texts {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("run", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "summary.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

func TestOnePageTellsEverything(t *testing.T) {
	dirs := append(directories(t, andrewText, sequentialText, nullText, wanText), filepath.Join(t.TempDir(), "none"), "testdata/2026-11-22-memory")
	out := filepath.Join(t.TempDir(), "a", "report.html")
	plots := filepath.Join(t.TempDir(), "plots")
	if err := run(options{Out: out, SVG: plots, Dirs: dirs}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		"a CPU", "abc", "go run ./bench/andrew", "2026-01-02 03:04", "scale", "not installed", "the primary is killed", // the circumstances
		"2.000 (1.000–3.000) ×2.00", "1 of 1 runs FAILED", // the table
		"×1.50", "0.654 (0.600–0.700)", "2 of 3", // the faults
		"BFS strict", "×1.26", "ours: bfs (4 replicas, disk)", "OSDI", // the paper
		"80.0 (70.0–90.0)", "MiB/s", // rates
		"400 (300–500) ×3.00", "2000 (1900–2100)", "without macs", // null operations
		"somebody&#39;s measurements", "100 / 200", "300 / 400", // wide area
		"load average", "7.855 (7.747–8.181) ×1.43", // results of an older format
	} {
		if !strings.Contains(strings.ToLower(page), strings.ToLower(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("a name from a file became part of the page's code")
	}
	for _, reference := range regexp.MustCompile(`(?i)(src|href|url)\s*[=(]`).FindAllString(page, -1) {
		t.Errorf("the page refers to something outside of it: %s", reference)
	}
	files, err := filepath.Glob(filepath.Join(plots, "*.svg"))
	if err != nil || len(files) < 7 {
		t.Errorf("plots %v, %v", files, err)
	}
	for _, file := range files {
		checkXML(t, file)
	}
}

func checkXML(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s is no XML: %v", file, err)
		}
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	if err := run(options{Out: filepath.Join(t.TempDir(), "x"), Dirs: []string{t.TempDir()}}); err == nil || !strings.Contains(err.Error(), "run a benchmark first") {
		t.Errorf("nothing measured: %v", err)
	}
	for _, text := range []string{"", "[]", `{"date":1}`, `{"what":"else"}`, `{"targets":1}`} {
		if err := run(options{Out: filepath.Join(t.TempDir(), "x"), Dirs: directories(t, text)}); err == nil || !strings.Contains(err.Error(), "summary.json") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The paper prints percentages beside its seconds. That ours, computed from the seconds, are the same shows that the seconds
// were copied right.
func TestThePapersFiguresAreThePapers(t *testing.T) {
	rows := map[string][6]float64{}
	for _, p := range paperAndrew {
		rows[p.name] = paperRow(p.seconds, p.total)
		sum := 0.0
		for _, s := range p.seconds {
			sum += s
		}
		if math.Abs(sum-p.total) > 0.015 {
			t.Errorf("%s: the phases sum up to %.2f, the total is %.2f", p.name, sum, p.total)
		}
	}
	for _, test := range []struct {
		of, to  string
		percent [6]float64
	}{
		{"BFS strict", "BFS-nr", [6]float64{57, 82, 18, 18, 20, 26}},
		{"BFS r/o lookup", "BFS-nr", [6]float64{34, 56, 6, 6, 19, 20}},
		{"BFS strict", "NFS-std", [6]float64{-69, -2, 35, 32, -2, 3}},
		{"BFS r/o lookup", "NFS-std", [6]float64{-73, -16, 20, 19, -2, -2}},
	} {
		for i, want := range test.percent {
			// The paper's own percentages come from more digits than it prints.
			if got := 100 * (rows[test.of][i]/rows[test.to][i] - 1); math.Abs(got-want) > 1 {
				t.Errorf("%s against %s, column %d: %.1f %%, the paper says %.0f %%", test.of, test.to, i+1, got, want)
			}
		}
	}
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for _, highest := range []float64{1e-9, 0.013, 0.7, 1, 2.6, 9.99, 47, 123456, 1e12} {
		list := ticks(highest)
		if len(list) < 3 || len(list) > 7 || list[0].Value != 0 || list[len(list)-1].Value > highest {
			t.Errorf("up to %v: %v", highest, list)
		}
	}
	for _, none := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if list := ticks(none); list != nil {
			t.Errorf("up to %v: %v", none, list)
		}
	}
}

func TestALineOfOnePointIsDrawn(t *testing.T) {
	for _, x := range []float64{1, 20} {
		c := lineChart{title: "t", unit: "u", over: "clients", lines: []line{{name: "n", xs: []float64{x}, ys: []*measure.Statistic{{Median: 3}}}}}
		if svg, err := c.svg(); err != nil || len(svg) == 0 {
			t.Errorf("at %v: %d bytes, %v", x, len(svg), err)
		}
	}
}

// Whatever is in a file, the outcome is a page or an error.
func FuzzReport(f *testing.F) {
	for _, text := range []string{andrewText, sequentialText, nullText, wanText, `{"targets":[{"phases":{"Copy":{"median":1e308,"max":1e308}}}],"baseline":"x"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		m, err := parse(text)
		if err != nil {
			return
		}
		p, err := newPage([]measurement{m})
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := p.render(&out); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(out.Bytes(), []byte("<script")) {
			t.Error("text of the file became code of the page")
		}
	})
}
