package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// newCertificate makes the certificate of one principal from its Ed25519 key, in memory. Nothing is trusted in it but the
// key, which the other side compares with cluster.toml; the common name says whose it claims to be, for a replica's own
// client has the replica's key. Its dates mean nothing: links must not depend on clocks.
func newCertificate(self wire.Principal, key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: self.String()},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 section 4.1.2.5: no expiration
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making the certificate of %v: %w", self, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// newTLSConfig gives the configuration for both directions. allowed says whether a principal may be at the other end.
func newTLSConfig(self wire.Principal, keys *auth.Keyring, versions Versions, allowed func(wire.Principal) error) (*tls.Config, error) {
	cert, err := newCertificate(self, keys.TLSKey())
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:                []tls.Certificate{cert},
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  versions.names(),
		ClientAuth:                  tls.RequireAnyClientCert, // and VerifyConnection pins it
		InsecureSkipVerify:          true,                     // no authorities, no host names: VerifyConnection pins the key
		SessionTicketsDisabled:      true,                     // every link is authenticated anew
		DynamicRecordSizingDisabled: true,                     // full records at once: latency here is not a web page's
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if m, ok := hello.Conn.(*meteredConn); ok {
				m.foreign = versions.offered(hello.SupportedProtos) // the handshake will fail over it
			}
			return nil, nil // the configuration stays this one
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			p, err := identify(cs, keys, versions)
			if err != nil {
				return err
			}
			return allowed(p)
		},
	}, nil
}

// identify says who is at the other end: the principal that the certificate names, if it has that principal's key. That
// the peer also holds the private key is what the TLS handshake proves.
func identify(cs tls.ConnectionState, keys *auth.Keyring, versions Versions) (wire.Principal, error) {
	var nobody wire.Principal
	if !versions.agreed(cs.NegotiatedProtocol) {
		return nobody, fmt.Errorf("the peer does not speak %v of bfsd's protocol", versions)
	}
	if len(cs.PeerCertificates) == 0 {
		return nobody, errors.New("the peer shows no certificate")
	}
	leaf := cs.PeerCertificates[0]
	p, err := auth.ParsePrincipal(leaf.Subject.CommonName)
	if err != nil {
		return nobody, fmt.Errorf("identifying a peer: %w", err)
	}
	pinned, member := keys.PublicKey(p)
	if !member {
		return nobody, fmt.Errorf("the peer says it is %v, which is not in cluster.toml", p)
	}
	if key, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !key.Equal(ed25519.PublicKey(pinned.Sign[:])) {
		return nobody, fmt.Errorf("the peer says it is %v, but has not the key that the cluster has for it", p)
	}
	return p, nil
}
