package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// crashWriter is the name of the function that changes files in a guest's mount while replicas are killed.
const crashWriter = "crash-writer"

// writing says what crashWriter is to do.
type writing struct {
	Mount   string
	Cycle   int // its files lie in a directory of their own
	Workers int
	Lasts   time.Duration // for so long at least
	Ops     int           // so many operations of each worker at least
}

// runCrashWriter runs in the guest. Each line that it writes to the journal is a change that the file system acknowledged:
// close and fsync have returned, or the system call whose effect is durable when it returns. A worker's lines are in the
// order of its changes, and no two workers touch the same file.
func runCrashWriter(_ context.Context, in json.RawMessage, stdout io.Writer) (any, error) {
	var w writing
	if err := json.Unmarshal(in, &w); err != nil {
		return nil, err
	}
	journal := &lineWriter{w: stdout}
	dir := fmt.Sprintf("cycle%d", w.Cycle)
	if err := os.Mkdir(filepath.Join(w.Mount, dir), 0o755); err != nil {
		return nil, err
	}
	if err := journal.print("dir %s", dir); err != nil {
		return nil, err
	}
	began := time.Now()
	errs := make([]error, w.Workers)
	var wg sync.WaitGroup
	for i := range w.Workers {
		c := &changer{mount: w.Mount, dir: dir, worker: i, cycle: w.Cycle, journal: journal, rng: rand.New(rand.NewPCG(uint64(w.Cycle), uint64(i)))}
		wg.Go(func() {
			for n := 0; errs[i] == nil && (n < w.Ops || time.Since(began) < w.Lasts); n++ {
				errs[i] = c.change(n)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("worker %d: %w", i, err)
		}
	}
	return nil, nil
}

// lineWriter writes whole lines for several workers.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) print(format string, args ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.w, format+"\n", args...)
	return err
}

// changer is one worker.
type changer struct {
	mount, dir    string
	worker, cycle int
	journal       *lineWriter
	rng           *rand.Rand
	files         []string // that it has made and not removed
}

func (c *changer) path(name string) string { return filepath.Join(c.mount, name) }

// change makes one change and, when it is acknowledged, says so.
func (c *changer) change(n int) error {
	switch k := c.rng.IntN(10); {
	case k < 2:
		return c.grow(n)
	case k < 3 && len(c.files) > 0:
		return c.remove()
	case k < 5 && len(c.files) > 0:
		return c.move(n)
	}
	return c.put(fmt.Sprintf("%s/w%d-f%d", c.dir, c.worker, n))
}

// put writes a file, syncs and closes it.
func (c *changer) put(name string) error {
	seed, size := c.rng.Uint64(), c.rng.IntN(20_000)
	if c.rng.IntN(8) == 0 {
		size *= 20
	}
	f, err := os.Create(c.path(name))
	if err != nil {
		return err
	}
	_, err = f.Write(crashContent(seed, size))
	if err == nil && c.rng.IntN(2) == 0 { // else close writes everything back
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	c.files = append(c.files, name)
	return c.journal.print("put %s %d %d", name, seed, size)
}

// grow adds a record to the worker's file of the cycle.
func (c *changer) grow(n int) error {
	name := fmt.Sprintf("%s/w%d-log", c.dir, c.worker)
	f, err := os.OpenFile(c.path(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0o644)
	if err != nil {
		return err
	}
	record := fmt.Sprintf("operation-%d-of-worker-%d", n, c.worker)
	_, err = f.WriteString(record + "\n")
	if err == nil {
		err = c.journal.print("grow %s %s", name, record)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

func (c *changer) remove() error {
	i := c.rng.IntN(len(c.files))
	name := c.files[i]
	if err := os.Remove(c.path(name)); err != nil {
		return err
	}
	c.files = append(c.files[:i], c.files[i+1:]...)
	return c.journal.print("gone %s", name)
}

func (c *changer) move(n int) error {
	i := c.rng.IntN(len(c.files))
	from, to := c.files[i], fmt.Sprintf("%s/w%d-m%d", c.dir, c.worker, n)
	if err := os.Rename(c.path(from), c.path(to)); err != nil {
		return err
	}
	c.files[i] = to
	return c.journal.print("move %s %s", from, to)
}

// crashContent is what a file of a seed and size holds.
func crashContent(seed uint64, size int) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i < size; i += 8 {
		v := rng.Uint64()
		for k := i; k < min(i+8, size); k++ {
			b[k] = byte(v)
			v >>= 8
		}
	}
	return b
}

// crashJournal is what was acknowledged, kept outside of the file system.
type crashJournal struct {
	mu    sync.Mutex
	lines int
	dirs  map[string]bool
	files map[string]crashFile
	err   error
}

type crashFile struct {
	seed  uint64
	size  int
	lines []string // of a file that grows
}

func (f crashFile) content() []byte {
	if f.lines != nil {
		return []byte(strings.Join(f.lines, "\n") + "\n")
	}
	return crashContent(f.seed, f.size)
}

func newCrashJournal() *crashJournal {
	return &crashJournal{dirs: map[string]bool{}, files: map[string]crashFile{}}
}

// read takes lines until the writer has ended.
func (j *crashJournal) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		j.take(lines.Text())
	}
}

func (j *crashJournal) take(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines++
	w := strings.Fields(line)
	switch {
	case len(w) == 2 && w[0] == "dir":
		j.dirs[w[1]] = true
	case len(w) == 4 && w[0] == "put":
		var f crashFile
		if _, err := fmt.Sscan(w[2]+" "+w[3], &f.seed, &f.size); err != nil {
			j.err = fmt.Errorf("line %q of the journal: %w", line, err)
		}
		j.files[w[1]] = f
	case len(w) == 3 && w[0] == "grow":
		f := j.files[w[1]]
		f.lines = append(f.lines, w[2])
		j.files[w[1]] = f
	case len(w) == 3 && w[0] == "move":
		j.files[w[2]] = j.files[w[1]]
		delete(j.files, w[1])
	case len(w) == 2 && w[0] == "gone":
		delete(j.files, w[1])
	default:
		j.err = fmt.Errorf("line %q of the journal", line)
	}
}

// in returns the files of a directory, by name.
func (j *crashJournal) in(dir string) map[string]crashFile {
	j.mu.Lock()
	defer j.mu.Unlock()
	files := map[string]crashFile{}
	for name, f := range j.files {
		if d, base := filepath.Split(name); d == dir+"/" {
			files[base] = f
		}
	}
	return files
}
