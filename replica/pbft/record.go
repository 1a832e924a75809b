package pbft

import (
	"errors"
	"fmt"

	"bfsd/replica/wire"
)

// The log's records. The first byte is the kind, the rest a msgpack array.
const (
	recordAccepted = 1 // a proposal was accepted: a Q entry, with everything needed to execute it
	recordPrepared = 2 // a prepared certificate: a P entry
	recordAbandon  = 3 // a promise not to prepare (doubt.go)
	recordVoid     = 4 // the void ballot opened: a Q entry without content
	recordView     = 5 // the view, and the NEW-VIEW that started it
	recordExecuted = 6 // a batch was executed that was not prepared here: see readFloor
	recordContent  = 7 // the content of a batch that was adopted, not accepted
	recordDecided  = 8 // what was decided up to a checkpoint, before the CHECKPOINT leaves
)

// acceptedFields leaves out the content when an earlier record of the same slot has it: a new view proposes again what
// the old one proposed.
type acceptedFields struct {
	View    wire.View
	Seq     wire.Seq
	Digest  wire.Digest
	Content []byte
	Bodies  []wire.Body
}

type abandonFields struct {
	View wire.View
	Seq  wire.Seq
}

// decidedFields names the batches First, First+1, ….
type decidedFields struct {
	First   wire.Seq
	Digests []wire.Digest
}

type executedFields struct{ Seq wire.Seq }

type viewFields struct {
	View     wire.View
	Proposed bool // this replica, the primary of View, has sent its NEW-VIEW or is about to
	Active   bool
	NewView  []byte
	Births   []uint64 // whose beginnings this replica vouched for (rejoin.go)
}

// persist appends a record to the log, where there is one.
func (c *Core) persist(seq wire.Seq, record func() []byte, out *Effects) {
	if !c.cfg.Volatile {
		out.add(Persist{Seq: seq, Record: record()})
	}
}

func record(kind byte, v any, size int) []byte { return wire.MarshalKind(kind, v, size) }

func acceptRecord(s *slot, v wire.View, b *batch) []byte {
	return batchRecord(recordAccepted, &acceptedFields{View: v, Seq: s.seq, Digest: s.digest}, b)
}

func contentRecord(s *slot, b *batch) []byte {
	return batchRecord(recordContent, &acceptedFields{Seq: s.seq, Digest: b.digest}, b)
}

func decidedRecord(first wire.Seq, digests []wire.Digest) []byte {
	return record(recordDecided, &decidedFields{first, digests}, 32+34*len(digests))
}

// batchRecord adds the content to a record, the first time.
func batchRecord(kind byte, f *acceptedFields, b *batch) []byte {
	if b != nil && !b.logged {
		b.logged = true
		f.Content = b.content
		f.Bodies = make([]wire.Body, len(b.requests))
		for i, r := range b.requests {
			f.Bodies[i] = r.Body()
		}
	}
	size := 128 + len(f.Content)
	for i := range f.Bodies {
		size += 16 + len(f.Bodies[i].Bytes) + 18*len(f.Bodies[i].Auth)
	}
	return record(kind, f, size)
}

func preparedRecord(e wire.PreparedEntry) []byte { return record(recordPrepared, &e, 64) }

func voidRecord(e wire.PreparedEntry) []byte { return record(recordVoid, &e, 64) }

func executedRecord(seq wire.Seq) []byte {
	return record(recordExecuted, &executedFields{seq}, 16)
}

func abandonRecord(v wire.View, seq wire.Seq) []byte {
	return record(recordAbandon, &abandonFields{v, seq}, 32)
}

// persistView records the view, and what else must be known for ever.
func (c *Core) persistView(out *Effects) {
	if c.cfg.Volatile {
		return
	}
	f := &viewFields{View: c.view, Proposed: c.view > 0 && c.vc.proposed >= c.view, Active: c.active, Births: c.rejoin.births}
	if c.vc.newView != nil {
		f.NewView = wire.Encode(c.vc.newView)
	}
	out.add(Persist{View: c.view, Record: viewRecord(f)})
}

func viewRecord(f *viewFields) []byte {
	return record(recordView, f, 64+10*len(f.Births)+len(f.NewView))
}

// decodeRecord gives *acceptedFields, *decidedFields, *wire.PreparedEntry with its kind, *abandonFields,
// *executedFields or *viewFields.
func decodeRecord(b []byte) (kind byte, fields any, err error) {
	if len(b) == 0 {
		return 0, nil, errors.New("decode log record: it is empty")
	}
	var n int
	switch kind = b[0]; kind {
	case recordDecided:
		fields, n = new(decidedFields), 2
	case recordAccepted, recordContent:
		fields, n = new(acceptedFields), 5
	case recordPrepared, recordVoid:
		fields, n = new(wire.PreparedEntry), 4
	case recordAbandon:
		fields, n = new(abandonFields), 2
	case recordExecuted:
		fields, n = new(executedFields), 1
	case recordView:
		fields, n = new(viewFields), 5
	default:
		return 0, nil, fmt.Errorf("decode log record: unknown kind %d", kind)
	}
	err = wire.Unmarshal(b[1:], fields, n)
	if kind == recordView && err != nil {
		err = wire.Unmarshal(b[1:], fields, n-1) // written before there were Births
	}
	if err != nil {
		return 0, nil, fmt.Errorf("decode log record of kind %d: %w", kind, err)
	}
	return kind, fields, nil
}
