package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"bfsd/replica/wire"
)

// Keys is what verification needs of a key store. *Keyring implements it.
type Keys interface {
	// RequestMAC is the MAC that convinces replica of client's request with the given digest; ok is false when the owner
	// of the keys is neither of the two or does not know the other.
	RequestMAC(client wire.ClientID, replica wire.ReplicaID, digest wire.Digest) (mac [MACSize]byte, ok bool)
	// KeyNumber says which of its keys a client has: 0 for the first.
	KeyNumber(client wire.ClientID) uint32
	// VerifySignature says whether p signed msg.
	VerifySignature(p wire.Principal, msg, sig []byte) bool
	// Sign signs msg as the owner of the keys.
	Sign(msg []byte) []byte
}

var _ Keys = (*Keyring)(nil)

// ErrUnverified is wrapped by every refusal of a message that decodes but does not prove its origin.
var ErrUnverified = errors.New("message does not prove its origin")

// Verifier decides which frames become Verified. It has no mutable state: any goroutine may use it.
type Verifier struct {
	self     wire.Principal
	replicas int
	keys     Keys
	signed   bool // clients sign their requests: see ExpectSignatures
}

// NewVerifier makes the verifier of one principal in a group of n replicas.
func NewVerifier(self wire.Principal, n int, keys Keys) *Verifier {
	return &Verifier{self: self, replicas: n, keys: keys}
}

// Verify decodes a frame that arrived on the authenticated link from a peer, and checks that the message is from whom it
// claims to be:
//
//   - a REQUEST by my MAC in its authenticator, or by signature (ExpectSignatures), whoever relayed it;
//   - CHECKPOINT, VIEW-CHANGE, NEW-VIEW by signature, whoever relayed them, NEW-VIEW with every VIEW-CHANGE in it;
//   - everything else by the link: the replica, or of a CLIENT-FETCH the client, that it names must be the peer.
//
// A request inside a PRE-PREPARE or REQUEST-BODY whose MAC for me is wrong does not sink the message; Authentic tells
// (f+1 other replicas may vouch for it, TOCS §4.3).
func (v *Verifier) Verify(from wire.Principal, frame []byte) (Verified, error) {
	m, err := wire.Decode(frame)
	if err != nil {
		return Verified{}, fmt.Errorf("message from %v: %w", from, err)
	}
	out := Verified{from: from, message: m, raw: frame}
	if err := v.origin(from, m); err != nil {
		return Verified{}, fmt.Errorf("%v from %v: %w: %w", m.Kind(), from, ErrUnverified, err)
	}
	out.authentic = v.authenticate(m)
	return out, nil
}

// origin checks who a message is from; what requests it carries is not its business.
func (v *Verifier) origin(from wire.Principal, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Request:
		return v.requestOrigin(from, m)
	case wire.SignedMessage:
		if from.Role != wire.RoleReplica {
			return errors.New("only replicas relay signed messages")
		}
		return v.signature(m)
	case wire.Sent:
		if err := v.member(m.Sender()); err != nil {
			return err
		}
		if from != replicaPrincipal(m.Sender()) {
			return fmt.Errorf("it claims to be from replica %d", m.Sender())
		}
		return nil
	}
	if c, ok := m.(wire.FromClient); ok {
		if from.Role != wire.RoleClient || from.ID != uint32(c.Origin()) {
			return fmt.Errorf("it claims to be from client %d", c.Origin())
		}
		return nil
	}
	return errors.New("nobody sends it")
}

func (v *Verifier) requestOrigin(from wire.Principal, r *wire.Request) error {
	if v.self.Role != wire.RoleReplica {
		return errors.New("requests go to replicas")
	}
	if from.Role == wire.RoleClient && from.ID != uint32(r.Client) {
		return fmt.Errorf("it claims to be from client %d", r.Client)
	}
	return v.requestProof(r)
}

func (v *Verifier) signature(m wire.SignedMessage) error {
	if err := v.member(m.Sender()); err != nil {
		return err
	}
	if !v.keys.VerifySignature(replicaPrincipal(m.Sender()), m.SignedBytes(), m.SignatureBytes()) {
		return fmt.Errorf("the signature of replica %d is wrong", m.Sender())
	}
	if nv, ok := m.(*wire.NewView); ok {
		for _, vc := range nv.ViewChanges {
			if err := v.signature(vc); err != nil {
				return fmt.Errorf("view change inside: %w", err)
			}
		}
	}
	return nil
}

func (v *Verifier) member(id wire.ReplicaID) error {
	if int64(id) >= int64(v.replicas) {
		return fmt.Errorf("there is no replica %d among %d", id, v.replicas)
	}
	return nil
}

// authenticate says which of the requests that a message carries convince me.
func (v *Verifier) authenticate(m wire.Message) []bool {
	var reqs []*wire.Request
	switch m := m.(type) {
	case *wire.PrePrepare:
		reqs = m.Requests()
	case *wire.RequestBody:
		reqs = m.Requests()
	}
	if len(reqs) == 0 || v.self.Role != wire.RoleReplica {
		return nil
	}
	authentic := make([]bool, len(reqs))
	for i, r := range reqs {
		authentic[i] = r != nil && v.requestProof(r) == nil
	}
	return authentic
}

func (v *Verifier) requestMAC(r *wire.Request) bool {
	if int64(v.self.ID) >= int64(len(r.Auth)) {
		return false
	}
	want, ok := v.keys.RequestMAC(r.Client, wire.ReplicaID(v.self.ID), r.Digest())
	return ok && subtle.ConstantTimeCompare(want[:], r.Auth[v.self.ID][:]) == 1
}

// Seal makes a replica's own message ready to send: it signs what must be signed, and encodes. The driver sends Raw and
// hands the Verified to its own core where the protocol counts the sender's own message.
func (v *Verifier) Seal(m wire.Message) (Verified, error) {
	switch m := m.(type) {
	case *wire.Request: // relayed, or this principal's own
	case wire.Sent:
		if replicaPrincipal(m.Sender()) != v.self {
			return Verified{}, fmt.Errorf("seal %v: it names replica %d, not %v", m.Kind(), m.Sender(), v.self)
		}
	}
	if s, ok := m.(wire.SignedMessage); ok && s.SignatureBytes() == nil {
		wire.Sign(s, v.keys.Sign)
	}
	return Verified{from: v.self, message: m, raw: wire.Encode(m)}, nil
}

// Authenticate gives a client's own request its authenticator: one MAC for each of n replicas (TOCS §4.2).
func Authenticate(keys Keys, r *wire.Request, n int) error {
	macs := make([]wire.MAC, n)
	for i := range macs {
		mac, ok := keys.RequestMAC(r.Client, wire.ReplicaID(i), r.Digest())
		if !ok {
			return fmt.Errorf("authenticate a request of client %d: no key shared with replica %d", r.Client, i)
		}
		macs[i] = mac
	}
	r.Auth = macs
	return nil
}

func replicaPrincipal(id wire.ReplicaID) wire.Principal {
	return wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}
}
