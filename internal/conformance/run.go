package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"bfsd/internal/kernelclient"

	"golang.org/x/sys/unix"
)

// RunRequest asks for cases to be run on each of several file systems. Each is named by a directory that is to be made on it,
// and by others through which that is seen too, by other mounts.
type RunRequest struct {
	Dirs  [][]string `json:"dirs"`
	Cases []Case     `json:"cases"`
}

// RunResult has, for each case, its transcript in each directory.
type RunResult struct {
	Transcripts [][]Transcript `json:"transcripts"`
}

// Handlers are the guest's side, for kernelclient.Agent.
func Handlers() map[string]kernelclient.Handler {
	return map[string]kernelclient.Handler{
		"conformance.run": func(ctx context.Context, in json.RawMessage, _ io.Writer) (any, error) {
			var req RunRequest
			if err := json.Unmarshal(in, &req); err != nil {
				return nil, fmt.Errorf("cases to run: %w", err)
			}
			return run(ctx, &req)
		},
		"conformance.fileio": runFileIO,
	}
}

// run runs cases on a thread of its own, which is the only one whose user, working directory and mask it changes; the thread
// ends with it.
func run(ctx context.Context, req *RunRequest) (*RunResult, error) {
	type outcome struct {
		result *RunResult
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		result, err := runHere(ctx, req)
		done <- outcome{result, err}
	}()
	o := <-done
	return o.result, o.err
}

func runHere(ctx context.Context, req *RunRequest) (*RunResult, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("give a thread a working directory of its own: %w", err)
	}
	unix.Umask(0)
	for _, dirs := range req.Dirs {
		if err := unix.Mkdir(dirs[0], 0o755); err != nil {
			return nil, fmt.Errorf("make the directory %s of this run: %w", dirs[0], err)
		}
	}
	result := &RunResult{Transcripts: make([][]Transcript, len(req.Cases))}
	for i := range req.Cases {
		for _, dirs := range req.Dirs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			t, err := runCase(dirs, i, &req.Cases[i])
			if err != nil {
				return nil, fmt.Errorf("case %q in %s: %w", req.Cases[i].Name, dirs[0], err)
			}
			result.Transcripts[i] = append(result.Transcripts[i], *t)
		}
	}
	return result, nil
}

// runner runs one case on one file system.
type runner struct {
	as   string
	dirs []string       // its directory, as each mount shows it
	open map[string]int // files, by their names in the script
}

func runCase(parents []string, number int, c *Case) (*Transcript, error) {
	r := &runner{as: "root", open: map[string]int{}}
	for _, parent := range parents {
		r.dirs = append(r.dirs, filepath.Join(parent, fmt.Sprintf("case%d", number)))
	}
	dir := r.dirs[0]
	unix.Umask(0)
	if err := errors.Join(unix.Mkdir(dir, 0o777), unix.Chdir(dir)); err != nil {
		return nil, fmt.Errorf("make a directory for it: %w", err)
	}
	t := &Transcript{}
	err := r.steps(c.Steps, t)
	r.closeAll()
	if err = errors.Join(err, r.become("root"), unix.Chdir("/")); err != nil {
		return nil, err
	}
	t.Tree, err = tree(dir)
	return t, err
}

func (r *runner) steps(lines []string, t *Transcript) error {
	for _, line := range lines {
		s, err := Parse(line)
		if err != nil {
			return err
		}
		if err := r.become(s.As); err != nil {
			return err
		}
		value, err := r.call(s)
		if errors.Is(err, errScript) {
			return fmt.Errorf("step %q: %w", line, err)
		}
		t.Outcomes = append(t.Outcomes, outcomeOf(value, err))
	}
	return nil
}

func (r *runner) call(s Step) (string, error) { return ops[s.Op].call(r, s.Args) }

func outcomeOf(value string, err error) Outcome {
	if err == nil {
		return Outcome{Value: value}
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return Outcome{Err: unix.ErrnoName(errno)}
	}
	return Outcome{Err: err.Error()}
}

func (r *runner) closeAll() {
	for name, fd := range r.open {
		unix.Close(fd)
		delete(r.open, name)
	}
}

// become changes the thread's user. Only the saved user stays root, which the next change needs: it gives no permission.
func (r *runner) become(name string) error {
	if r.as == name {
		return nil
	}
	user := Users[name]
	if err := setResUID(0, 0); err != nil {
		return fmt.Errorf("become root: %w", err)
	}
	if err := errors.Join(setGroups(user.Groups), setResGID(user.GID), setResUID(user.UID, 0)); err != nil {
		return fmt.Errorf("become %s: %w", name, err)
	}
	r.as = name
	return nil
}

// watch runs a step and tells what it changed of some paths. The paths are looked at by root, like ls -l.
func (r *runner) watch(paths []string, s Step) (string, error) {
	as := r.as
	look := func() ([]inodeTimes, []bool, error) {
		if err := r.become("root"); err != nil {
			return nil, nil, err
		}
		times, found := make([]inodeTimes, len(paths)), make([]bool, len(paths))
		for i, p := range paths {
			times[i], found[i] = timesOf(p)
		}
		return times, found, nil
	}
	before, was, err := look()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errScript, err)
	}
	if err := errors.Join(coarseTick(), r.become(s.As)); err != nil {
		return "", fmt.Errorf("%w: %w", errScript, err)
	}
	value, stepErr := r.call(s)
	if errors.Is(stepErr, errScript) {
		return "", stepErr
	}
	after, is, err := look()
	if err = errors.Join(err, r.become(as)); err != nil {
		return "", fmt.Errorf("%w: %w", errScript, err)
	}
	var b strings.Builder
	b.WriteString(outcomeOf(value, stepErr).String())
	for i, p := range paths {
		b.WriteString(" " + quote(p) + "=" + changed(before[i], after[i], was[i], is[i]))
	}
	return b.String(), nil
}
