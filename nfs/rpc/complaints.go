package rpc

import (
	"log/slog"
	"sync"
	"time"
)

// complaintInterval is the least time between two lines in the log that peers can cause at will: a hostile one shall not
// fill the disk.
const complaintInterval = time.Second

// complaints logs what peers do wrong, and counts what it leaves out.
type complaints struct {
	mu      sync.Mutex
	last    time.Time
	omitted int
}

// warn logs a line, or counts it if the last one was only just logged.
func (c *complaints) warn(log *slog.Logger, msg string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.IsZero() && time.Since(c.last) < complaintInterval {
		c.omitted++
		return
	}
	if c.omitted > 0 {
		args = append(args, "omitted_before", c.omitted)
	}
	c.last, c.omitted = time.Now(), 0
	log.Warn(msg, args...)
}
