package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// entries is how many names the listed directory has. BFSD_LONG_TESTS makes it a million.
func entries() int {
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		return 1_000_000
	}
	return 50_000
}

// A listing that takes many READDIRs shows every name that stays, exactly once, whatever comes and goes meanwhile
// (RFC 1813 §3.3.16: cookies stay good while entries are added and removed).
func TestAHugeDirectoryIsListedWholeWhileItChanges(t *testing.T) {
	s := newSite(t)
	addr := net.JoinHostPort(s.host(), strconv.Itoa(testPort))
	s.start("plain", "--nfs", addr)
	g := s.guest()
	mnt := s.mount(g, testPort)
	c := s.library(addr)
	root, err := c.Mount(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.Mkdir(t.Context(), root, "huge", nfs3.Sattr{})
	if err != nil {
		t.Fatal(err)
	}
	huge := made.Object
	n := entries()
	inParallel(t, n, func(i int) error {
		_, err := c.Create(t.Context(), huge, fmt.Sprintf("stays%d", i), nfs3.Guarded, nfs3.Sattr{})
		return err
	})

	// Names come and go until the listing has ended.
	ctx, stop := context.WithCancel(t.Context())
	var churn sync.WaitGroup
	churned := 0
	churn.Go(func() {
		for ; ctx.Err() == nil; churned++ {
			name := fmt.Sprintf("goes%d", churned)
			if _, err := c.Create(t.Context(), huge, name, nfs3.Guarded, nfs3.Sattr{}); err != nil {
				t.Errorf("adding %s: %v", name, err)
				return
			}
			if churned%2 == 0 {
				continue // half of them stay behind
			}
			if _, err := c.Remove(t.Context(), huge, name); err != nil {
				t.Errorf("removing %s: %v", name, err)
				return
			}
		}
	})
	var out, errs bytes.Buffer
	exit, err := g.Script(t.Context(), "exec ls -f -1 "+mnt+"/huge", &out, &errs)
	stop()
	churn.Wait()
	if err != nil || exit != 0 {
		t.Fatalf("listing: %v, exit code %d: %s", err, exit, &errs)
	}
	seen := make([]int, n)
	others := map[string]int{}
	lines := bufio.NewScanner(&out)
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), "stays"); ok {
			i, err := strconv.Atoi(number)
			if err != nil || i >= n {
				t.Fatalf("a name nobody made: %q", lines.Text())
			}
			seen[i]++
			continue
		}
		others[lines.Text()]++
	}
	for i, times := range seen {
		if times != 1 {
			t.Errorf("stays%d is listed %d times", i, times)
		}
	}
	for name, times := range others {
		if times != 1 {
			t.Errorf("%s is listed %d times", name, times)
		}
	}
	if others["."] != 1 || others[".."] != 1 || churned < 10 {
		t.Errorf("the listing has %d . and %d .., and %d names came meanwhile", others["."], others[".."], churned)
	}
	t.Logf("%d names listed while %d came and %d of them went", n, churned, churned/2)
}

// library is the library client, as root, in the site's network.
func (s *site) library(addr string) *nfsclient.Client {
	s.t.Helper()
	conn, err := s.network.Dial(s.t.Context(), addr)
	if err != nil {
		s.t.Fatal(err)
	}
	c := nfsclient.New(conn)
	s.t.Cleanup(func() { c.Close() })
	return c.As(0, 0)
}

// inParallel calls do for 0 to n−1, 32 at a time.
func inParallel(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range next {
				if t.Failed() {
					continue
				}
				if err := do(i); err != nil {
					t.Errorf("number %d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
