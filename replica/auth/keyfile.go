package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"bfsd/replica/auth/atomicfile"
	"bfsd/replica/wire"
)

// Identity is what a key file holds: who its bearer is, in which cluster, and the secrets that prove it.
type Identity struct {
	Cluster   ClusterID
	Principal wire.Principal
	Key       *PrivateKey
	Number    uint32 // of a client's key: how often it was replaced
}

const (
	keyFileFormat  = "bfsd private key"
	keyFileVersion = 1
	keyFileMax     = 16 << 10 // bytes; a real one has under 1 KiB
	othersMayTouch = 0o077    // permission bits a key file must not have
	groupMayRead   = 0o040    // and one that it may, if root gave it to this process's group
)

// keyFile is the file's form: TOML, with the secret either as text or sealed by a passphrase.
//
//	format    = 'bfsd private key'
//	version   = 1
//	cluster   = hex
//	principal = 'replica 2'
//	number    = which of a client's keys it is; left out: the first
//	public    = the public key as in cluster.toml; it must belong to what follows
//	secret    = the Ed25519 seed and the X25519 scalar in base64url,
//	[sealed]  or both under a passphrase: see seal.go
type keyFile struct {
	Format    string    `toml:"format"`
	Version   int       `toml:"version"`
	Cluster   ClusterID `toml:"cluster"`
	Principal string    `toml:"principal"`
	Number    uint32    `toml:"number,omitempty"`
	Public    PublicKey `toml:"public"`
	Secret    string    `toml:"secret,omitempty"`
	Sealed    *sealed   `toml:"sealed,omitempty"`
}

// EncodeKeyFile gives the bytes of a key file. With a passphrase (not empty) the secret is sealed.
func EncodeKeyFile(id Identity, passphrase []byte) ([]byte, error) {
	f := keyFile{
		Format:    keyFileFormat,
		Version:   keyFileVersion,
		Cluster:   id.Cluster,
		Principal: id.Principal.String(),
		Number:    id.Number,
		Public:    id.Key.Public(),
	}
	if len(passphrase) == 0 {
		f.Secret = base64.RawURLEncoding.EncodeToString(id.Key.raw())
	} else {
		s, err := seal(id.Key.raw(), f.header(), passphrase)
		if err != nil {
			return nil, fmt.Errorf("sealing the private key of %v: %w", id.Principal, err)
		}
		f.Sealed = s
	}
	body, err := toml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding the private key of %v: %w", id.Principal, err)
	}
	head := fmt.Sprintf("# The private key of %v in bfsd cluster %v.\n"+
		"# Whoever can read it can act as %v: keep it on that machine alone, readable by its user alone (mode 0600).\n\n",
		id.Principal, id.Cluster, id.Principal)
	return append([]byte(head), body...), nil
}

// DecodeKeyFile reads a key file's bytes. passphrase is called only if the file is sealed; nil then means
// ErrPassphraseRequired.
func DecodeKeyFile(data []byte, passphrase func() ([]byte, error)) (Identity, error) {
	f, principal, err := parseKeyFile(data)
	if err != nil {
		return Identity{}, err
	}
	raw, err := f.secret(passphrase)
	if err != nil {
		return Identity{}, err
	}
	key, err := newPrivateKey(raw)
	if err != nil {
		return Identity{}, err
	}
	if key.Public() != f.Public {
		return Identity{}, errors.New("the file's public and secret halves do not belong together: it was damaged or put together by hand")
	}
	return Identity{Cluster: f.Cluster, Principal: principal, Key: key, Number: f.Number}, nil
}

func parseKeyFile(data []byte) (*keyFile, wire.Principal, error) {
	var none wire.Principal
	if len(data) > keyFileMax {
		return nil, none, fmt.Errorf("a key file has at most %d bytes, this is larger", keyFileMax)
	}
	var f keyFile
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, none, fmt.Errorf("reading it as TOML: %w", err)
	}
	if f.Format != keyFileFormat {
		return nil, none, fmt.Errorf("it is no bfsd private key: format is %q, not %q", clip(f.Format), keyFileFormat)
	}
	if f.Version != keyFileVersion {
		return nil, none, fmt.Errorf("it has version %d of the format, this bfsd reads version %d", f.Version, keyFileVersion)
	}
	principal, err := ParsePrincipal(f.Principal)
	if err != nil {
		return nil, none, err
	}
	if f.Number > wire.KeyNumberMax || f.Number > 0 && principal.Role != wire.RoleClient {
		return nil, none, fmt.Errorf("it has the number %d: only clients' keys have one, of %d at most", f.Number, wire.KeyNumberMax)
	}
	if (f.Secret == "") == (f.Sealed == nil) {
		return nil, none, errors.New("it must have one of secret and [sealed]")
	}
	return &f, principal, nil
}

func (f *keyFile) secret(passphrase func() ([]byte, error)) ([]byte, error) {
	if f.Sealed == nil {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(f.Secret)
		if err != nil {
			return nil, errors.New("secret is not base64url") // the decoder's own error could quote the secret
		}
		return raw, nil
	}
	if passphrase == nil {
		return nil, ErrPassphraseRequired
	}
	p, err := passphrase()
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase: %w", err)
	}
	return f.Sealed.open(f.header(), p)
}

// header is what the seal protects besides the secret: the file's clear text.
func (f *keyFile) header() []byte {
	parts := []string{f.Format, strconv.Itoa(f.Version), f.Cluster.String(), f.Principal, f.Public.String()}
	if f.Number > 0 { // the form of files without one stays as it was
		parts = append(parts, strconv.FormatUint(uint64(f.Number), 10))
	}
	return []byte(strings.Join(parts, "\n"))
}

// WriteKeyFile writes a new key file with mode 0600. It never overwrites one: a lost private key cannot be had back.
func WriteKeyFile(path string, id Identity, passphrase []byte) error {
	data, err := EncodeKeyFile(id, passphrase)
	if err != nil {
		return err
	}
	if err := atomicfile.Create(path, data, 0o600); err != nil {
		return fmt.Errorf("keeping the private key of %v: %w", id.Principal, err)
	}
	return nil
}

// ReadKeyFile reads a key file. It refuses one that anybody but its owner may read or write.
func ReadKeyFile(path string, passphrase func() ([]byte, error)) (Identity, error) {
	data, err := readSecretFile(path)
	if err != nil {
		return Identity{}, err
	}
	id, err := DecodeKeyFile(data, passphrase)
	if err != nil {
		return Identity{}, fmt.Errorf("private key %s: %w", path, err)
	}
	return id, nil
}

// private says whether a key file's permissions keep it to who reads it now. One that root owns and that another user may
// read through its group is how Kubernetes hands secrets to a process without privileges.
func private(perm fs.FileMode, owner, self int) bool {
	if owner == 0 && self != 0 {
		perm &^= groupMayRead
	}
	return perm&othersMayTouch == 0
}

// readSecretFile checks the permissions of the file it has open, not of the name: nobody can swap it in between.
func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a private key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening a private key: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("private key %s is not a regular file", path)
	}
	owner := -1
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	if perm := fi.Mode().Perm(); !private(perm, owner, os.Geteuid()) {
		return nil, fmt.Errorf("private key %s may be used by others than its owner (mode %04o): make it private with 'chmod 600 %s', "+
			"and if somebody may have read it, replace the key", path, perm, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, keyFileMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	return data, nil
}
