package measure

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values           []float64
		median, min, max float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 1}, 2.5, 1, 4},
		{[]float64{9, 1, 5}, 5, 1, 9},
		{[]float64{8, 2, 4, 6}, 5, 2, 8},
	} {
		if got := NewStatistic(test.values); got.Median != test.median || got.Min != test.min || got.Max != test.max {
			t.Errorf("%v: %+v", test.values, *got)
		}
	}
	if got := NewStatistic(nil); got != nil {
		t.Errorf("of nothing: %+v", *got)
	}
}

func TestCellsShowWhatThereIs(t *testing.T) {
	s, base := NewStatistic([]float64{2, 4, 3}), NewStatistic([]float64{2})
	if got := s.Cell("%.1f"); got != "3.0 (2.0–4.0)" {
		t.Errorf("without a baseline: %q", got)
	}
	s.Compare(base)
	if got := s.Cell("%.1f"); got != "3.0 (2.0–4.0) ×1.50" {
		t.Errorf("with one: %q", got)
	}
	var none *Statistic
	none.Compare(base)
	if got := none.Cell("%.1f"); got != "-" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestObservationsAreWrittenAsTheyAreMade(t *testing.T) {
	type observation struct {
		Run int `json:"run"`
	}
	dir := filepath.Join(t.TempDir(), "new")
	r, err := NewRecorder[observation](dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := r.Record(observation{i}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "observations.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		var last observation
		if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || len(lines) != i+1 || last.Run != i {
			t.Errorf("after %d observations the file has %q (%v)", i+1, text, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]observation{{0}, {1}, {2}}, r.All); diff != "" {
		t.Error(diff)
	}
}

func TestCommandsDoNotNameDirectories(t *testing.T) {
	for arg, want := range map[string]string{
		"--out": "--out", "/home/somebody/figures": "figures", "--out=/home/somebody/figures": "--out=figures",
		"figures/today": "figures/today", "0/0,4k/0": "0/0,4k/0", "a=/b/c": "a=/b/c",
	} {
		if got := Portable(arg); got != want {
			t.Errorf("%q is shown as %q, want %q", arg, got, want)
		}
	}
}
