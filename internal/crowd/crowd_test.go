package crowd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestACrowdGetsFewThreadsEach(t *testing.T) {
	for _, tc := range []struct {
		processes, cores int
		want             []string
	}{
		{5, 2, []string{"GOMAXPROCS=1"}},
		{5, 4, []string{"GOMAXPROCS=2"}},
		{11, 2, []string{"GOMAXPROCS=1"}},
		{5, 5, nil},
		{2, 2, nil},
	} {
		if diff := cmp.Diff(tc.want, environ(tc.processes, tc.cores)); diff != "" {
			t.Errorf("%d processes on %d cores: %s", tc.processes, tc.cores, diff)
		}
	}
}
