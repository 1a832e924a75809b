package sysmon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnviron(t *testing.T) {
	for _, tc := range []struct{ env, want []string }{
		{nil, []string{"GODEBUG=" + awake}},
		{[]string{"A=1", "GODEBUG=", "B=2"}, []string{"A=1", "B=2", "GODEBUG=" + awake}},
		{[]string{"GODEBUG=gctrace=1"}, []string{"GODEBUG=gctrace=1," + awake}},
		{[]string{"GODEBUG=gctrace=1,schedtrace=0"}, []string{"GODEBUG=gctrace=1,schedtrace=0"}},
		{[]string{"GODEBUG=schedtrace=5", "GODEBUG="}, []string{"GODEBUG=" + awake}},
	} {
		if diff := cmp.Diff(tc.want, Environ(tc.env)); diff != "" {
			t.Errorf("%q: %s", tc.env, diff)
		}
	}
}

const roleVariable = "SYSMON_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		if err := Restart(); err != nil {
			panic(err)
		}
		fmt.Printf("%d\n%s\n%s", os.Getpid(), os.Getenv(variable), strings.Join(os.Args[1:], " "))
		return
	}
	os.Exit(m.Run())
}

// A process that starts itself again has the setting, its arguments, its standard streams and its id.
func TestRestart(t *testing.T) {
	for _, tc := range []struct{ godebug, want string }{
		{"", awake},
		{"asyncpreemptoff=0", "asyncpreemptoff=0," + awake},
		{"schedtrace=0", "schedtrace=0"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it could start itself for ever
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "one", "two")
		cmd.Env = append(os.Environ(), roleVariable+"=child", variable+"="+tc.godebug)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(out), fmt.Sprintf("%d\n%s\none two", cmd.Process.Pid, tc.want); got != want {
			t.Errorf("GODEBUG=%s: %q, want %q", tc.godebug, got, want)
		}
	}
}
