package nfs_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

func random(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = src.Read(b) // never fails
	return b
}

func TestREAD(t *testing.T) {
	e := start(t)
	fh := e.file("f", "0123456789")
	for _, tc := range []struct {
		name   string
		offset uint64
		count  uint32
		data   string
		eof    bool
	}{
		{"OK/whole", 0, 10, "0123456789", true},
		{"OK/beginning", 0, 4, "0123", false},
		{"OK/more than there is", 5, 100, "56789", true},
		{"OK/at the end", 10, 5, "", true},
		{"OK/past the end", 1 << 40, 5, "", true},
		{"OK/nothing", 3, 0, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := ok[*nfs3.ReadRes](t)(e.user.Read(e.ctx, fh, tc.offset, tc.count))
			if string(res.Data) != tc.data || res.Count != uint32(len(tc.data)) || res.EOF != tc.eof {
				t.Errorf("%q, count %d, eof %t; want %q, eof %t", res.Data, res.Count, res.EOF, tc.data, tc.eof)
			}
			if res.Attr == nil || *res.Attr != *e.attr(fh) {
				t.Errorf("attributes %+v", res.Attr)
			}
		})
	}
	t.Run("OK/no more than rtmax", func(t *testing.T) {
		data := random(3 << 20)
		big := ok[nfs3.FH](t)(e.user.WriteFile(e.ctx, e.root, "big", data, 0o600))
		res := ok[*nfs3.ReadRes](t)(e.user.Read(e.ctx, big, 1, 1<<32-1))
		if !bytes.Equal(res.Data, data[1:1+1<<20]) || res.EOF {
			t.Errorf("%d bytes, eof %t; want the 1 MiB after the first byte", len(res.Data), res.EOF)
		}
		all := ok[[]byte](t)(e.user.ReadFile(e.ctx, big))
		if !bytes.Equal(all, data) {
			t.Error("the file differs from what was written")
		}
	})
	t.Run("OK/owner without permission", func(t *testing.T) {
		own := e.file("own", "x")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, own, mode(0), nil))
		ok[*nfs3.ReadRes](t)(e.user.Read(e.ctx, own, 0, 1))
	})
	t.Run("ACCES", func(t *testing.T) {
		private := e.file("private", "x")
		ok[*nfs3.WccRes](t)(e.user.SetAttr(e.ctx, private, mode(0o600), nil))
		res, err := e.other.Read(e.ctx, private, 0, 1)
		want(t, err, nfs3.ErrAcces)
		if res.Attr == nil {
			t.Error("no attributes")
		}
	})
	t.Run("INVAL/directory", func(t *testing.T) {
		_, err := e.user.Read(e.ctx, e.dir("d"), 0, 1)
		want(t, err, nfs3.ErrInval)
	})
}

func TestWRITE(t *testing.T) {
	e := start(t)
	for _, stable := range []nfs3.StableHow{nfs3.Unstable, nfs3.DataSync, nfs3.FileSync} {
		t.Run("OK/"+[]string{"UNSTABLE", "DATA_SYNC", "FILE_SYNC"}[stable], func(t *testing.T) {
			fh := e.file("f"+string(rune('0'+stable)), "0123456789")
			before := e.attr(fh)
			res := ok[*nfs3.WriteRes](t)(e.user.Write(e.ctx, fh, 8, []byte("abcd"), stable))
			if res.Count != 4 || res.Committed != nfs3.FileSync || res.Verf != verifier {
				t.Errorf("count %d, committed %d, verifier %v", res.Count, res.Committed, res.Verf)
			}
			wantChanged(t, "file", res.Wcc, before, e.attr(fh))
			if data := ok[[]byte](t)(e.user.ReadFile(e.ctx, fh)); string(data) != "01234567abcd" {
				t.Errorf("the file holds %q", data)
			}
		})
	}
	t.Run("OK/hole", func(t *testing.T) {
		fh := e.file("hole", "")
		const far = 1 << 40
		ok[*nfs3.WriteRes](t)(e.user.Write(e.ctx, fh, far, []byte("x"), nfs3.FileSync))
		a := e.attr(fh)
		if a.Size != far+1 || a.Used > 64<<10 {
			t.Errorf("size %d, used %d", a.Size, a.Used)
		}
		res := ok[*nfs3.ReadRes](t)(e.user.Read(e.ctx, fh, far-3, 10))
		if string(res.Data) != "\x00\x00\x00x" || !res.EOF {
			t.Errorf("read %q, eof %t", res.Data, res.EOF)
		}
	})
	t.Run("OK/nothing", func(t *testing.T) {
		fh := e.file("nothing", "x")
		if res := ok[*nfs3.WriteRes](t)(e.user.Write(e.ctx, fh, 100, nil, nfs3.FileSync)); res.Count != 0 {
			t.Errorf("count %d", res.Count)
		}
		if a := e.attr(fh); a.Size != 1 {
			t.Errorf("size %d, want 1", a.Size)
		}
	})
	t.Run("OK/what exceeds wtmax is left to the next call", func(t *testing.T) {
		fh := e.file("over", "")
		data := random(1<<20 + 5)
		res := ok[*nfs3.WriteRes](t)(e.user.Write(e.ctx, fh, 0, data, nfs3.FileSync))
		if res.Count != 1<<20 {
			t.Errorf("count %d, want 1 MiB", res.Count)
		}
		if got := ok[[]byte](t)(e.user.ReadFile(e.ctx, fh)); !bytes.Equal(got, data[:1<<20]) {
			t.Errorf("the file holds %d bytes, other than what was counted", len(got))
		}
	})
	t.Run("FBIG", func(t *testing.T) {
		for _, offset := range []uint64{1<<63 - 1, 1 << 63, 1<<64 - 1} {
			_, err := e.user.Write(e.ctx, e.file("fbig", ""), offset, []byte("xy"), nfs3.FileSync)
			want(t, err, nfs3.ErrFBig)
		}
	})
	t.Run("ACCES", func(t *testing.T) {
		fh := e.file("acces", "x")
		before := e.attr(fh)
		res, err := e.other.Write(e.ctx, fh, 0, []byte("y"), nfs3.FileSync)
		want(t, err, nfs3.ErrAcces)
		wantWcc(t, "file", res.Wcc, before, e.attr(fh))
	})
	t.Run("INVAL/directory", func(t *testing.T) {
		_, err := e.user.Write(e.ctx, e.dir("d"), 0, []byte("y"), nfs3.FileSync)
		want(t, err, nfs3.ErrInval)
	})
	t.Run("NOSPC", func(t *testing.T) {
		e := startWith(t, fsstate.Config{MaxBytes: 8 << 20})
		fh := e.file("full", "")
		block := random(1 << 20)
		for i := range 16 {
			if res, err := e.user.Write(e.ctx, fh, uint64(i)<<20, block, nfs3.FileSync); err != nil {
				want(t, err, nfs3.ErrNoSpc)
				if i < 7 || i > 8 {
					t.Errorf("8 MiB were full after %d MiB", i)
				}
				if a := e.attr(fh); a.Size != uint64(i)<<20 || res.Wcc.After == nil {
					t.Errorf("size %d after %d full writes; results %+v", a.Size, i, res.Wcc)
				}
				return
			}
		}
		t.Error("16 MiB fit in 8 MiB")
	})
}

func TestCOMMIT(t *testing.T) {
	e := start(t)
	t.Run("OK", func(t *testing.T) {
		fh := e.file("f", "x")
		res := ok[*nfs3.CommitRes](t)(e.user.Commit(e.ctx, fh, 0, 0))
		if res.Verf != verifier {
			t.Errorf("verifier %v, want that of WRITE", res.Verf)
		}
		wantWcc(t, "file", res.Wcc, e.attr(fh), e.attr(fh))
	})
	t.Run("INVAL/directory", func(t *testing.T) {
		_, err := e.user.Commit(e.ctx, e.root, 0, 0)
		want(t, err, nfs3.ErrInval)
	})
}
