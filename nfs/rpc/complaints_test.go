package rpc

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestComplaints_areLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var c complaints
		for range 100 {
			c.warn(log, "peer misbehaves")
		}
		time.Sleep(complaintInterval) // of the fake clock
		c.warn(log, "peer misbehaves")
		time.Sleep(complaintInterval)
		c.warn(log, "peer misbehaves")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3:\n%s", len(lines), out.String())
		}
		for i, omitted := range []bool{false, true, false} {
			if got := strings.Contains(lines[i], "omitted_before=99"); got != omitted {
				t.Errorf("line %d says that 99 were omitted: %t, want %t: %s", i, got, omitted, lines[i])
			}
		}
	})
}
