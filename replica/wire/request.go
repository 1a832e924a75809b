package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// Flags modify a request. They are part of the body, hence authenticated.
type Flags uint8

// The flags of a request.
const (
	// FlagReadOnly asks for execution at once, without ordering (TOCS §5.1.3 of the thesis, "read-only operations").
	FlagReadOnly Flags = 1
	// FlagFullReply asks every replica for the result, not only the designated one: a client sets it when it retransmits.
	FlagFullReply Flags = 2
)

// MAC is one entry of an authenticator.
type MAC [MACSize]byte

// Request is REQUEST: an operation that a client wants executed exactly once in its slot.
//
// On the wire it is [body, authenticator]; the body is a msgpack array of the fields. A request that is sent again with
// FlagFullReply has another body and so another digest; what makes it the same request is (Client, Slot, Number).
type Request struct {
	Client  ClientID
	Slot    Slot
	Number  uint64 // counts up within the slot; the first is 1
	Flags   Flags
	Replier ReplicaID // who sends the result; the others send its digest (digest replies)
	Op      []byte

	// Auth is the authenticator: MAC i convinces replica i (TOCS §4.3). It is not part of the digest.
	Auth []MAC

	body   []byte
	digest Digest
}

// requestBody is what the MACs authenticate and the digest covers.
type requestBody struct {
	Client  ClientID
	Slot    Slot
	Number  uint64
	Flags   Flags
	Replier ReplicaID
	Op      []byte
}

// Body is a request as it travels: inside a REQUEST, a PRE-PREPARE or a REQUEST-BODY.
type Body struct {
	Bytes []byte
	Auth  []MAC
}

// NewRequest encodes a request's body. The authenticator is still empty: see auth.Authenticate.
func NewRequest(c ClientID, s Slot, number uint64, flags Flags, replier ReplicaID, op []byte) *Request {
	r := &Request{Client: c, Slot: s, Number: number, Flags: flags, Replier: replier, Op: op}
	r.body = (&requestBody{c, s, number, flags, replier, op}).append(make([]byte, 0, len(op)+40))
	r.digest = sha256.Sum256(r.body)
	return r
}

// DecodeRequest decodes a request from its body and authenticator, and computes its digest.
func DecodeRequest(b Body) (*Request, error) {
	var f requestBody
	if err := f.decode(&cursor{b: b.Bytes}); err != nil {
		return nil, fmt.Errorf("decode request body: %w", err)
	}
	r := &Request{
		Client: f.Client, Slot: f.Slot, Number: f.Number, Flags: f.Flags, Replier: f.Replier, Op: f.Op,
		Auth: b.Auth, body: b.Bytes, digest: sha256.Sum256(b.Bytes),
	}
	return r, r.check()
}

// Kind is KindRequest.
func (*Request) Kind() Kind { return KindRequest }

// Body returns the bytes the digest covers, and the authenticator. Do not change them.
func (r *Request) Body() Body { return Body{Bytes: r.body, Auth: r.Auth} }

// Digest is SHA-256 of the body as it was received or first encoded.
func (r *Request) Digest() Digest { return r.digest }

// Size is the number of bytes the request takes in a batch.
func (r *Request) Size() int { return len(r.body) + MACSize*len(r.Auth) }

// Large says whether the request travels apart from its pre-prepare: its client sends it to all replicas, and the
// pre-prepare carries its digest (TOCS §5, separate request transmission). Clients and replicas must judge alike: a
// request that the client takes for small and the primary for large reaches the backups only by being fetched.
func (r *Request) Large(opBytes int) bool { return len(r.Op) > opBytes }

// ReadOnly says whether the client asks for execution without ordering.
func (r *Request) ReadOnly() bool { return r.Flags&FlagReadOnly != 0 }

// Full says whether the client asks every replica for the result.
func (r *Request) Full() bool { return r.Flags&FlagFullReply != 0 }

func (r *Request) check() error {
	switch {
	case len(r.Op) > MaxOp:
		return fmt.Errorf("operation of %d bytes exceeds %d", len(r.Op), MaxOp)
	case len(r.Auth) > MaxReplicas:
		return fmt.Errorf("authenticator of %d MACs exceeds %d", len(r.Auth), MaxReplicas)
	case r.Number == 0:
		return errors.New("request number 0: the first in a slot is 1")
	case r.Flags&^(FlagReadOnly|FlagFullReply) != 0:
		return fmt.Errorf("unknown request flags %#x", uint8(r.Flags))
	}
	return nil
}

// Batch is what the replicas agree on for one sequence number, independent of the view in which they do: the primary's
// choice and the requests, in order.
type Batch struct {
	Choice   []byte
	Requests []Digest
}

// Encode gives the bytes that the batch digest covers; they travel in REQUEST-BODY as a request's body does.
func (b *Batch) Encode() []byte {
	return b.append(make([]byte, 0, len(b.Choice)+34*len(b.Requests)+16))
}

// DecodeBatch is the inverse of Batch.Encode.
func DecodeBatch(content []byte) (*Batch, error) {
	b := new(Batch)
	if err := b.decode(&cursor{b: content}); err != nil {
		return nil, fmt.Errorf("decode batch: %w", err)
	}
	return b, b.check()
}

func (b *Batch) check() error {
	switch {
	case len(b.Choice) > MaxChoice:
		return fmt.Errorf("choice of %d bytes exceeds %d", len(b.Choice), MaxChoice)
	case len(b.Requests) > MaxBatch:
		return fmt.Errorf("batch of %d requests exceeds %d", len(b.Requests), MaxBatch)
	}
	return nil
}
