package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// ErrPassphraseRequired says that a key file is sealed and nobody can be asked for its passphrase.
var ErrPassphraseRequired = errors.New("it is sealed with a passphrase, which must be given")

// ErrWrongPassphrase says that a sealed secret did not open.
var ErrWrongPassphrase = errors.New("the passphrase is wrong, or the file was changed")

const (
	sealKDF    = "argon2id"
	sealCipher = "xchacha20-poly1305"
	saltSize   = 16
)

// RFC 9106 section 4, second recommended option: 3 passes over 64 MiB, 4 lanes.
const (
	argonTime      = 3
	argonMemoryKiB = 64 << 10
	argonLanes     = 4
)

// What a file may ask of the machine that opens it.
const (
	argonTimeMax      = 16
	argonMemoryKiBMax = 1 << 20
	argonLanesMax     = 64
)

// sealed is a secret under a passphrase: Argon2id (RFC 9106) gives the key, XChaCha20-Poly1305 seals, with the file's
// clear text as associated data.
type sealed struct {
	KDF        string `toml:"kdf"`
	Time       uint32 `toml:"time"`
	MemoryKiB  uint32 `toml:"memory_kib"`
	Lanes      uint8  `toml:"lanes"`
	Salt       string `toml:"salt"`
	Cipher     string `toml:"cipher"`
	Nonce      string `toml:"nonce"`
	Ciphertext string `toml:"ciphertext"`
}

func seal(secret, header, passphrase []byte) (*sealed, error) {
	var salt [saltSize]byte
	var nonce [chacha20poly1305.NonceSizeX]byte
	rand.Read(salt[:])
	rand.Read(nonce[:])
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, salt[:], argonTime, argonMemoryKiB, argonLanes, chacha20poly1305.KeySize))
	if err != nil {
		return nil, err
	}
	text := base64.RawURLEncoding.EncodeToString
	return &sealed{
		KDF: sealKDF, Time: argonTime, MemoryKiB: argonMemoryKiB, Lanes: argonLanes, Salt: text(salt[:]),
		Cipher: sealCipher, Nonce: text(nonce[:]), Ciphertext: text(aead.Seal(nil, nonce[:], secret, header)),
	}, nil
}

// open gives the secret. Everything the file says is checked before it costs time or memory.
func (s *sealed) open(header, passphrase []byte) ([]byte, error) {
	if s.KDF != sealKDF || s.Cipher != sealCipher {
		return nil, fmt.Errorf("it is sealed with %q and %q, this bfsd knows %q and %q", clip(s.KDF), clip(s.Cipher), sealKDF, sealCipher)
	}
	if s.Time < 1 || s.Time > argonTimeMax || s.Lanes < 1 || s.Lanes > argonLanesMax ||
		s.MemoryKiB < 8*uint32(s.Lanes) || s.MemoryKiB > argonMemoryKiBMax {
		return nil, fmt.Errorf("its cost parameters (time %d, memory %d KiB, lanes %d) are outside what is accepted (time 1 to %d, memory to %d KiB, lanes 1 to %d)",
			s.Time, s.MemoryKiB, s.Lanes, argonTimeMax, argonMemoryKiBMax, argonLanesMax)
	}
	salt, err := exactly("salt", s.Salt, saltSize)
	if err != nil {
		return nil, err
	}
	nonce, err := exactly("nonce", s.Nonce, chacha20poly1305.NonceSizeX)
	if err != nil {
		return nil, err
	}
	ciphertext, err := exactly("ciphertext", s.Ciphertext, privateKeySize+chacha20poly1305.Overhead)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, salt, s.Time, s.MemoryKiB, s.Lanes, chacha20poly1305.KeySize))
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, nonce, ciphertext, header)
	if err != nil {
		return nil, ErrWrongPassphrase
	}
	return secret, nil
}

func exactly(field, text string, size int) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", field, err)
	}
	if len(b) != size {
		return nil, fmt.Errorf("%s has %d bytes, it must have %d", field, len(b), size)
	}
	return b, nil
}
