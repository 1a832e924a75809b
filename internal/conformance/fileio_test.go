package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// histories draws what is done to a file. Offsets are often near those where a page, a transfer or the file begins and ends.
func histories(sizeMax int64, steps int) *rapid.Generator[[]IO] {
	do := rapid.SampledFrom([]string{
		"write", "write", "write", "write", "read", "read", "read", "append", "truncate", "truncate", "truncpath", "opentrunc",
		"mapwrite", "mapwrite", "mapread", "dwrite", "dread", "copy", "fsync", "fdatasync", "reopen", "dropcaches", "other", "overwrite",
	})
	offset := rapid.Custom(func(t *rapid.T) int64 {
		unit := rapid.SampledFrom([]int64{1, 512, 4096, 4096, 65536}).Draw(t, "unit")
		near := rapid.SampledFrom([]int64{0, 0, 0, -1, 1, 2}).Draw(t, "near")
		return max(0, rapid.Int64Range(0, sizeMax/unit).Draw(t, "times")*unit+near)
	})
	length := rapid.OneOf(rapid.IntRange(0, 64), rapid.IntRange(1, 9000), rapid.SampledFrom([]int{4096, 8192, 65536, 65537, 150_000}))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) IO {
		return IO{do.Draw(t, "do"), offset.Draw(t, "at"), length.Draw(t, "len")}
	}), 1, steps)
}

// fileIOMounts are ways to mount, each of which makes the client do its reading and writing otherwise.
var fileIOMounts = map[string][]string{
	"default":         {"nosharecache"},
	"small transfers": {"nosharecache", "rsize=4096", "wsize=8192"},
	"no attributes":   {"nosharecache", "noac"},
	"synchronous":     {"nosharecache", "sync"},
}

// checkFileIO runs random histories of files, several at once, and shrinks the first that goes wrong.
func (c *client) checkFileIO(t *testing.T) {
	rounds, steps, size := 1, 60, int64(300_000)
	if long() {
		rounds, steps, size = 20, 400, 3_000_000
	}
	other := c.mountServer("nosharecache", "actimeo=0")
	dir := "files"
	c.script("mkdir " + c.mount + "/" + dir)
	for how, options := range fileIOMounts {
		mount := c.mountServer(options...)
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			var number atomic.Int64
			for range rounds {
				rapid.Check(t, func(rt *rapid.T) {
					file := fmt.Sprintf("/%s/%s%d", dir, strings.ReplaceAll(how, " ", "-"), number.Add(1))
					in := FileIORequest{mount + file, other + file, histories(size, steps).Draw(rt, "history")}
					var result FileIOResult
					if err := c.guest.Call(t.Context(), "conformance.fileio", in, &result, nil); err != nil {
						rt.Fatal(err)
					}
					if result.Step >= 0 {
						rt.Fatalf("step %d of %v: %s", result.Step, in.Steps, result.Text)
					}
				})
			}
		})
	}
}

// The checker must see a file that is not what was written to it.
func TestFileIOFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	run := func(other string, steps ...IO) *FileIOResult {
		t.Helper()
		in, err := json.Marshal(FileIORequest{dir + "/file", other, steps})
		if err != nil {
			t.Fatal(err)
		}
		result, err := runFileIO(t.Context(), in, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return result.(*FileIOResult)
	}
	steps := []IO{
		{"write", 5000, 100},
		{"append", 0, 10},
		{"truncate", 4000, 0},
		{"mapwrite", 100, 9},
		{"truncpath", 9000, 0},
		{"copy", 5000, 3000},
		{"read", 3999, 4000},
		{"mapread", 4990, 20},
		{"fsync", 0, 0},
		{"fdatasync", 0, 0},
		{"reopen", 0, 0},
		{"dropcaches", 0, 0},
		{"opentrunc", 0, 0},
		{"write", 0, 4},
	}
	if r := run(dir+"/file", append(steps, IO{"other", 0, 0}, IO{"overwrite", 2, 9})...); r.Step != -1 {
		t.Errorf("of a good file: step %d: %s", r.Step, r.Text)
	}
	for what, content := range map[string]string{"another byte": "\x00\x00\x00\x00", "too short": "", "too long": "\x00\x00\x00\x00\x00"} {
		if err := os.WriteFile(dir+"/stranger", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := run(dir+"/stranger", append(steps, IO{"other", 0, 0})...); r.Step != len(steps) {
			t.Errorf("%s: not found: %+v", what, r)
		}
		if r := run(dir+"/stranger", steps...); r.Step != len(steps) {
			t.Errorf("%s: not found at the end: %+v", what, r)
		}
	}
}
