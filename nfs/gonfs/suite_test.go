package gonfs

import (
	"context"
	"testing"

	"github.com/go-git/go-billy/v5/test"
	"gopkg.in/check.v1"

	"bfsd/fsstate"
)

// billySuite is go-billy's own test suite for implementations of its interfaces, each test on an empty file system.
type billySuite struct {
	test.FilesystemSuite
}

// SetUpTest implements check.v1's fixture of that name.
func (s *billySuite) SetUpTest(*check.C) {
	s.FilesystemSuite = test.NewFilesystemSuite(NewFS(context.Background(), newBackend(), fsstate.Cred{}))
}

// TestTempFileMany stands for the suite's two tests of many temporary files, which make 204800.
func (s *billySuite) TestTempFileMany(c *check.C) {
	names := make(map[string]bool)
	for range 2000 {
		f, err := s.FS.TempFile("test-dir", "test-prefix")
		c.Assert(err, check.IsNil)
		c.Assert(names[f.Name()], check.Equals, false)
		names[f.Name()] = true
		c.Assert(f.Close(), check.IsNil)
	}
	for name := range names {
		c.Assert(s.FS.Remove(name), check.IsNil)
	}
}

// TestTempFileManyWithUtil is the same to an FS, whose TempFile is that of go-billy's package util.
func (s *billySuite) TestTempFileManyWithUtil(c *check.C) {
	c.Skip("the same as TestTempFileMany here")
}

func TestBillySuite(t *testing.T) {
	r := check.Run(&billySuite{}, &check.RunConf{Output: testWriter{t}})
	if !r.Passed() || r.Succeeded == 0 {
		t.Fatalf("go-billy's test suite: %v", r)
	}
	t.Logf("go-billy's test suite: %v", r)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}
