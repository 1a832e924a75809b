package conformance

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

// share is the part of the matrices that runs unless the long form is asked for: one case in so many, drawn anew each time, so
// that all are run in time.
const share = 16

var seedFlag = flag.Uint64("seed", 0, "draw as the run with this seed did; 0: anew")

// seed is what everything random in a test comes from.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := *seedFlag
	for n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed %d", n)
	return n
}

// TestKernelMount runs everything on a kernel mount of an unreplicated server: the file system is the same behind replicas, and
// answers sooner.
func TestKernelMount(t *testing.T) {
	c := plainSite(t)
	t.Run("POSIX", func(t *testing.T) { c.checkMatrices(t) })
	t.Run("POSIX without caches", func(t *testing.T) { c.withoutCaches().checkMatrices(t) })
	t.Run("file I/O", func(t *testing.T) { c.checkFileIO(t) })
	t.Run("special", func(t *testing.T) { c.checkSpecials(t) })
	t.Run("programs of the mount", func(t *testing.T) { c.checkExecution(t) })
	t.Run("read-only mount", func(t *testing.T) { c.checkReadOnly(t) })
	t.Run("full file system", func(t *testing.T) { c.checkFull(t) })
	t.Run("random", func(t *testing.T) {
		if long() {
			c.checkRandom(t, 20)
		} else {
			c.checkRandom(t, 1)
		}
	})
}

// matrices are all cases that are not random.
var matrices = []struct {
	name  string
	cases func() []Case
}{
	{"paths", pathErrors},
	{"files", filePermissions},
	{"special files", specialPermissions},
	{"directories", directoryPermissions},
	{"prefixes", prefixPermissions},
	{"sticky", sticky},
	{"chown", chownCases},
	{"chmod", chmodCases},
	{"set-id", setIDCases},
	{"new objects", newObjects},
	{"sizes", sizeCases},
	{"utimens", utimensCases},
	{"rename", renameCases},
	{"link", linkCases},
	{"remove", removeCases},
	{"open", openCases},
	{"symlink", symlinkCases},
	{"times", timeCases},
}

func (c *client) checkMatrices(t *testing.T) {
	met := make([]int, len(c.known))
	draw := rand.New(rand.NewPCG(seed(t), 0))
	for _, matrix := range matrices {
		t.Run(matrix.name, func(t *testing.T) {
			start := time.Now()
			var cases []Case
			for _, one := range matrix.cases() {
				if long() || draw.IntN(share) == 0 {
					cases = append(cases, one)
				}
			}
			c.check(t, cases, met)
			t.Logf("%d cases in %v", len(cases), time.Since(start).Round(time.Millisecond))
		})
	}
	for i, n := range met {
		if n == 0 && long() && !t.Failed() {
			t.Errorf("no case meets this difference any more: %s", c.known[i].Reason)
		}
	}
}
