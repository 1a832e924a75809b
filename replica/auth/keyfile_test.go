package auth

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bfsd/replica/wire"
)

func newIdentity() Identity {
	return Identity{Cluster: NewClusterID(), Principal: wire.Principal{Role: wire.RoleReplica, ID: 2}, Key: GenerateKey()}
}

func sameIdentity(a, b Identity) bool {
	return a.Cluster == b.Cluster && a.Principal == b.Principal && bytes.Equal(a.Key.raw(), b.Key.raw())
}

func saying(p string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(p), nil }
}

func TestKeyFileRoundTrip(t *testing.T) {
	for name, passphrase := range map[string]string{"open": "", "sealed": "correct horse"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			want := newIdentity()
			if err := WriteKeyFile(path, want, []byte(passphrase)); err != nil {
				t.Fatal(err)
			}
			got, err := ReadKeyFile(path, saying(passphrase))
			if err != nil {
				t.Fatal(err)
			}
			if !sameIdentity(got, want) {
				t.Fatalf("read %v, wrote %v", got, want)
			}
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Mode().Perm() != 0o600 {
				t.Fatalf("the key file has mode %o, want 600", fi.Mode().Perm())
			}
		})
	}
}

func TestKeyFileReadableByOthersIsRefused(t *testing.T) {
	for _, perm := range []fs.FileMode{0o640, 0o604, 0o620, 0o601, 0o666} {
		path := filepath.Join(t.TempDir(), "key")
		if err := WriteKeyFile(path, newIdentity(), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, perm); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKeyFile(path, nil)
		if err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a key file with mode %o gave error %v, want one that says what to do", perm, err)
		}
	}
}

func TestKeyFileIsNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first := newIdentity()
	if err := WriteKeyFile(path, first, nil); err != nil {
		t.Fatal(err)
	}
	if err := WriteKeyFile(path, newIdentity(), nil); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("overwriting gave %v, want fs.ErrExist", err)
	}
	got, err := ReadKeyFile(path, nil)
	if err != nil || !sameIdentity(got, first) {
		t.Fatalf("the first key is gone: %v, %v", got, err)
	}
}

func TestKeyFileThatIsADirectoryIsRefused(t *testing.T) {
	if _, err := ReadKeyFile(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Fatalf("a directory gave %v", err)
	}
}

func TestSealedKeyFileNeedsItsPassphrase(t *testing.T) {
	data, err := EncodeKeyFile(newIdentity(), []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeKeyFile(data, nil); !errors.Is(err, ErrPassphraseRequired) {
		t.Errorf("without a passphrase: %v", err)
	}
	if _, err := DecodeKeyFile(data, saying("wrong")); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("with a wrong passphrase: %v", err)
	}
	moved := bytes.Replace(data, []byte("principal = 'replica 2'"), []byte("principal = 'replica 3'"), 1)
	if bytes.Equal(moved, data) {
		t.Fatal("the test found no principal to change")
	}
	if _, err := DecodeKeyFile(moved, saying("right")); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("with its clear text changed: %v", err)
	}
}

func TestDamagedKeyFileGivesAClearError(t *testing.T) {
	id := newIdentity()
	plain, err := EncodeKeyFile(id, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealedFile, err := EncodeKeyFile(id, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		data     []byte
		old, new string
		want     string
	}{
		{"not TOML", plain, "format", "= format", "TOML"},
		{"unknown field", plain, "version", "wersion", "TOML"},
		{"another format", plain, "'bfsd private key'", "'PEM'", "no bfsd private key"},
		{"a later version", plain, "version = 1", "version = 2", "version 2"},
		{"no principal", plain, "'replica 2'", "'root'", "no principal"},
		{"foreign public key", plain, id.Key.Public().String(), GenerateKey().Public().String(), "do not belong together"},
		{"no secret", plain, "secret = '", "secret = '' # '", "one of secret"},
		{"secret too short", plain, "secret = '", "secret = 'AAAA' # '", "64 bytes"},
		{"greedy memory", sealedFile, "memory_kib = 65536", "memory_kib = 4000000000", "cost parameters"},
		{"greedy time", sealedFile, "time = 3", "time = 1000000", "cost parameters"},
		{"no lanes", sealedFile, "lanes = 4", "lanes = 0", "cost parameters"},
		{"unknown cipher", sealedFile, "xchacha20-poly1305", "rot13", "rot13"},
		{"short salt", sealedFile, "salt = '", "salt = 'AAAA' # '", "salt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			damaged := bytes.Replace(tc.data, []byte(tc.old), []byte(tc.new), 1)
			if bytes.Equal(damaged, tc.data) {
				t.Fatalf("%q is not in the file", tc.old)
			}
			_, err := DecodeKeyFile(damaged, saying("p"))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one about %q", err, tc.want)
			}
		})
	}
	if _, err := DecodeKeyFile(bytes.Repeat([]byte("#"), keyFileMax+1), nil); err == nil {
		t.Error("an oversized file was accepted")
	}
}

// FuzzDecodeKeyFile: no input makes the decoder panic, and what it accepts encodes to a file that decodes to the same.
func FuzzDecodeKeyFile(f *testing.F) {
	for _, passphrase := range []string{"", "p"} {
		data, err := EncodeKeyFile(newIdentity(), []byte(passphrase))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("format = 'bfsd private key'\nversion = 1\n[sealed]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := DecodeKeyFile(data, nil) // no passphrase: Argon2id would be all that is fuzzed
		if err != nil {
			return
		}
		again, err := EncodeKeyFile(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeKeyFile(again, nil)
		if err != nil || !sameIdentity(got, id) {
			t.Fatalf("decoded %v, encoded, decoded %v, %v", id, got, err)
		}
	})
}

// FuzzPublicKey: what is accepted is exactly what String writes.
func FuzzPublicKey(f *testing.F) {
	f.Add([]byte(GenerateKey().Public().String()))
	f.Fuzz(func(t *testing.T, text []byte) {
		var k PublicKey
		if err := k.UnmarshalText(text); err == nil && k.String() != string(text) {
			t.Fatalf("%q was read as %v", text, k)
		}
	})
}

// A key is for who reads it alone; root may hand it to a user through a group.
func TestWhoMayReadAKeyFile(t *testing.T) {
	for _, tt := range []struct {
		perm        fs.FileMode
		owner, self int
		want        bool
	}{
		{0o600, 1000, 1000, true},
		{0o400, 0, 0, true},
		{0o640, 1000, 1000, false},
		{0o440, 0, 0, false},
		{0o440, 0, 65532, true},
		{0o640, 0, 65532, true},
		{0o460, 0, 65532, false},
		{0o444, 0, 65532, false},
		{0o440, 1000, 65532, false},
		{0o440, -1, 65532, false},
	} {
		if got := private(tt.perm, tt.owner, tt.self); got != tt.want {
			t.Errorf("mode %04o of user %d, read by %d: %v, want %v", tt.perm, tt.owner, tt.self, got, tt.want)
		}
	}
}
