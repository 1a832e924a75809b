package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Recorder appends observations to DIR/observations.jsonl, each as soon as it is made.
type Recorder[T any] struct {
	All []T

	file *os.File
}

// NewRecorder makes the directory and empties the file.
func NewRecorder[T any](dir string) (*Recorder[T], error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory for observations: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "observations.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the file for observations: %w", err)
	}
	return &Recorder[T]{file: f}, nil
}

// Record writes one observation and keeps it in All.
func (r *Recorder[T]) Record(o T) error {
	line, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode an observation: %w", err)
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write an observation: %w", err)
	}
	r.All = append(r.All, o)
	return nil
}

// Close ends the file.
func (r *Recorder[T]) Close() error { return r.file.Close() }

// WriteSummary writes DIR/summary.json.
func WriteSummary(dir string, summary any) error {
	text, err := json.MarshalIndent(summary, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the summary: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "summary.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}
