package crowd

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bfsd/replica/config"
)

func TestACrowdGetsFewThreadsEach(t *testing.T) {
	for _, tc := range []struct {
		processes, cores int
		durability       config.Durability
		want             []string
	}{
		{5, 2, config.Memory, []string{"GOMAXPROCS=1"}},
		{5, 4, config.Memory, []string{"GOMAXPROCS=2"}},
		{11, 2, config.Memory, []string{"GOMAXPROCS=1"}},
		{5, 5, config.Memory, nil},
		{2, 2, config.Memory, nil},
		{5, 2, config.Disk, nil},
		{5, 2, config.OS, nil},
	} {
		if diff := cmp.Diff(tc.want, environ(tc.processes, tc.cores, tc.durability)); diff != "" {
			t.Errorf("%d processes on %d cores, %s: %s", tc.processes, tc.cores, tc.durability, diff)
		}
	}
}
