package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// browser is a headless Chromium that shows a page and remembers what it complains about.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed (Debian: chromium); the status page is not looked at")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.WindowSize(1280, 1180), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	b := &browser{t: t}
	ctx, closeTab := chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			b.complain(fmt.Sprint(e.Entry.Level, ": ", e.Entry.Text, " ", e.Entry.URL))
		}
	}))
	b.ctx = ctx
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) { // waits until the browser has ended
			t.Log("closing the browser:", err)
		}
		closeTab()
	})
	return b
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// evaluate evaluates an expression on the page.
func evaluate[T any](b *browser, expr string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr))
	if err != nil {
		b.t.Fatalf("evaluating %s: %v", expr, err)
	}
	return result
}

// await waits until an expression is true on the page.
func (b *browser) await(what, expr string) {
	b.t.Helper()
	awaitCondition(b.t, what, func() bool { return evaluate[bool](b, expr) }, func() string {
		return evaluate[string](b, "document.body.innerText")
	})
}

// The status page is right while all is well, and during a crash of the primary: who is down, who leads in which view, what
// happened, and a request on its way through those who are left. It runs under its own security policy without a complaint.
func TestTheStatusPageIsRightDuringACrashOfThePrimary(t *testing.T) {
	b := openBrowser(t)
	s := &site{t: t}
	dir := t.TempDir()
	front, status := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", dir, "--nfs", front, "--status", status, "--durability", "os")
	work(t, front)
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	logged := chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
		return err
	})
	for _, action := range []chromedp.Action[chromedp.Void]{logged, chromedp.Navigate("http://" + status + "/")} {
		if _, err := chromedp.Run(ctx, action); err != nil {
			t.Fatal(err)
		}
	}
	const healths = `[...document.querySelectorAll("#replicas tr")].map(r => r.children[2].innerText).join(" ")`
	b.await("four good replicas", healths+` === Array(4).fill("good").join(" ")`)
	b.await("the verdict", `document.querySelector("#verdict.good")?.innerText.startsWith("Good: all 4 replicas work, any 1 may fail. View ")`)
	// Figure 1 with four replicas: to the primary, to 3 backups, 3 × 3 prepares, 4 × 3 commits, 4 replies.
	const arrows = `["request", "pre-prepare", "prepare", "commit", "reply"].map(k => document.querySelectorAll("#flow line." + k + ":not(.lost)").length).join(" ")`
	b.await("a request's messages as in the paper's figure 1", arrows+` === "1 3 9 12 4"`)
	b.await("throughput and latency over time", `["throughput", "latency", "calls", "times"].every(id => document.querySelector("#" + id + " polyline")?.points.length > 3)`)

	// On a busy machine the group may have left view 0 by now, and may leave the next ones, too.
	before := s.status(dir)
	dead := before.Primary
	var left []string
	for i := range uint32(4) {
		if i != dead {
			left = append(left, fmt.Sprint(i))
		}
	}
	others := left[0] + ", " + left[1] + " and " + left[2]
	signalReplica(t, dir, dead, syscall.SIGKILL)
	b.await("the dead primary", fmt.Sprintf(`document.querySelector('#replicas tr[data-replica="%d"] .health')?.innerText === "down"`, dead))
	b.await("the verdict", fmt.Sprintf(`/^Working, with 3 of 4 replicas; 0 more may fail. Replica %d is down. View \d+, primary: replica [^%d]\.$/.test(document.querySelector("#verdict.degraded")?.innerText)`, dead, dead))
	var after statusReport
	awaitCondition(t, "another primary", func() bool { after = s.status(dir); return after.Primary != dead && after.View > before.View }, func() string { return fmt.Sprintf("%+v", after) })
	b.await("its successor", fmt.Sprintf(`document.querySelector("#replicas tr.primary.up")?.dataset.replica !== "%d" && document.querySelectorAll("#replicas tr.primary").length === 1`, dead))
	timeline := `document.querySelector("#timeline").innerText`
	b.await("the timeline to tell of the new view", fmt.Sprintf(timeline+`.includes("view %d began, replica %d leads (says replicas %s)")`, after.View, after.Primary, others))
	b.await("the timeline to tell why", fmt.Sprintf(`/left for view %d: (timeout|stalled)/.test(`+timeline+`)`, after.View))
	b.await("the timeline to tell of the lost links", fmt.Sprintf(timeline+`.includes("replicas %s lost the link to replica %d")`, others, dead))
	b.await("a request's way without the dead replica", arrows+` === "1 2 4 6 3"`)
	b.await("the dead replica's lane", `document.querySelectorAll("#flow .lane.down").length === 1`)
	if path := os.Getenv("BFSD_SCREENSHOT"); path != "" {
		b.screenshot(path)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(b.complaints, "\n"))
	}
}

// work has a user change something all the time, until the test ends. What the crash of a primary costs is a pause.
func work(t *testing.T, front string) {
	t.Helper()
	c, err := nfsclient.Dial(t.Context(), front)
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.Mount(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		pause := time.NewTicker(2 * time.Millisecond) // a user who thinks
		defer pause.Stop()
		for i := 0; ; i++ {
			if _, err := c.Mkdir(ctx, root, fmt.Sprint("d", i), nfs3.Sattr{}); err != nil {
				ended <- err
				return
			}
			if _, err := c.Lookup(ctx, root, fmt.Sprint("d", i)); err != nil {
				ended <- err
				return
			}
			select {
			case <-pause.C:
			case <-ctx.Done():
				ended <- nil
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Error("the user got an error:", err)
		}
		c.Close()
	})
}

func (b *browser) screenshot(path string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
