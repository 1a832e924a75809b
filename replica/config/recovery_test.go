package config

import (
	"strings"
	"testing"
)

// Replicas recover where a start keeps what was said, and not more often than they can.
func TestRecoveryPeriod(t *testing.T) {
	for _, tt := range []struct {
		durability Durability
		period     int
		says       string // "": it is valid
	}{
		{Disk, 0, ""},
		{Memory, 0, ""},
		{Disk, 20, ""},
		{OS, 86400, ""},
		{Disk, 19, "recovery.period_s is 19: it must be 20 to"},
		{Disk, -1, "recovery.period_s is -1"},
		{Disk, 1 << 40, "recovery.period_s"},
		{Memory, 3600, "a start forgets everything"},
	} {
		o := Options{Durability: tt.durability, Recovery: Recovery{PeriodS: tt.period}}
		for _, host := range []string{"a", "b", "c", "d"} {
			o.Replicas = append(o.Replicas, Addresses{Peer: host + ":1"})
		}
		c, _, err := Generate(o)
		switch {
		case tt.says == "" && err != nil, tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s, %d: %v, want %q", tt.durability, tt.period, err, tt.says)
		case err == nil:
			data, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Parse(data); err != nil || again.Recovery != c.Recovery {
				t.Errorf("%s, %d: read again it is %v (%v)", tt.durability, tt.period, again, err)
			}
		}
	}
}
