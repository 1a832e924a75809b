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
