package conformance

import "testing"

func TestDbg(t *testing.T) {
	c := plainSite(t)
	for _, p := range c.run(t, []Case{{"x", []string{"creat f 0644", "alice: chmod f 0600", "stat f", "umask 022", "alice: put g hello", "dave: get g", "dave: append g x", "times g", "watch f,g,. \"alice: append g x\"", "bob: unlink f", "open 1 g r 0", "unlink g", "fstat 1"}}}) {
		t.Log(p.mount)
		t.Log(p.reference)
	}
	t.Log(c.script("grep nfs /proc/mounts; cat /proc/filesystems | grep -v nodev; mount -t tmpfs | head; cat /proc/sys/fs/protected*; uname -r; getconf CLK_TCK; ls -la " + c.mount))
}
