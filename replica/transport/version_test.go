package transport

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// logBuffer is a log that many goroutines write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Two members speak the newest version that both know; without one they make no link, and each side's log says why.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		name           string
		dials, accepts Versions
		speak          string // "": nothing
	}{
		{"the same", Versions{1, 1}, Versions{1, 1}, "bfsd/1"},
		{"the one that dials is newer", Versions{1, 2}, Versions{1, 1}, "bfsd/1"},
		{"the one that accepts is newer", Versions{1, 1}, Versions{1, 2}, "bfsd/1"},
		{"two in common", Versions{1, 3}, Versions{2, 4}, "bfsd/3"},
		{"the one that dials is too new", Versions{2, 3}, Versions{1, 1}, ""},
		{"the one that accepts is too new", Versions{1, 1}, Versions{2, 3}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGroup(t, 1, "gateway")
			speaking := func(v Versions) *logBuffer {
				b := &logBuffer{}
				g.quick = func(c *Config) {
					c.Versions, c.Log = v, slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
				}
				return b
			}
			inside := speaking(tt.accepts)
			replica := g.start(t, replicaP(0), ignore)
			outside := speaking(tt.dials)
			client := g.start(t, clientP(100), ignore)
			if tt.speak != "" {
				eventually(t, "a link", func() bool { return replica.Connected(clientP(100)) && client.Connected(replicaP(0)) })
				if !strings.Contains(inside.String(), "protocol="+tt.speak) {
					t.Errorf("they speak not %s: %s", tt.speak, inside)
				}
				return
			}
			eventually(t, "several attempts", func() bool { return replica.Stats().HandshakesRefused >= 3 })
			for side, want := range map[*logBuffer][]string{
				inside:  {"no version of the protocol in common", tt.accepts.String(), "bfsd --version"},
				outside: {"no version of the protocol in common", tt.dials.String(), "bfsd --version"},
			} {
				for _, text := range want {
					eventually(t, "the log says "+text, func() bool { return strings.Contains(side.String(), text) })
				}
				// One says so; before it, the side that dials may have had a connection that broke before the refusal was read.
				if n := strings.Count(side.String(), "level=WARN"); n < 1 || n > 2 || n == 2 && side == inside {
					t.Errorf("%d warnings: %s", n, side)
				}
			}
			if client.Connected(replicaP(0)) || replica.Connected(clientP(100)) {
				t.Error("there is a link")
			}
		})
	}
}

// What a stranger offers is not believed to be short, or a version at all.
func TestOfferedIsBounded(t *testing.T) {
	v := Versions{1, 1}
	long := strings.Split(strings.Repeat("bfsd/7,", 1000), ",")
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"h2", "bfsd/x", "bfsd/-1", "bfsd/99999999999999999999"}, ""},
		{[]string{"bfsd/1", "bfsd/2"}, ""},
		{[]string{"bfsd/3", "bfsd/2"}, "3, 2"},
		{long, "7, 7, 7, 7, 7, 7, 7, 7"},
	} {
		if got := v.offered(tt.names); got != tt.want {
			t.Errorf("of %.3q …: %q, want %q", tt.names, got, tt.want)
		}
	}
}
