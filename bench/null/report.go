package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bfsd/bench/internal/measure"
)

// report writes summary.json and tables.md, and prints the tables.
func (b *benchmark) report(out io.Writer) error {
	s := &summary{
		Date: time.Now().UTC().Truncate(time.Second), Command: measure.Command("./bench/null"), Machine: b.machine, LoadBefore: b.load,
		Durability: b.options.Durability, Gateways: b.options.Gateways, Seconds: b.options.Duration.Seconds(), Runs: b.options.Runs,
	}
	s.Entries, s.Echo = summarize(b.record.All)
	s.Costs = checkpointCosts(s.Entries)
	if err := measure.WriteSummary(b.options.Out, s); err != nil {
		return err
	}
	var text bytes.Buffer
	s.tables(&text)
	if err := os.WriteFile(filepath.Join(b.options.Out, "tables.md"), text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	if _, err := out.Write(text.Bytes()); err != nil {
		return fmt.Errorf("print the tables: %w", err)
	}
	return nil
}
