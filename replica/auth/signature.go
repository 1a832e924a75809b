package auth

import (
	"fmt"

	"bfsd/replica/wire"
)

// Requests can be signed instead of carrying a MAC for each replica, so that what MACs bring can be measured (BFT-PK in
// TOCS §8). One signature convinces every replica; it takes the authenticator's place, cut into entries of a MAC's size,
// so that nothing but this package knows the difference. A cluster uses one or the other (config.Optimisations): a
// Verifier never takes what it does not expect.
//
// A verification costs some hundred times what a MAC does, and a faulty primary or client can cause as many as it sends
// requests. That is for measuring, not for hostile networks.

// signatureEntries is the length of an authenticator that is a signature.
const signatureEntries = wire.SignatureSize / wire.MACSize

// requestDomain keeps the signature of a request from being one of anything else: wire.SignedMessage has another.
const requestDomain = "bfsd/request/1 "

func signedRequest(d wire.Digest) []byte { return append([]byte(requestDomain), d[:]...) }

// ExpectSignatures returns a Verifier like v, but of a cluster whose clients sign their requests.
func (v *Verifier) ExpectSignatures() *Verifier {
	signed := *v
	signed.signed = true
	return &signed
}

// SignRequest gives a client's own request a signature in place of an authenticator.
func SignRequest(keys Keys, r *wire.Request) error {
	sig := keys.Sign(signedRequest(r.Digest()))
	if len(sig) != wire.SignatureSize {
		return fmt.Errorf("sign a request of client %d: a signature of %d bytes, want %d", r.Client, len(sig), wire.SignatureSize)
	}
	r.Auth = make([]wire.MAC, signatureEntries)
	for i := range r.Auth {
		copy(r.Auth[i][:], sig[i*wire.MACSize:])
	}
	return nil
}

// requestSignature checks the signature under a request.
func (v *Verifier) requestSignature(r *wire.Request) error {
	if len(r.Auth) != signatureEntries {
		return fmt.Errorf("the signature of client %d is missing", r.Client)
	}
	sig := make([]byte, 0, wire.SignatureSize)
	for i := range r.Auth {
		sig = append(sig, r.Auth[i][:]...)
	}
	if !v.keys.VerifySignature(v.requestSigner(r.Client), signedRequest(r.Digest()), sig) {
		return fmt.Errorf("the signature of client %d is wrong", r.Client)
	}
	return nil
}

// requestSigner is who signs a client's requests: the client inside a replica, which has the replica's number and keys
// (Keyring), signs as that replica.
func (v *Verifier) requestSigner(c wire.ClientID) wire.Principal {
	if int64(c) < int64(v.replicas) {
		return replicaPrincipal(wire.ReplicaID(c))
	}
	return wire.Principal{Role: wire.RoleClient, ID: uint32(c)}
}

// requestProof checks what a request proves its origin with.
func (v *Verifier) requestProof(r *wire.Request) error {
	if number := v.keys.KeyNumber(r.Client); r.KeyNumber() != number {
		return fmt.Errorf("client %d made it with its key of number %d; it has that of number %d", r.Client, r.KeyNumber(), number)
	}
	if v.signed {
		return v.requestSignature(r)
	}
	if !v.requestMAC(r) {
		return fmt.Errorf("the MAC of client %d for replica %d is missing or wrong", r.Client, v.self.ID)
	}
	return nil
}
