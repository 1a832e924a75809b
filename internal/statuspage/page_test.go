package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bfsd/replica"
	"bfsd/replica/config"
)

func testCluster(n int) *config.Cluster {
	c := &config.Cluster{}
	for i := range n {
		c.Replicas = append(c.Replicas, config.Replica{
			Peer: fmt.Sprintf("r%d.example:1", i), NFS: fmt.Sprintf("r%d.example:2", i), Status: fmt.Sprintf("127.0.0.1:%d", 3+i),
		})
	}
	return c
}

// healthy answers for a replica of a group that is well.
func healthy(_ context.Context, id int) (replica.Report, error) {
	return replica.Report{Status: replica.Status{ID: uint32(id), Executed: 10, Committed: 10, Root: "ab", Active: true}}, nil //nolint:gosec // an index
}

func ask(h http.Handler, method, host, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	h.ServeHTTP(w, r)
	return w
}

// Every answer carries the headers that bind the browser, the page loads nothing from elsewhere, and nothing can be changed.
func TestThePageIsServedReadOnlyAndBound(t *testing.T) {
	h := Handler(Config{Cluster: testCluster(4), Fetch: healthy})
	for _, path := range []string{"/", "/page.css", "/page.js", "/draw.js", "/icon.svg", "/api/cluster"} {
		w := ask(h, http.MethodGet, "127.0.0.1:12080", path)
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
		for header, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q", path, header, got)
			}
		}
		if strings.Contains(w.Body.String(), "://") && !strings.Contains(path, "draw") && !strings.Contains(path, "svg") {
			t.Errorf("%s names another address", path)
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			if w := ask(h, method, "127.0.0.1", path); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
	if w := ask(h, http.MethodGet, "127.0.0.1", "/static/page.js"); w.Code != http.StatusNotFound {
		t.Errorf("a path that is not there: %d", w.Code)
	}
}

// Script and markup never mix: no way from a string to markup or code is used, nor inline script, style or handlers.
func TestThePageMakesNoMarkupOfText(t *testing.T) {
	h := Handler(Config{Cluster: testCluster(4), Fetch: healthy})
	for path, forbidden := range map[string]string{
		"/page.js": `innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|setTimeout\("|srcdoc|createContextualFragment`,
		"/draw.js": `innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|setTimeout\("|srcdoc|createContextualFragment`,
		"/":        `<script>|<style|style=| on[a-z]+=|javascript:`,
	} {
		body := ask(h, http.MethodGet, "localhost", path).Body.String()
		if found := regexp.MustCompile(forbidden).FindString(body); found != "" || body == "" {
			t.Errorf("%s (%d bytes) has %q", path, len(body), found)
		}
	}
}

// Names that are not the cluster's are refused: one that somebody had resolve to this address would let his page read this one.
func TestOtherNamesAreRefused(t *testing.T) {
	h := Handler(Config{Cluster: testCluster(4), Fetch: healthy})
	for host, want := range map[string]int{
		"127.0.0.1:12080": 200, "localhost:12080": 200, "[::1]:80": 200, "::1": 200, "r2.example:3": 200, "R2.EXAMPLE": 200, "10.1.2.3": 200,
		"evil.example:12080": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest, "127.0.0.1.evil.example": http.StatusMisdirectedRequest,
	} {
		if w := ask(h, http.MethodGet, host, "/api/cluster"); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}

// However many look, the replicas are asked at most twice a second, and one that does not answer holds nobody up for long.
func TestReplicasAreAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		h := Handler(Config{Cluster: testCluster(4), Fetch: func(ctx context.Context, id int) (replica.Report, error) {
			if id == 3 {
				<-ctx.Done()
				return replica.Report{}, ctx.Err()
			}
			if id == 0 {
				asked++
			}
			return healthy(ctx, id)
		}})
		began := time.Now()
		for range 100 {
			ask(h, http.MethodGet, "localhost", "/api/cluster")
		}
		if asked != 1 || time.Since(began) > askTimeout {
			t.Errorf("replica 0 was asked %d times in %v", asked, time.Since(began))
		}
		time.Sleep(freshFor)
		var p Picture
		if err := json.Unmarshal(ask(h, http.MethodGet, "localhost", "/api/cluster").Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if asked != 2 || p.Up != 3 || p.Replicas[3].Health != down || p.Health != degraded {
			t.Errorf("asked %d times: %+v", asked, p)
		}
	})
}

// What a replica sends is bounded, must be JSON, and does not send the server elsewhere.
func TestAnswersAreChecked(t *testing.T) {
	var answerWith http.HandlerFunc
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answerWith(w, r) }))
	defer s.Close()
	c := testCluster(4)
	c.Replicas[0].Status, c.Replicas[1].Status = s.Listener.Addr().String(), ""
	fetch := overHTTP(Config{Cluster: c})
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			part := strings.Repeat(" ", 1<<16)
			for range 100 {
				if _, err := w.Write([]byte(part)); err != nil {
					return
				}
			}
		}, "longer than"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "its answer is none"},
		"error":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "503"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "elsewhere"},
	} {
		answerWith = tt.answer
		if _, err := fetch(t.Context(), 0); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := fetch(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "no status address") {
		t.Errorf("a replica without a status address: %v", err)
	}
	answerWith = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":{"view":7}}`) }
	if r, err := fetch(t.Context(), 0); err != nil || r.Status.View != 7 {
		t.Errorf("a good answer: %+v, %v", r, err)
	}
}

var errGone = errors.New("connection refused")
