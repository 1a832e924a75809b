package wire

import (
	"errors"
	"fmt"
)

// SignedMessage is a message that must convince third parties: CHECKPOINT, VIEW-CHANGE, NEW-VIEW. On the wire it is
// [content, signature]; the signature is over SignedBytes.
type SignedMessage interface {
	Sent
	// SignedBytes is what the signature covers: a domain prefix, the kind, the content as first encoded or received.
	SignedBytes() []byte
	// SignatureBytes is the signature, nil while the message is not signed.
	SignatureBytes() []byte
	env() *envelope
	encodeContent() []byte
}

// envelope keeps the content of a signed message as it was first encoded or received.
type envelope struct {
	content   []byte
	signature []byte
}

// signedFrame is the wire form of every signed message.
type signedFrame struct {
	Content   []byte
	Signature []byte
}

// signingDomain keeps a signature made for this protocol from meaning anything elsewhere, and the other way round.
const signingDomain = "bfsd/replica/1 "

func (e *envelope) env() *envelope { return e }

// SignatureBytes is the signature, nil while the message is not signed.
func (e *envelope) SignatureBytes() []byte { return e.signature }

func signedBytes(m SignedMessage) []byte {
	e := m.env()
	if e.content == nil {
		e.content = m.encodeContent()
	}
	b := make([]byte, 0, len(signingDomain)+1+len(e.content))
	b = append(b, signingDomain...)
	b = append(b, byte(m.Kind()))
	return append(b, e.content...)
}

// Sign completes a message; it must not be changed afterwards.
func Sign(m SignedMessage, sign func([]byte) []byte) {
	m.env().signature = sign(m.SignedBytes())
}

// CheckpointRef names a checkpoint: a sequence number and the root of the state after it.
type CheckpointRef struct {
	Seq  Seq
	Root Digest
}

// Checkpoint is CHECKPOINT: the sender executed everything up to Seq, committed, and its state's root is Root (TOCS §4.4).
type Checkpoint struct {
	Seq     Seq
	Root    Digest
	Replica ReplicaID

	envelope
}

type checkpointContent struct {
	Seq     Seq
	Root    Digest
	Replica ReplicaID
}

// Kind is KindCheckpoint.
func (*Checkpoint) Kind() Kind { return KindCheckpoint }

// Sender is the replica the message claims to be from.
func (c *Checkpoint) Sender() ReplicaID { return c.Replica }

// SignedBytes is what the signature covers.
func (c *Checkpoint) SignedBytes() []byte { return signedBytes(c) }

func (c *Checkpoint) encodeContent() []byte {
	return marshal(&checkpointContent{c.Seq, c.Root, c.Replica}, 64)
}

func (c *Checkpoint) check() error { return nil }

// PreparedEntry is a tuple of the P set (TOCS §4.5.2): in View, and in no later view, the batch prepared at the sender.
// An abandoned slot (Abandon) prepares null under the ballot (View, Void); Void ranks above the proposal of its view.
type PreparedEntry struct {
	Seq    Seq
	Digest Digest
	View   View
	Void   bool
}

// ViewChange is VIEW-CHANGE: the sender left the views below View and tells what the next primary must know (TOCS §4.5.2).
type ViewChange struct {
	View        View
	Stable      Seq             // h
	Checkpoints []CheckpointRef // C: the checkpoints the sender has, ascending
	Prepared    []PreparedEntry // P: at most one for a sequence number, ascending
	PrePrepared []PreparedEntry // Q: at most one for a (sequence number, digest), ascending by sequence number
	Replica     ReplicaID

	envelope
}

type viewChangeContent struct {
	View        View
	Stable      Seq
	Checkpoints []CheckpointRef
	Prepared    []PreparedEntry
	PrePrepared []PreparedEntry
	Replica     ReplicaID
}

// Kind is KindViewChange.
func (*ViewChange) Kind() Kind { return KindViewChange }

// Sender is the replica the message claims to be from.
func (c *ViewChange) Sender() ReplicaID { return c.Replica }

// SignedBytes is what the signature covers.
func (c *ViewChange) SignedBytes() []byte { return signedBytes(c) }

func (c *ViewChange) encodeContent() []byte {
	return marshal(&viewChangeContent{c.View, c.Stable, c.Checkpoints, c.Prepared, c.PrePrepared, c.Replica},
		128+60*(len(c.Prepared)+len(c.PrePrepared)+len(c.Checkpoints)))
}

func (c *ViewChange) check() error {
	if len(c.Checkpoints) > MaxCheckpoints || len(c.Prepared) > MaxWindow || len(c.PrePrepared) > MaxPrePrepared {
		return fmt.Errorf("view change with %d checkpoints, %d prepared, %d pre-prepared exceeds %d, %d, %d",
			len(c.Checkpoints), len(c.Prepared), len(c.PrePrepared), MaxCheckpoints, MaxWindow, MaxPrePrepared)
	}
	return c.ordered()
}

// ordered keeps a sender from voting twice in one message.
func (c *ViewChange) ordered() error {
	for i := 1; i < len(c.Checkpoints); i++ {
		if c.Checkpoints[i-1].Seq >= c.Checkpoints[i].Seq {
			return errors.New("checkpoints of a view change do not ascend")
		}
	}
	for i := 1; i < len(c.Prepared); i++ {
		if c.Prepared[i-1].Seq >= c.Prepared[i].Seq {
			return errors.New("prepared entries of a view change do not ascend")
		}
	}
	for i := 1; i < len(c.PrePrepared); i++ {
		if c.PrePrepared[i-1].Seq > c.PrePrepared[i].Seq {
			return errors.New("pre-prepared entries of a view change do not ascend")
		}
	}
	for i := range c.Prepared {
		if p := &c.Prepared[i]; p.View >= c.View || p.Seq <= c.Stable || p.Seq > c.Stable+MaxWindow {
			return fmt.Errorf("prepared entry (%d, view %d) outside of the view change's window or views", p.Seq, p.View)
		}
	}
	for i := range c.PrePrepared {
		if p := &c.PrePrepared[i]; p.View >= c.View || p.Seq <= c.Stable || p.Seq > c.Stable+MaxWindow {
			return fmt.Errorf("pre-prepared entry (%d, view %d) outside of the view change's window or views", p.Seq, p.View)
		}
	}
	return nil
}

// NewView is NEW-VIEW: the primary of View starts it (TOCS §4.5.4). The receiver recomputes Start and Plan from the
// VIEW-CHANGEs with the function that the primary used.
type NewView struct {
	View        View
	ViewChanges []*ViewChange // V, with their signatures, ascending by sender
	Start       CheckpointRef // the selected checkpoint
	Plan        []Digest      // X: the batch for Start.Seq+1+i; NullDigest for the null request
	Replica     ReplicaID

	envelope
}

type newViewContent struct {
	View        View
	ViewChanges []signedFrame
	Start       CheckpointRef
	Plan        []Digest
	Replica     ReplicaID
}

// Kind is KindNewView.
func (*NewView) Kind() Kind { return KindNewView }

// Sender is the replica the message claims to be from.
func (c *NewView) Sender() ReplicaID { return c.Replica }

// SignedBytes is what the signature covers.
func (c *NewView) SignedBytes() []byte { return signedBytes(c) }

func (c *NewView) encodeContent() []byte {
	f := &newViewContent{c.View, make([]signedFrame, len(c.ViewChanges)), c.Start, c.Plan, c.Replica}
	size := 128 + 34*len(c.Plan)
	for i, vc := range c.ViewChanges {
		vc.SignedBytes() // encodes a content that is not yet encoded
		f.ViewChanges[i] = signedFrame{vc.content, vc.signature}
		size += len(vc.content) + 128
	}
	return marshal(f, size)
}

func (c *NewView) check() error {
	if len(c.ViewChanges) > MaxReplicas || len(c.Plan) > MaxWindow {
		return fmt.Errorf("new view with %d view changes and %d batches exceeds %d and %d",
			len(c.ViewChanges), len(c.Plan), MaxReplicas, MaxWindow)
	}
	for i, vc := range c.ViewChanges {
		if vc.View != c.View {
			return fmt.Errorf("new view %d holds a view change for view %d", c.View, vc.View)
		}
		if i > 0 && c.ViewChanges[i-1].Replica >= vc.Replica {
			return errors.New("view changes of a new view do not ascend")
		}
	}
	return nil
}
