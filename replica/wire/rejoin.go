package wire

// QueryStable is QUERY-STABLE (TOCS §5.2, the estimation protocol): the sender cannot be sure that it remembers all that
// it said, and asks how far it may have got.
type QueryStable struct {
	Replica ReplicaID
	Nonce   uint64 // answers must repeat it: those to an earlier question do not count
	New     bool   // as far as the sender knows it has never said anything
	Until   Seq    // the stable checkpoint that it waits for; 0: it does not know yet
}

// Kind is KindQueryStable.
func (*QueryStable) Kind() Kind { return KindQueryStable }

// Sender is the replica the message claims to be from.
func (q *QueryStable) Sender() ReplicaID { return q.Replica }

func (q *QueryStable) check() error { return nil }

// ReplyStable is REPLY-STABLE, the answer to QUERY-STABLE.
type ReplyStable struct {
	Replica  ReplicaID
	Nonce    uint64 // of the question
	Sound    bool   // the sender remembers all that it said; else View and Prepared count for nothing
	Vouched  bool   // the sender has never vouched for another beginning of the asker than the one with this nonce
	View     View   // the sender's view
	Prepared Seq    // the last batch that prepared at the sender, or is known to it to have committed
}

// Kind is KindReplyStable.
func (*ReplyStable) Kind() Kind { return KindReplyStable }

// Sender is the replica the message claims to be from.
func (r *ReplyStable) Sender() ReplicaID { return r.Replica }

func (r *ReplyStable) check() error { return nil }
