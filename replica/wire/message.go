package wire

// Kind is the first byte of a frame and says which message follows.
type Kind uint8

// The kinds of messages. The numbers are the protocol's and never change their meaning.
const (
	KindRequest      Kind = 1
	KindPrePrepare   Kind = 2
	KindPrepare      Kind = 3
	KindCommit       Kind = 4
	KindReply        Kind = 5
	KindCheckpoint   Kind = 6
	KindViewChange   Kind = 7
	KindNewView      Kind = 8
	KindStatus       Kind = 9
	KindFetch        Kind = 10
	KindMetaData     Kind = 11
	KindData         Kind = 12
	KindFetchRequest Kind = 13
	KindRequestBody  Kind = 14
	KindDecided      Kind = 15
	KindAbandon      Kind = 16
	KindVouch        Kind = 17
	KindClientFetch  Kind = 18
	KindQueryStable  Kind = 19
	KindReplyStable  Kind = 20
)

// String gives the message's name as the papers write it.
func (k Kind) String() string {
	names := [...]string{
		KindRequest: "REQUEST", KindPrePrepare: "PRE-PREPARE", KindPrepare: "PREPARE", KindCommit: "COMMIT",
		KindReply: "REPLY", KindCheckpoint: "CHECKPOINT", KindViewChange: "VIEW-CHANGE", KindNewView: "NEW-VIEW",
		KindStatus: "STATUS", KindFetch: "FETCH", KindMetaData: "META-DATA", KindData: "DATA",
		KindFetchRequest: "FETCH-REQUEST", KindRequestBody: "REQUEST-BODY", KindDecided: "DECIDED", KindAbandon: "ABANDON", KindVouch: "VOUCH",
		KindClientFetch: "CLIENT-FETCH",
		KindQueryStable: "QUERY-STABLE", KindReplyStable: "REPLY-STABLE",
	}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return "unknown kind"
}

// Limits on what a message may hold. Whatever exceeds them does not decode. They are generous bounds against abuse; the
// configuration sets smaller ones.
const (
	MaxFrame       = 16 << 20       // bytes of one encoded message
	MaxOp          = 1<<20 + 64<<10 // bytes of an operation: a 1 MiB write and its arguments
	MaxResult      = 1<<20 + 64<<10 // bytes of a result: a 1 MiB read and its attributes
	MaxChoice      = 64             // bytes of the primary's non-deterministic choice
	MaxReplicas    = 64             // so that a set of replicas fits a 64-bit word
	MaxBatch       = 1024           // requests in a batch
	MaxWindow      = 1024           // sequence numbers between the water marks: H − h
	MaxCheckpoints = 8              // checkpoints in a VIEW-CHANGE
	MaxPrePrepared = 4 * MaxWindow  // entries of the Q set of a VIEW-CHANGE
	MaxVotes       = 256            // votes that ride on another message, or lie in a DECIDED
	MaxDigests     = 256            // digests asked for at once
	MaxNode        = 1 << 20        // bytes of one node of the state tree
	MACSize        = 16             // bytes of one MAC of an authenticator
	SignatureSize  = 64             // bytes of an Ed25519 signature
)

// Message is one of the pointer types of this package: *Request, *PrePrepare and so on.
type Message interface {
	Kind() Kind
	// check refuses a decoded message whose parts exceed the limits.
	check() error
}

// Sent is implemented by the messages that name the replica they come from.
type Sent interface {
	Message
	// Sender is the replica the message claims to be from.
	Sender() ReplicaID
}

// FromClient is implemented by the messages that name the client they come from, and prove it by their link.
type FromClient interface {
	Message
	// Origin is the client the message claims to be from.
	Origin() ClientID
}

// NullDigest stands for the null request (TOCS §4.5.4): the slot is agreed on and executes nothing. No batch has it:
// that would be a preimage of zero.
var NullDigest = Digest{}
