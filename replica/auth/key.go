package auth

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
)

// PublicKey is what others know of a principal: it is written into cluster.toml.
type PublicKey struct {
	// Sign is an Ed25519 key: signatures, and the identity on TLS links.
	Sign [ed25519.PublicKeySize]byte
	// Exchange is an X25519 key: the MAC key of each client and replica comes from a Diffie-Hellman exchange.
	Exchange [32]byte
}

const (
	publicKeyPrefix   = "bfsd-public-1:"
	publicKeyChecksum = 4 // bytes of SHA-256 after the keys, so that a slip of the hand is told from a foreign key
)

// String is the text form: the prefix, then base64url of both keys and a checksum.
func (k PublicKey) String() string {
	raw := append(k.Sign[:], k.Exchange[:]...)
	sum := sha256.Sum256(raw)
	return publicKeyPrefix + base64.RawURLEncoding.EncodeToString(append(raw, sum[:publicKeyChecksum]...))
}

// MarshalText implements encoding.TextMarshaler.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts only the one form that String writes.
func (k *PublicKey) UnmarshalText(text []byte) error {
	body, ok := strings.CutPrefix(string(text), publicKeyPrefix)
	if !ok {
		return fmt.Errorf("a public key starts with %q, this one with %q", publicKeyPrefix, clip(string(text)))
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return fmt.Errorf("decoding a public key: %w; was it copied whole?", err)
	}
	var got PublicKey
	if want := len(got.Sign) + len(got.Exchange) + publicKeyChecksum; len(raw) != want {
		return fmt.Errorf("a public key is %d bytes, this one %d: was it copied whole?", want, len(raw))
	}
	copy(got.Sign[:], raw)
	copy(got.Exchange[:], raw[len(got.Sign):])
	if got.String() != string(text) {
		return fmt.Errorf("the checksum of public key %q is wrong: was it changed by hand?", clip(string(text)))
	}
	*k = got
	return nil
}

// PrivateKey is a principal's secrets. It never prints them.
type PrivateKey struct {
	sign     ed25519.PrivateKey
	exchange *ecdh.PrivateKey
}

// privateKeySize is the length of a private key's raw form: an Ed25519 seed (RFC 8032), then an X25519 scalar (RFC 7748).
const privateKeySize = ed25519.SeedSize + 32

// GenerateKey draws a new private key.
func GenerateKey() *PrivateKey {
	var raw [privateKeySize]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	key, err := newPrivateKey(raw[:])
	if err != nil {
		panic(fmt.Sprintf("a random private key was refused: %v", err))
	}
	return key
}

func newPrivateKey(raw []byte) (*PrivateKey, error) {
	if len(raw) != privateKeySize {
		return nil, fmt.Errorf("a private key is %d bytes, this one %d", privateKeySize, len(raw))
	}
	exchange, err := ecdh.X25519().NewPrivateKey(raw[ed25519.SeedSize:])
	if err != nil {
		return nil, fmt.Errorf("reading an X25519 key: %w", err)
	}
	return &PrivateKey{sign: ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]), exchange: exchange}, nil
}

func (k *PrivateKey) raw() []byte { return append(k.sign.Seed(), k.exchange.Bytes()...) }

// Public is the public half.
func (k *PrivateKey) Public() PublicKey {
	var pub PublicKey
	copy(pub.Sign[:], k.sign[ed25519.SeedSize:])
	copy(pub.Exchange[:], k.exchange.PublicKey().Bytes())
	return pub
}

// String names the key by its public half.
func (k *PrivateKey) String() string { return "private key of " + k.Public().String() }

// Format keeps the secrets out of every verb of package fmt, %#v and %d among them.
func (k *PrivateKey) Format(w fmt.State, _ rune) { fmt.Fprint(w, k.String()) }

// LogValue keeps the secrets out of logs.
func (k *PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }
