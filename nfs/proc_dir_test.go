package nfs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

func fsLimit(inodes uint64) fsstate.Config { return fsstate.Config{MaxInodes: inodes} }

// resokSize is the encoded size of results without their status: of READDIR3resok or READDIRPLUS3resok.
func resokSize(m nfs3.Message) int {
	var e xdr.Encoder
	m.Encode(&e)
	return e.Len() - 4
}

// crowd makes a directory of n files whose names are 1 to 255 bytes long, and returns their names.
func (e *env) crowd(n int) (nfs3.FH, []string) {
	e.t.Helper()
	d := e.dir("crowd")
	names := make([]string, n)
	for i := range names {
		name := fmt.Sprintf("%d", i)
		if pad := (i * 37) % 256; pad > len(name) {
			name += strings.Repeat("x", pad-len(name))
		}
		names[i] = name
		ok[*nfs3.CreateRes](e.t)(e.user.Create(e.ctx, d, name, nfs3.Guarded, mode(0o600)))
	}
	return d, names
}

func sorted(names []string, more ...string) []string {
	all := append(slices.Clone(names), more...)
	slices.Sort(all)
	return all
}

func TestREADDIR(t *testing.T) {
	e := start(t)
	var verf [8]byte
	d, names := e.crowd(200)
	t.Run("OK/every count", func(t *testing.T) {
		for _, count := range []uint32{500, 512, 1000, 4096, 8192, 1 << 20, 1<<32 - 1} {
			var got []string
			for cookie := uint64(0); ; {
				res := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, cookie, verf, count))
				if n := resokSize(res); uint64(n) > uint64(count) {
					t.Fatalf("READDIR3resok of %d bytes for a count of %d", n, count)
				}
				for _, entry := range res.Entries {
					got, cookie = append(got, entry.Name), entry.Cookie
				}
				if res.Dir == nil || *res.Dir != *e.attr(d) {
					t.Fatalf("directory's attributes %+v", res.Dir)
				}
				if verf = res.CookieVerf; res.EOF {
					break
				}
			}
			if diff := cmp.Diff(sorted(names, ".", ".."), sorted(got)); diff != "" {
				t.Errorf("count %d (-want +got):\n%s", count, diff)
			}
		}
	})
	t.Run("OK/count is used to the byte", func(t *testing.T) {
		small := e.dir("small")
		ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, small, "12345", nfs3.Guarded, mode(0o600)))
		whole := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, small, 0, verf, 4096))
		size := uint32(resokSize(whole))
		if res := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, small, 0, verf, size)); len(res.Entries) != 3 || !res.EOF {
			t.Errorf("count %d: %d entries, eof %t; want all 3", size, len(res.Entries), res.EOF)
		}
		if res := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, small, 0, verf, size-1)); len(res.Entries) != 2 || res.EOF {
			t.Errorf("count %d: %d entries, eof %t; want 2 and more to come", size-1, len(res.Entries), res.EOF)
		}
	})
	t.Run("OK/file ids are those of GETATTR", func(t *testing.T) {
		res := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, 0, verf, 1<<20))
		for _, entry := range res.Entries {
			found := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, d, entry.Name))
			if found.Attr.FileID != entry.FileID {
				t.Errorf("%q: id %d in the listing, %d by itself", entry.Name, entry.FileID, found.Attr.FileID)
			}
		}
	})
	t.Run("OK/what stays is listed once though others go and come", func(t *testing.T) {
		seen := map[string]int{}
		for cookie, turn := uint64(0), 0; ; turn++ {
			res := ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, cookie, verf, 2000))
			for _, entry := range res.Entries {
				seen[entry.Name]++
				cookie = entry.Cookie
			}
			if res.EOF {
				break
			}
			ok[*nfs3.WccRes](t)(e.user.Remove(e.ctx, d, names[turn]))
			ok[*nfs3.CreateRes](t)(e.user.Create(e.ctx, d, fmt.Sprintf("new %d", turn), nfs3.Guarded, mode(0o600)))
			names[turn] = ""
		}
		for _, name := range names {
			if name != "" && seen[name] != 1 {
				t.Errorf("%q was listed %d times", name, seen[name])
			}
		}
	})
	t.Run("TOOSMALL", func(t *testing.T) {
		for _, count := range []uint32{0, 1, 103, 104, 131} {
			_, err := e.user.ReadDir(e.ctx, d, 0, verf, count)
			want(t, err, nfs3.ErrTooSmall)
		}
		ok[*nfs3.ReadDirRes](t)(e.user.ReadDir(e.ctx, d, 0, verf, 132)) // "." and nothing else
	})
	t.Run("BAD_COOKIE", func(t *testing.T) {
		_, err := e.user.ReadDir(e.ctx, d, 1<<63, verf, 4096)
		want(t, err, nfs3.ErrBadCookie)
	})
	t.Run("NOTDIR", func(t *testing.T) {
		_, err := e.user.ReadDir(e.ctx, e.file("f", "x"), 0, verf, 4096)
		want(t, err, nfs3.ErrNotDir)
	})
	t.Run("ACCES", func(t *testing.T) {
		closed := e.dir("closed")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, closed, mode(0o700), nil))
		_, err := e.other.ReadDir(e.ctx, closed, 0, verf, 4096)
		want(t, err, nfs3.ErrAcces)
	})
}

func TestREADDIRPLUS(t *testing.T) {
	e := start(t)
	var verf [8]byte
	d, names := e.crowd(200)
	t.Run("OK/every maxcount and dircount", func(t *testing.T) {
		for _, counts := range [][2]uint32{{512, 8192}, {4096, 1000}, {1 << 20, 1 << 20}, {300, 1 << 20}, {1<<32 - 1, 600}} {
			var got []string
			for cookie := uint64(0); ; {
				res := ok[*nfs3.ReadDirPlusRes](t)(e.user.ReadDirPlus(e.ctx, d, cookie, verf, counts[0], counts[1]))
				if n := resokSize(res); uint64(n) > uint64(counts[1]) {
					t.Fatalf("READDIRPLUS3resok of %d bytes for a maxcount of %d", n, counts[1])
				}
				plain := &nfs3.ReadDirRes{}
				for _, entry := range res.Entries {
					got, cookie = append(got, entry.Name), entry.Cookie
					plain.Entries = append(plain.Entries, nfs3.Entry{Name: entry.Name})
				}
				if n := resokSize(plain) - resokSize(&nfs3.ReadDirRes{}); uint64(n) > uint64(counts[0]) {
					t.Fatalf("entries of %d bytes for a dircount of %d", n, counts[0])
				}
				if verf = res.CookieVerf; res.EOF {
					break
				}
			}
			if diff := cmp.Diff(sorted(names, ".", ".."), sorted(got)); diff != "" {
				t.Errorf("dircount %d, maxcount %d (-want +got):\n%s", counts[0], counts[1], diff)
			}
		}
	})
	t.Run("OK/attributes and handles are those of LOOKUP", func(t *testing.T) {
		for _, entry := range ok[[]nfs3.Entry](t)(e.user.ReadDirAll(e.ctx, d)) {
			found := ok[*nfs3.LookupRes](t)(e.user.Lookup(e.ctx, d, entry.Name))
			if string(found.Object) != string(entry.Object) || entry.Attr == nil || *entry.Attr != *found.Attr {
				t.Errorf("%q: %x %+v in the listing, %x %+v by itself", entry.Name, entry.Object, entry.Attr, found.Object, found.Attr)
			}
		}
	})
	t.Run("OK/maxcount is used to the byte", func(t *testing.T) {
		small := e.dir("small")
		whole := ok[*nfs3.ReadDirPlusRes](t)(e.user.ReadDirPlus(e.ctx, small, 0, verf, 4096, 4096))
		size := uint32(resokSize(whole))
		if res := ok[*nfs3.ReadDirPlusRes](t)(e.user.ReadDirPlus(e.ctx, small, 0, verf, 4096, size)); len(res.Entries) != 2 || !res.EOF {
			t.Errorf("maxcount %d: %d entries, eof %t; want both", size, len(res.Entries), res.EOF)
		}
		if res := ok[*nfs3.ReadDirPlusRes](t)(e.user.ReadDirPlus(e.ctx, small, 0, verf, 4096, size-1)); len(res.Entries) != 1 || res.EOF {
			t.Errorf("maxcount %d: %d entries, eof %t; want 1 and more to come", size-1, len(res.Entries), res.EOF)
		}
	})
	t.Run("TOOSMALL", func(t *testing.T) {
		for _, counts := range [][2]uint32{{4096, 0}, {4096, 200}, {0, 4096}, {20, 4096}} {
			_, err := e.user.ReadDirPlus(e.ctx, d, 0, verf, counts[0], counts[1])
			want(t, err, nfs3.ErrTooSmall)
		}
	})
	t.Run("BAD_COOKIE", func(t *testing.T) {
		_, err := e.user.ReadDirPlus(e.ctx, d, 1<<63, verf, 4096, 4096)
		want(t, err, nfs3.ErrBadCookie)
	})
	t.Run("NOTDIR", func(t *testing.T) {
		_, err := e.user.ReadDirPlus(e.ctx, e.file("f", "x"), 0, verf, 4096, 4096)
		want(t, err, nfs3.ErrNotDir)
	})
}
