package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
)

// options are the flags.
type options struct {
	Out  string   `help:"The page to write (${default})." default:"observations/report.html" placeholder:"FILE"`
	SVG  string   `name:"svg" help:"Write every plot into this directory too." placeholder:"DIR"`
	Dirs []string `arg:"" name:"dir" help:"What benchmarks wrote: directories with a summary.json, in the order of the page. Those that are not there are left out, with a word."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("report"), kong.Description("Makes one self-contained HTML page of what bench/andrew, bench/null and bench/wan measured."))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	var all []measurement
	for _, dir := range o.Dirs {
		m, err := read(dir)
		if errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "report: nothing was measured in %s\n", dir)
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return errors.New("nothing was measured in any of the directories: run a benchmark first, such as make bench")
	}
	p, err := newPage(all)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := p.render(&text); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return fmt.Errorf("make a directory for the report: %w", err)
	}
	if err := os.WriteFile(o.Out, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if o.SVG == "" {
		return nil
	}
	return p.writePlots(o.SVG)
}
