package measure

import (
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress shows how far the benchmark is: a bar on a terminal, else one plain line per run.
type Progress struct {
	out io.Writer
	bar *progressbar.ProgressBar
}

// NewProgress is for a benchmark of so many steps.
func NewProgress(out *os.File, steps int) *Progress {
	p := &Progress{out: out}
	if term.IsTerminal(int(out.Fd())) {
		p.bar = progressbar.NewOptions(steps,
			progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(true))
	}
	return p
}

// Starting says what is measured now.
func (p *Progress) Starting(what string) {
	if p.bar != nil {
		p.bar.Describe(what)
	}
}

// StepsDone moves the bar on.
func (p *Progress) StepsDone(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n) // fails only past its end
	}
}

// RunDone prints a line about a run, where there is no bar.
func (p *Progress) RunDone(line string) {
	if p.bar == nil {
		fmt.Fprintln(p.out, line)
	}
}

// Finish ends the bar.
func (p *Progress) Finish() {
	if p.bar != nil {
		_ = p.bar.Finish() // it has nothing to fail on but the terminal
	}
}
