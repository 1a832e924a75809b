package wire

import "fmt"

// Status is STATUS: what the sender has, so that its peers send again what it lacks (TOCS §5.2 of the thesis,
// "message retransmission"). Bit i of a bitmap, least significant first, stands for sequence number Stable+1+i.
type Status struct {
	Replica     ReplicaID
	View        View
	Active      bool   // the sender has the NEW-VIEW of View (or View is 0)
	Stable      Seq    // h
	Executed    Seq    // everything up to here executed and committed at the sender
	PrePrepared []byte // has the proposal of View with all bodies
	Prepared    []byte // has a prepared certificate of View
	Committed   []byte // knows the batch to have committed
	ViewChanges uint64 // not active: bit i set when the sender has replica i's VIEW-CHANGE for View
}

// Kind is KindStatus.
func (*Status) Kind() Kind { return KindStatus }

// Sender is the replica the message claims to be from.
func (s *Status) Sender() ReplicaID { return s.Replica }

func (s *Status) check() error {
	if len(s.PrePrepared) > MaxWindow/8 || len(s.Prepared) > MaxWindow/8 || len(s.Committed) > MaxWindow/8 {
		return fmt.Errorf("status bitmaps exceed %d bytes", MaxWindow/8)
	}
	return nil
}

// FetchRequest is FETCH-REQUEST: the sender lacks the contents with these digests (bodies of requests, or batches).
type FetchRequest struct {
	Replica ReplicaID
	Digests []Digest
}

// Kind is KindFetchRequest.
func (*FetchRequest) Kind() Kind { return KindFetchRequest }

// Sender is the replica the message claims to be from.
func (f *FetchRequest) Sender() ReplicaID { return f.Replica }

func (f *FetchRequest) check() error { return checkDigests(f.Digests) }

// RequestBody is REQUEST-BODY, the answer to FETCH-REQUEST: requests with their authenticators, and batches. Content is
// addressed by its digest, so it does not matter who sends it.
type RequestBody struct {
	Replica ReplicaID
	Bodies  []Body
	Batches [][]byte

	requests []*Request
}

// NewRequestBody makes a REQUEST-BODY.
func NewRequestBody(from ReplicaID, reqs []*Request, batches [][]byte) *RequestBody {
	m := &RequestBody{Replica: from, Batches: batches, requests: reqs, Bodies: make([]Body, len(reqs))}
	for i, r := range reqs {
		m.Bodies[i] = r.Body()
	}
	return m
}

// Kind is KindRequestBody.
func (*RequestBody) Kind() Kind { return KindRequestBody }

// Sender is the replica the message claims to be from.
func (r *RequestBody) Sender() ReplicaID { return r.Replica }

// Requests gives the requests, decoded.
func (r *RequestBody) Requests() []*Request { return r.requests }

func (r *RequestBody) check() error {
	if len(r.Bodies) > MaxDigests || len(r.Batches) > MaxDigests {
		return fmt.Errorf("%d bodies and %d batches exceed %d", len(r.Bodies), len(r.Batches), MaxDigests)
	}
	return nil
}

// Decided is DECIDED: these batches committed at the sender. A replica adopts what f+1 replicas say, whatever view it
// is in, so that a correct laggard always catches up (arXiv 2107.11144 shows what happens otherwise).
type Decided struct {
	Replica ReplicaID
	Batches []SlotVote
}

// Kind is KindDecided.
func (*Decided) Kind() Kind { return KindDecided }

// Sender is the replica the message claims to be from.
func (d *Decided) Sender() ReplicaID { return d.Replica }

func (d *Decided) check() error { return checkVotes(d.Batches) }

// Fetch is FETCH: the sender restores the state with the given root and lacks the tree nodes with these digests
// (TOCS §4.6, state transfer). The replica's driver answers; the protocol core never sees it.
type Fetch struct {
	Replica ReplicaID
	Root    Digest
	Digests []Digest
}

// Kind is KindFetch.
func (*Fetch) Kind() Kind { return KindFetch }

// Sender is the replica the message claims to be from.
func (f *Fetch) Sender() ReplicaID { return f.Replica }

func (f *Fetch) check() error { return checkDigests(f.Digests) }

// MetaData is META-DATA, the answer to a FETCH for a root that the sender does not hold any more: its stable checkpoint.
type MetaData struct {
	Replica ReplicaID
	Root    Digest // the root that was asked for
	Stable  CheckpointRef
}

// Kind is KindMetaData.
func (*MetaData) Kind() Kind { return KindMetaData }

// Sender is the replica the message claims to be from.
func (m *MetaData) Sender() ReplicaID { return m.Replica }

func (m *MetaData) check() error { return nil }

// Data is DATA, the answer to FETCH: the encodings of nodes. The receiver hashes each, so it does not matter who sends it.
type Data struct {
	Replica ReplicaID
	Root    Digest
	Nodes   [][]byte
	Size    uint64 // bytes of everything under Root, as the sender says: good for showing progress and for nothing else
}

// Kind is KindData.
func (*Data) Kind() Kind { return KindData }

// Sender is the replica the message claims to be from.
func (d *Data) Sender() ReplicaID { return d.Replica }

func (d *Data) check() error {
	if len(d.Nodes) > MaxDigests {
		return fmt.Errorf("%d nodes exceed %d", len(d.Nodes), MaxDigests)
	}
	for _, n := range d.Nodes {
		if len(n) > MaxNode {
			return fmt.Errorf("node of %d bytes exceeds %d", len(n), MaxNode)
		}
	}
	return nil
}

// ClientFetch is CLIENT-FETCH: a client that may copy the whole state (a backup's) asks for nodes as a replica does with
// FETCH. With a zero Root and no digests it asks for the newest stable checkpoint: the answer is the CHECKPOINTs that
// prove it. The replica's driver answers; the protocol core never sees it.
type ClientFetch struct {
	Client  ClientID
	Root    Digest
	Digests []Digest
}

// Kind is KindClientFetch.
func (*ClientFetch) Kind() Kind { return KindClientFetch }

// Origin is the client the message claims to be from.
func (f *ClientFetch) Origin() ClientID { return f.Client }

func (f *ClientFetch) check() error { return checkDigests(f.Digests) }

func checkDigests(d []Digest) error {
	if len(d) > MaxDigests {
		return fmt.Errorf("%d digests exceed %d", len(d), MaxDigests)
	}
	return nil
}
