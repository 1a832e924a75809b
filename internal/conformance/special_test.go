package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// special is a check that needs a program of its own. It runs in the guest.
type special struct {
	name string
	run  func(p *probe)
}

// specialRequest asks for one special check in a new directory.
type specialRequest struct {
	Name      string
	Dir       string // on the mount under test
	Elsewhere string // on another file system
	Long      bool
}

// probe is what a special check has to work with. The first thing that is not as it must be ends it.
type probe struct {
	ctx       context.Context
	dir       string // the working directory of the check, on the mount
	elsewhere string
	long      bool
}

// failure is what a probe found.
type failure struct{ err error }

func (p *probe) fail(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// must ends the check if err is an error.
func (p *probe) must(err error, what string, args ...any) {
	if err != nil {
		p.fail("%s: %w", fmt.Sprintf(what, args...), err)
	}
}

// want ends the check unless err is the errno.
func (p *probe) want(errno unix.Errno, err error, what string, args ...any) {
	if !errors.Is(err, errno) {
		p.fail("%s: %v, must be %v", fmt.Sprintf(what, args...), err, errno)
	}
}

func (p *probe) check(holds bool, what string, args ...any) {
	if !holds {
		p.fail(what, args...)
	}
}

// path is a path in the check's directory.
func (p *probe) path(parts ...any) string { return filepath.Join(p.dir, fmt.Sprint(parts...)) }

func (p *probe) put(path, data string) {
	p.must(os.WriteFile(path, []byte(data), 0o644), "write %s", path)
}

func (p *probe) get(path, want string) {
	data, err := os.ReadFile(path)
	p.must(err, "read")
	p.check(string(data) == want, "%s holds %q, must hold %q", path, data, want)
}

func (p *probe) open(path string, flags int) int {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	p.must(err, "open %s", path)
	return fd
}

func (p *probe) stat(path string) *unix.Stat_t {
	var st unix.Stat_t
	p.must(unix.Lstat(path, &st), "lstat")
	return &st
}

func (p *probe) fstat(fd int) *unix.Stat_t {
	var st unix.Stat_t
	p.must(unix.Fstat(fd, &st), "fstat")
	return &st
}

// names lists a directory, but for what the client has renamed out of the way (its "silly renames").
func (p *probe) names(dir string) []string {
	names, err := readNames(dir)
	p.must(err, "list")
	return slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, ".nfs") })
}

// as runs part of a check under a user, on a thread that ends with it.
func (p *probe) as(user string, part func()) {
	done := make(chan any, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		defer func() { done <- recover() }()
		r := &runner{as: "root"}
		p.must(r.become(user), "become %s", user)
		part()
	}()
	if failed := <-done; failed != nil {
		panic(failed)
	}
}

// atOnce runs n parts of a check at the same time.
func (p *probe) atOnce(n int, part func(i int)) {
	done := make(chan any, n)
	for i := range n {
		go func() {
			defer func() { done <- recover() }()
			part(i)
		}()
	}
	var failed any
	for range n {
		if f := <-done; f != nil {
			failed = f
		}
	}
	if failed != nil {
		panic(failed)
	}
}

// runSpecial is the guest's side.
func runSpecial(ctx context.Context, in json.RawMessage, _ io.Writer) (result any, err error) {
	var req specialRequest
	if err := json.Unmarshal(in, &req); err != nil {
		return nil, err
	}
	all := append(slices.Clone(specials), readOnly, full)
	i := slices.IndexFunc(all, func(s special) bool { return s.name == req.Name })
	if i < 0 {
		return nil, fmt.Errorf("there is no special check %q", req.Name)
	}
	p := &probe{ctx: ctx, long: req.Long}
	for _, d := range []struct {
		parent string
		dir    *string
	}{{req.Dir, &p.dir}, {req.Elsewhere, &p.elsewhere}} {
		if *d.dir, err = os.MkdirTemp(d.parent, "special-"); errors.Is(err, unix.EROFS) {
			*d.dir = d.parent
			continue
		} else if err != nil {
			return nil, err
		}
		if err := os.Chmod(*d.dir, 0o777); err != nil {
			return nil, err
		}
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.err
		default:
			panic(r)
		}
	}()
	all[i].run(p)
	return nil, nil
}

// specials are in special_*_test.go.
var specials = slices.Concat(openSpecials, listSpecials, nameSpecials, dataSpecials, raceSpecials)

func (c *client) checkSpecials(t *testing.T) {
	for _, s := range specials {
		t.Run(s.name, func(t *testing.T) {
			in := specialRequest{Name: s.name, Dir: c.mount, Elsewhere: c.reference, Long: long()}
			if err := c.guest.Call(t.Context(), "special", in, nil, nil); err != nil {
				t.Error(err)
			}
			if !long() {
				return
			}
			// The reference is a file system known to be good: a check that it does not pass is itself at fault.
			in.Dir = c.reference
			if err := c.guest.Call(t.Context(), "special", in, nil, nil); err != nil {
				t.Errorf("on the local file system: %v", err)
			}
		})
	}
}
