package wire

import (
	"errors"
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// handle is the one configuration of the encoding: structs as arrays, byte strings as such.
var handle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.StructToArray = true
	return h
}()

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed message")

// Encode gives the frame of a message. Signed messages must have been signed, requests authenticated.
func Encode(m Message) []byte {
	head := func(size int) []byte { return append(make([]byte, 0, size), byte(m.Kind())) }
	switch m := m.(type) {
	case *Request:
		f := m.Body()
		return f.append(head(len(m.body) + 18*len(m.Auth) + 16))
	case *PrePrepare:
		return m.append(head(m.size()))
	case *Prepare:
		return m.append(head(80 + 44*len(m.Commits)))
	case *Commit:
		return m.append(head(80))
	case *Reply:
		return m.append(head(96 + len(m.Result)))
	case *Data:
		return m.append(head(m.size()))
	case SignedMessage:
		m.SignedBytes()
		e := m.env()
		return MarshalKind(byte(m.Kind()), &signedFrame{e.content, e.signature}, len(e.content)+96)
	}
	return MarshalKind(byte(m.Kind()), m, 256)
}

// Decode is the inverse of Encode, for bytes from anywhere. A REQUEST, REPLY or DATA keeps the frame, of which it is almost
// all: do not change it afterwards. Other messages do not alias it.
func Decode(frame []byte) (Message, error) {
	if len(frame) == 0 {
		return nil, fmt.Errorf("%w: empty frame", ErrMalformed)
	}
	if len(frame) > MaxFrame {
		return nil, fmt.Errorf("%w: frame of %d bytes exceeds %d", ErrMalformed, len(frame), MaxFrame)
	}
	k := Kind(frame[0])
	m, err := decode(k, frame[1:])
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrMalformed, k, err)
	}
	return m, nil
}

func decode(k Kind, b []byte) (Message, error) {
	switch k {
	case KindRequest:
		c := &cursor{b: b}
		body := c.bodyView() // hardly smaller than the message
		if err := c.done(); err != nil {
			return nil, err
		}
		return decodedOrNil(DecodeRequest(body))
	case KindPrePrepare:
		m := new(PrePrepare)
		if err := m.decode(&cursor{b: b}); err != nil {
			return nil, err
		}
		return m, m.decodeEntries()
	case KindPrepare:
		m := new(Prepare)
		return m, m.decode(&cursor{b: b})
	case KindCommit:
		m := new(Commit)
		return m, m.decode(&cursor{b: b})
	case KindAbandon:
		return plain(b, new(Abandon), 5)
	case KindVouch:
		return plain(b, new(Vouch), 5)
	case KindReply:
		m := new(Reply)
		return m, m.decode(&cursor{b: b})
	case KindCheckpoint, KindViewChange, KindNewView:
		var f signedFrame
		if err := unmarshal(b, &f, 2); err != nil {
			return nil, err
		}
		return decodeSigned(k, f)
	case KindStatus:
		return plain(b, new(Status), 9)
	case KindFetch:
		return plain(b, new(Fetch), 3)
	case KindMetaData:
		return plain(b, new(MetaData), 3)
	case KindData:
		m := new(Data)
		return m, m.decode(&cursor{b: b})
	case KindClientFetch:
		return plain(b, new(ClientFetch), 3)
	case KindFetchRequest:
		return plain(b, new(FetchRequest), 2)
	case KindRequestBody:
		m := new(RequestBody)
		if err := unmarshal(b, m, 3); err != nil {
			return nil, err
		}
		return m, m.decodeBodies()
	case KindDecided:
		return plain(b, new(Decided), 2)
	case KindQueryStable:
		return plain(b, new(QueryStable), 4)
	case KindReplyStable:
		return plain(b, new(ReplyStable), 6)
	}
	return nil, fmt.Errorf("kind %d", k)
}

// plain decodes a message whose struct is its wire form.
func plain(b []byte, m Message, fields int) (Message, error) { return m, unmarshal(b, m, fields) }

func decodedOrNil(r *Request, err error) (Message, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (p *PrePrepare) decodeEntries() error {
	if len(p.Entries) > MaxBatch {
		return fmt.Errorf("batch of %d requests exceeds %d", len(p.Entries), MaxBatch)
	}
	p.requests = make([]*Request, len(p.Entries))
	for i := range p.Entries {
		e := &p.Entries[i]
		switch inline := len(e.Inline.Bytes) > 0; {
		case inline && e.Digest != NullDigest:
			return fmt.Errorf("entry %d is both inline and a digest", i)
		case inline:
			r, err := DecodeRequest(e.Inline)
			if err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
			p.requests[i] = r
		case e.Digest == NullDigest:
			return fmt.Errorf("entry %d is empty", i)
		}
	}
	p.finish()
	return nil
}

func (r *RequestBody) decodeBodies() error {
	if err := r.check(); err != nil {
		return err
	}
	r.requests = make([]*Request, len(r.Bodies))
	for i, b := range r.Bodies {
		req, err := DecodeRequest(b)
		if err != nil {
			return fmt.Errorf("body %d: %w", i, err)
		}
		r.requests[i] = req
	}
	return nil
}

func decodeSigned(k Kind, f signedFrame) (Message, error) {
	if len(f.Signature) != SignatureSize {
		return nil, fmt.Errorf("signature of %d bytes, want %d", len(f.Signature), SignatureSize)
	}
	e := envelope{content: f.Content, signature: f.Signature}
	switch k {
	case KindCheckpoint:
		var c checkpointContent
		if err := unmarshal(f.Content, &c, 3); err != nil {
			return nil, err
		}
		return &Checkpoint{Seq: c.Seq, Root: c.Root, Replica: c.Replica, envelope: e}, nil
	case KindViewChange:
		return decodeViewChange(e)
	case KindNewView:
		return decodeNewView(e)
	default:
		panic("wire: not a signed kind")
	}
}

func decodeViewChange(e envelope) (Message, error) {
	var c viewChangeContent
	if err := unmarshal(e.content, &c, 6); err != nil {
		return nil, err
	}
	return &ViewChange{
		View: c.View, Stable: c.Stable, Checkpoints: c.Checkpoints, Prepared: c.Prepared,
		PrePrepared: c.PrePrepared, Replica: c.Replica, envelope: e,
	}, nil
}

func decodeNewView(e envelope) (Message, error) {
	var c newViewContent
	if err := unmarshal(e.content, &c, 5); err != nil {
		return nil, err
	}
	if len(c.ViewChanges) > MaxReplicas {
		return nil, fmt.Errorf("%d view changes exceed %d", len(c.ViewChanges), MaxReplicas)
	}
	nv := &NewView{View: c.View, Start: c.Start, Plan: c.Plan, Replica: c.Replica, envelope: e}
	nv.ViewChanges = make([]*ViewChange, len(c.ViewChanges))
	for i, f := range c.ViewChanges {
		m, err := decodeSigned(KindViewChange, f)
		if err == nil {
			err = m.check()
		}
		if err != nil {
			return nil, fmt.Errorf("view change %d: %w", i, err)
		}
		nv.ViewChanges[i] = m.(*ViewChange)
	}
	return nv, nil
}

// Unmarshal is the inverse of MarshalKind after the first byte: b must be exactly one array with the given number of elements.
func Unmarshal(b []byte, v any, fields int) error { return unmarshal(b, v, fields) }

// marshal encodes a value of this module; that cannot fail.
func marshal(v any, size int) []byte { return appendMarshal(make([]byte, 0, size), v) }

// MarshalKind encodes a struct as messages are encoded, behind a byte that tells what it is: messages, and the log records
// of package pbft. size is about how many bytes it takes; one that suffices saves a copy.
func MarshalKind(kind byte, v any, size int) []byte {
	whole := make([]byte, 1, 1+max(size, 1))
	tail := appendMarshal(whole[1:1], v)
	if whole = whole[:1+min(len(tail), cap(whole)-1)]; len(tail) == 0 || &whole[len(whole)-1] != &tail[len(tail)-1] {
		whole = append(whole[:1], tail...)
	}
	whole[0] = kind
	return whole
}

func appendMarshal(b []byte, v any) []byte {
	if err := codec.NewEncoderBytes(&b, handle).Encode(v); err != nil {
		panic(fmt.Sprintf("wire: encode %T: %v", v, err))
	}
	return b
}

// unmarshal decodes exactly the bytes of b, a msgpack array with the given number of elements.
func unmarshal(b []byte, v any, fields int) error {
	if err := checkShape(b, fields); err != nil {
		return err
	}
	d := codec.NewDecoderBytes(b, handle)
	if err := d.Decode(v); err != nil {
		return err
	}
	if n := d.NumBytesRead(); n != len(b) {
		return fmt.Errorf("%d bytes after the message", len(b)-n)
	}
	return nil
}
