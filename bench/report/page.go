package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// page is the report.
type page struct {
	Date     time.Time // of the newest measurement
	Machines []string
	Commits  []string
	Sections []*section
}

// section is what one run of a benchmark measured.
type section struct {
	Title   string
	Date    time.Time
	Command string
	Machine string
	Commit  string
	Facts   []fact
	Parts   []part // in order
}

type fact struct{ Name, Text string }

// part is a table or a plot.
type part struct {
	Table *table
	Plot  *figure
}

type table struct {
	Caption string
	Head    []string
	Rows    [][]string
}

type figure struct {
	Name string
	SVG  template.HTML
}

// chart is what can be drawn.
type chart interface{ svg() ([]byte, error) }

func newPage(all []measurement) (*page, error) {
	p := &page{}
	for i := range all {
		m := &all[i]
		show := andrewSection
		switch {
		case m.null != nil:
			show = nullSection
		case m.wan != nil:
			show = wanSection
		}
		sec, err := show(m)
		if err != nil {
			return nil, err
		}
		p.Sections = append(p.Sections, sec)
		if m.head.Date.After(p.Date) {
			p.Date = m.head.Date
		}
		if !slices.Contains(p.Machines, sec.Machine) {
			p.Machines = append(p.Machines, sec.Machine)
		}
		if !slices.Contains(p.Commits, sec.Commit) {
			p.Commits = append(p.Commits, sec.Commit)
		}
	}
	return p, nil
}

func newSection(m *measurement, title string) *section {
	h := &m.head
	return &section{
		Title: title, Date: h.Date, Command: strings.Join(h.Command, " "), Commit: h.Machine.Commit,
		Machine: fmt.Sprintf("%s, %d cores, %d MiB, %s, %s", h.Machine.CPU, h.Machine.Cores, h.Machine.MemoryMB, h.Machine.System, h.Machine.Go),
	}
}

func (s *section) add(t *table) { s.Parts = append(s.Parts, part{Table: t}) }

// draw adds a plot, unless there is nothing to draw.
func (s *section) draw(name string, c chart) error {
	text, err := c.svg()
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	// The XML declaration and the document type have no place inside a page.
	if i := strings.Index(string(text), "<svg"); i > 0 {
		text = text[i:]
	}
	s.Parts = append(s.Parts, part{Plot: &figure{Name: name, SVG: template.HTML(text)}}) //nolint:gosec // drawn here, not read: names in it are escaped by the drawer
	return nil
}

func (p *page) render(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("parse the page: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// writePlots writes each plot as a file of its own.
func (p *page) writePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory for the plots: %w", err)
	}
	for _, s := range p.Sections {
		for _, part := range s.Parts {
			if part.Plot == nil {
				continue
			}
			name := filepath.Join(dir, part.Plot.Name+".svg")
			if err := os.WriteFile(name, []byte(part.Plot.SVG), 0o644); err != nil {
				return fmt.Errorf("write a plot: %w", err)
			}
		}
	}
	return nil
}
