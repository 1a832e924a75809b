package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"golang.org/x/crypto/blake2b"

	"bfsd/replica/wire"
)

// BenchmarkMAC compares the candidates for one entry of an authenticator: the MAC of one digest under a known key.
// The choice is written at macKey.
func BenchmarkMAC(b *testing.B) {
	key := make([]byte, 32)
	rand.Read(key)
	var d wire.Digest
	rand.Read(d[:])

	b.Run("hmac-sha256/two-block", func(b *testing.B) {
		b.ReportAllocs()
		k := expandMACKey(key)
		for b.Loop() {
			_ = k.mac(d)
		}
	})
	b.Run("hmac-sha256/reset", func(b *testing.B) {
		b.ReportAllocs()
		h := hmac.New(sha256.New, key)
		var sum [sha256.Size]byte
		for b.Loop() {
			h.Reset()
			h.Write(d[:])
			h.Sum(sum[:0])
		}
	})
	b.Run("hmac-sha256/new", func(b *testing.B) {
		b.ReportAllocs()
		var sum [sha256.Size]byte
		for b.Loop() {
			h := hmac.New(sha256.New, key)
			h.Write(d[:])
			h.Sum(sum[:0])
		}
	})
	b.Run("blake2b-128/reset", func(b *testing.B) {
		b.ReportAllocs()
		h, err := blake2b.New(MACSize, key)
		if err != nil {
			b.Fatal(err)
		}
		var sum [MACSize]byte
		for b.Loop() {
			h.Reset()
			h.Write(d[:])
			h.Sum(sum[:0])
		}
	})
	b.Run("blake2b-256/prefix", func(b *testing.B) {
		b.ReportAllocs()
		var buf [64]byte
		copy(buf[:], key)
		for b.Loop() {
			copy(buf[32:], d[:])
			_ = blake2b.Sum256(buf[:])
		}
	})
}

// BenchmarkDigest compares the candidates for digests of requests and pages.
func BenchmarkDigest(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"200B", 200}, {"4KiB", 4 << 10}, {"1MiB", 1 << 20}} {
		data := make([]byte, size.bytes)
		rand.Read(data)
		b.Run("sha256/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(size.bytes))
			for b.Loop() {
				_ = sha256.Sum256(data)
			}
		})
		b.Run("blake2b/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(size.bytes))
			for b.Loop() {
				_ = blake2b.Sum256(data)
			}
		})
	}
}

// BenchmarkAuthenticate is what one request's authenticator costs its client, for four replicas.
func BenchmarkAuthenticate(b *testing.B) {
	rings, _ := fourAndAGateway(b, NewClusterID())
	ring := rings[clientP(100)]
	b.ReportAllocs()
	r := wire.NewRequest(100, 0, 1, 0, 0, make([]byte, 200))
	for b.Loop() {
		if err := Authenticate(ring, r, 4); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignature is what a checkpoint or view-change costs its sender, and each receiver.
func BenchmarkSignature(b *testing.B) {
	rings, _ := fourAndAGateway(b, NewClusterID())
	msg := make([]byte, 200)
	sig := rings[replicaP(1)].Sign(msg)
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			rings[replicaP(1)].Sign(msg)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if !rings[replicaP(2)].VerifySignature(replicaP(1), msg, sig) {
				b.Fatal("a good signature was refused")
			}
		}
	})
}
