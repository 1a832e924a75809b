package replica

import (
	"slices"
	"sync"
	"time"
)

// LoadSample is what a replica did in one second.
type LoadSample struct {
	AtMs     int64   `json:"at_ms"`     // Unix time of its end
	Executed float64 `json:"executed"`  // ordered operations a second
	Queried  float64 `json:"queried"`   // operations a second answered without ordering
	CommitUs float64 `json:"commit_us"` // mean time from a PRE-PREPARE to the commitment of its batch; 0: there was none
	View     uint64  `json:"view"`
}

// load counts what the loop does, and keeps the last two minutes of it. The loop alone counts; anybody may read.
type load struct {
	executed, queried uint64
	commits           uint64
	commitTime        time.Duration
	since             time.Time

	mu      sync.Mutex
	samples []LoadSample
}

const (
	loadEvery = time.Second
	loadKept  = 120
)

// observe takes a sample when a second has passed, and says whether it did.
func (l *load) observe(now time.Time, view uint64) bool {
	if l.since.IsZero() {
		l.since = now
	}
	took := now.Sub(l.since)
	if took < loadEvery {
		return false
	}
	s := LoadSample{
		AtMs: now.UnixMilli(), View: view,
		Executed: float64(l.executed) / took.Seconds(), Queried: float64(l.queried) / took.Seconds(),
	}
	if l.commits > 0 {
		s.CommitUs = float64(l.commitTime.Microseconds()) / float64(l.commits)
	}
	l.executed, l.queried, l.commits, l.commitTime, l.since = 0, 0, 0, 0, now
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == loadKept {
		l.samples = slices.Delete(l.samples, 0, 1)
	}
	l.samples = append(l.samples, s)
	return true
}

func (l *load) read() []LoadSample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.samples)
}
