package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// byteBar shows how many bytes of how many are done, at what rate, and how long the rest will take: on a terminal, else
// nothing.
type byteBar struct{ bar *progressbar.ProgressBar }

func newByteBar(p *process, what string) *byteBar {
	b := &byteBar{}
	if f, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	}
	return b
}

// set shows done of total bytes; total is 0 while nobody knows.
func (b *byteBar) set(done, total uint64) {
	if b.bar == nil {
		return
	}
	if total > 0 && b.bar.GetMax64() != int64(total) {
		b.bar.ChangeMax64(int64(total))
	}
	if total == 0 || done <= total { // what is fetched twice is no progress
		_ = b.bar.Set64(int64(done)) // fails only past its end
	}
}

func (b *byteBar) finish() {
	if b.bar != nil {
		_ = b.bar.Finish() // it has nothing to fail on but the terminal
	}
}

// formatBytes gives a size as people read it.
func formatBytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}
