package main

import (
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far the benchmark is: a bar on a terminal, else one plain line per run.
type progress struct {
	out io.Writer
	bar *progressbar.ProgressBar
}

func newProgress(out *os.File, phases int) *progress {
	p := &progress{out: out}
	if term.IsTerminal(int(out.Fd())) {
		p.bar = progressbar.NewOptions(phases,
			progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(true))
	}
	return p
}

func (p *progress) starting(what string) {
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

func (p *progress) phaseDone(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n) // fails only past its end
	}
}

func (p *progress) runDone(line string) {
	if p.bar == nil {
		fmt.Fprintln(p.out, line)
	}
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish() // it has nothing to fail on but the terminal
	}
}
