package backup

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Manifest says what an archive is a backup of.
type Manifest struct {
	Sequence    uint64   // of the checkpoint
	Root        [32]byte // of its state
	Certificate [][]byte // what proves Root: opaque here
	Taken       time.Time
}

const (
	format  = "bfsd backup"
	version = 1

	manifestMax    = 64 << 10 // bytes; 13 signatures fit in a tenth of it
	certificateMax = 64       // parts
)

// manifestFile is the manifest's form.
type manifestFile struct {
	Format      string    `toml:"format"`
	Version     int       `toml:"version" comment:"Format of this archive."`
	Taken       time.Time `toml:"taken" comment:"When bfsd export ran, by its machine's clock."`
	Sequence    uint64    `toml:"sequence" comment:"The checkpoint: everything ordered up to this number is in it, and nothing after."`
	Root        string    `toml:"root" comment:"The digest of the whole state, in hex."`
	Certificate []string  `toml:"certificate,multiline" comment:"CHECKPOINT messages in base64, each signed by a replica of the cluster in cluster.toml: they prove the root."`
}

const manifestHead = "# A bfsd backup: files/ is the tree, for any tar; bfsd import makes a new cluster of it, and checks it first.\n" +
	"# Unpack by hand:  tar -xpf ARCHIVE -C DIR --strip-components=2 bfsd-backup/files\n\n"

func (m *Manifest) encode() ([]byte, error) {
	f := manifestFile{
		Format: format, Version: version, Taken: m.Taken.UTC().Truncate(time.Second), Sequence: m.Sequence,
		Root: hex.EncodeToString(m.Root[:]), Certificate: []string{},
	}
	for _, part := range m.Certificate {
		f.Certificate = append(f.Certificate, base64.StdEncoding.EncodeToString(part))
	}
	b, err := toml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
	}
	if b = append([]byte(manifestHead), b...); len(b) > manifestMax || len(m.Certificate) > certificateMax {
		return nil, fmt.Errorf("encoding the manifest: %d bytes with %d signatures; at most %d and %d are read again", len(b), len(m.Certificate), manifestMax, certificateMax)
	}
	return b, nil
}

// decodeManifest accepts the one form that encode writes.
func decodeManifest(b []byte) (*Manifest, error) {
	var f manifestFile
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if f.Format != format {
		return nil, errors.New("reading the manifest: it is not that of a bfsd backup")
	}
	if f.Version != version {
		return nil, fmt.Errorf("reading the manifest: version %d of the format; this bfsd reads version %d", f.Version, version)
	}
	m := &Manifest{Sequence: f.Sequence, Taken: f.Taken}
	root, err := hex.DecodeString(f.Root)
	if err != nil || len(root) != len(m.Root) {
		return nil, fmt.Errorf("reading the manifest: the root is not %d hex digits", 2*len(m.Root))
	}
	copy(m.Root[:], root)
	for i, part := range f.Certificate {
		b, err := base64.StdEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, fmt.Errorf("reading the manifest: signature %d is not base64", i)
		}
		m.Certificate = append(m.Certificate, b)
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("reading the manifest: it is not written as bfsd export writes it")
	}
	return m, nil
}
