package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// compiler is how Make compiles: few processes, since one costs some 40 ms in user-mode Linux. Its commands run in the
// object directory of a copy; their arguments are paths relative to it.
type compiler struct {
	Name     string   `json:"name"`
	Language language `json:"language"`
	Path     string   `json:"path"` // of the program, absolute
}

// program is what Make links (C) or archives (Go).
const program = "andrew.so"

// findCompiler resolves the --compiler flag. Few-process compilers come first; a gcc forks twice per file.
func findCompiler(ctx context.Context, name string) (compiler, error) {
	candidates := []string{name}
	if name == "auto" {
		candidates = []string{"tcc", "gcc", "cc", "go"}
	}
	for _, name := range candidates {
		if name != "go" {
			if found, err := exec.LookPath(name); err == nil {
				return compiler{Name: name, Language: langC, Path: found}, nil
			}
			continue
		}
		out, err := exec.CommandContext(ctx, "go", "tool", "-n", "compile").Output()
		if err == nil {
			return compiler{Name: "go", Language: langGo, Path: strings.TrimSpace(string(out))}, nil
		}
	}
	return compiler{}, fmt.Errorf("no compiler for the Make phase: install one of %s, or leave Make out with --phases", strings.Join(candidates, ", "))
}

// commands are the processes of one Make, to be run in the object directory one after the other.
func (c compiler) commands(tree *sourceTree) [][]string {
	var sources, objects []string
	for _, source := range tree.Sources() {
		sources = append(sources, "../"+source)
		objects = append(objects, strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))+".o")
	}
	if c.Language == langGo {
		return [][]string{append([]string{c.Path, "-p", "andrew", "-complete", "-o", "andrew.a", "-c", "1", "-trimpath", "$PWD"}, sources...)}
	}
	compile := append([]string{c.Path, "-nostdinc", "-I../include", "-fPIC", "-c"}, sources...)
	link := append([]string{c.Path, "-nostdlib", "-shared", "-o", program}, objects...)
	return [][]string{compile, link}
}

// build runs a Make in the copy at dir, which is a directory of this machine.
func (c compiler) build(ctx context.Context, dir string, tree *sourceTree) error {
	work := filepath.Join(dir, objectDir)
	for _, args := range c.commands(tree) {
		args = slices.Clone(args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "$PWD", filepath.Dir(work))
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c.Name, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// referenceOutputs compiles one copy of the tree in a directory of this machine and returns what the compiler wrote: what
// every Make must produce.
func (c compiler) referenceOutputs(ctx context.Context, tree *sourceTree) ([]output, error) {
	dir, err := os.MkdirTemp("", "andrew-reference-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the reference build: %w", err)
	}
	defer os.RemoveAll(dir)
	for _, sub := range tree.Dirs {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("reference build: %w", err)
		}
	}
	for _, f := range tree.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Path), f.Data, 0o600); err != nil {
			return nil, fmt.Errorf("reference build: %w", err)
		}
	}
	if err := c.build(ctx, dir, tree); err != nil {
		return nil, fmt.Errorf("reference build of the generated sources: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, objectDir))
	if err != nil {
		return nil, fmt.Errorf("reference build: %w", err)
	}
	var outputs []output
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, objectDir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reference build: %w", err)
		}
		outputs = append(outputs, output{Path: objectDir + "/" + entry.Name(), SHA256: digest(data), Data: data})
	}
	return outputs, nil
}
