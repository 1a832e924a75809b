package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestSimRunsTheFileSystem(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"sim", "--seeds", "20"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if !regexp.MustCompile(`^20 seeds from 1 in .*: \d+ per second, 0 failed\n`).MatchString(stdout.String()) {
		t.Errorf("said %q", stdout.String())
	}
}

func TestSimRepeatsASeed(t *testing.T) {
	trace := func() string {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"sim", "--seed", "3", "--trace", "--f", "2"}, &stdout, &stderr); code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		text := stdout.String()
		return text[:strings.LastIndex(text, "seed 3: nothing is wrong")]
	}
	first, second := trace(), trace()
	if first != second {
		t.Error("the same seed gave two traces")
	}
	for _, want := range []string{"n=7", "PRE-PREPARE v", "the faults end"} {
		if !strings.Contains(first, want) {
			t.Errorf("the trace does not say %q", want)
		}
	}
}

func TestSimRefusesWhatItCannotDo(t *testing.T) {
	for _, args := range [][]string{{"sim", "--f", "22"}, {"sim", "--seeds", "2", "--trace"}, {"sim", "--seed", "1", "--seeds", "2"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage {
			t.Errorf("%v: exit code %d, want %d; %s", args, code, exitUsage, stderr.String())
		}
	}
}
