package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"bfsd/replica/wire"
)

// Kind names the part of a store that is damaged, for metrics.
type Kind string

// The kinds of damage.
const (
	KindLog        Kind = "log"             // records that were synced are gone
	KindCheckpoint Kind = "checkpoint"      // the state is not the one that its certificate is for, or an older one
	KindMark       Kind = "high-water mark" // the file is gone, or changed
	KindDatabase   Kind = "database"        // a file cannot be read, or is gone
)

// Condition says whether a store holds all that its replica ever said. The zero value: it does.
type Condition struct {
	// Nonce is a random number: of this life of the replica, or of the store if it is New. 0: nothing is in doubt.
	Nonce uint64
	// New: the store was made empty, and its replica has not been told since that it had none before (Settle).
	New bool
	// Lost says what was lost, when something is known to be; Kind which part of the store that was.
	Lost string
	Kind Kind
	// View is the highest view that the replica said anything in or asked for, if ViewKnown.
	View      wire.View
	ViewKnown bool
}

// Doubtful says whether the replica may have said what the store does not know of.
func (c Condition) Doubtful() bool { return c.Nonce != 0 }

// DamageError is why a store cannot be used, or cannot be trusted: the disk lost or changed what was written.
type DamageError struct {
	Kind      Kind
	What      string // what was found, with the file if it is known
	View      wire.View
	ViewKnown bool // as in Condition, from a high-water mark that is whole
}

// Error says what was found.
func (d *DamageError) Error() string { return "damaged: " + d.What }

// Condition says whether the store holds all that its replica ever said, as of Open.
func (s *Store) Condition() Condition { return s.condition }

// Settle says that nothing is in doubt any more: whatever the replica may have said before lies behind the checkpoint.
func (s *Store) Settle() error {
	// The mark first. A crash in between leaves the doubt in the database, so the replica doubts once more.
	err := s.high.update(true, func(m *mark) { m.doubt = false })
	if err == nil {
		err = s.db.Delete([]byte{prefixDoubt}, pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("noting that nothing is in doubt any more: %w", err)
	}
	return nil
}

// How a doubt is written down: the first byte of the value; the nonce follows (8 bytes), the length of Kind (1 byte), Kind, Lost.
const (
	doubtNew       = 1
	doubtLost      = 2 // the view is known
	doubtLostViews = 3 // not even the view is known
)

func (c Condition) encode() []byte {
	kind := byte(doubtLostViews)
	switch {
	case c.New:
		kind = doubtNew
	case c.ViewKnown:
		kind = doubtLost
	}
	b := append(binary.BigEndian.AppendUint64([]byte{kind}, c.Nonce), byte(len(c.Kind)))
	return append(append(b, c.Kind...), c.Lost...)
}

// decodeCondition is the inverse of encode, but for the view, which the high-water mark has.
func decodeCondition(b []byte) (Condition, error) {
	if len(b) < 10 || b[0] < doubtNew || b[0] > doubtLostViews || len(b) < 10+int(b[9]) {
		return Condition{}, fmt.Errorf("reading what is in doubt: %d bytes, or of an unknown kind", len(b))
	}
	c := Condition{New: b[0] == doubtNew, ViewKnown: b[0] == doubtLost, Nonce: binary.BigEndian.Uint64(b[1:])}
	c.Kind, c.Lost = Kind(b[10:10+int(b[9])]), string(b[10+int(b[9]):])
	if c.Nonce == 0 {
		return Condition{}, errors.New("reading what is in doubt: its number is 0")
	}
	return c, nil
}

// adopt gives a database its owner, its number and its high-water mark: a new one, or one of a build that kept no mark.
func (s *Store) adopt(o Options, found *findings, stable wire.Seq, checkpointed bool) error {
	if o.ReadOnly {
		return nil
	}
	m := mark{end: s.next, stable: stable}
	if _, err := rand.Read(m.store[:]); err != nil {
		return fmt.Errorf("choosing the store's number: %w", err)
	}
	lost := o.Lost
	if lost == nil && found.markOK && !found.mark.empty() {
		lost = &DamageError{Kind: KindDatabase, What: "the database has forgotten everything", View: found.mark.view, ViewKnown: found.viewKnown()}
	}
	var c Condition
	switch {
	case lost != nil:
		c = Condition{Lost: lost.What, Kind: lost.Kind, Nonce: nonce(), View: lost.View, ViewKnown: lost.ViewKnown}
	case s.next == 0 && !checkpointed:
		c = Condition{New: true, Nonce: nonce()}
	}
	m.view, m.doubt = c.View, c.Doubtful()
	var err error
	if s.high, err = createMark(s.fs, s.dir, m, s.faults.mark); err != nil {
		return err
	}
	return s.note(c, [2][]byte{{prefixIdentity}, m.store[:]}, [2][]byte{{prefixOwner}, o.Owner})
}

// verify compares the database with its high-water mark.
func (s *Store) verify(o Options, found *findings, stable wire.Seq) error {
	id := s.kept[prefixIdentity]
	ours := found.markOK && bytes.Equal(found.mark.store[:], id)
	m, whole, viewKnown := found.mark, found.whole, found.viewKnown()
	if !ours {
		m, whole, viewKnown = mark{}, false, false
		copy(m.store[:], id)
	}
	if doubt := s.kept[prefixDoubt]; doubt != nil {
		c, err := decodeCondition(doubt)
		if err != nil {
			return found.refused(err)
		}
		c.View, c.ViewKnown = m.view, c.ViewKnown && whole
		viewKnown = viewKnown || c.ViewKnown // a mark in doubt, that says why
		if !c.New {
			c.Nonce = nonce() // of this life
		}
		s.condition = c
	}
	lost, kind := "", KindMark
	switch {
	case !found.marked:
		lost = "the file " + markName + " is gone"
	case !found.markOK:
		lost = "the file " + markName + " cannot be read"
	case !ours:
		lost = "the file " + markName + " belongs to another store"
	case s.next < m.end:
		lost, kind = fmt.Sprintf("the log ends before record %d, but records before %d were synced", s.next, m.end), KindLog
	case stable < m.stable:
		lost, kind = fmt.Sprintf("the last checkpoint is %d, but %d was synced", stable, m.stable), KindCheckpoint
	case m.doubt && !s.condition.Doubtful():
		lost, kind = "it was in doubt, and has forgotten why", KindLog
	}
	if o.ReadOnly {
		if lost != "" {
			return found.refused(errors.New(lost))
		}
		return nil
	}
	var err error
	if lost == "" {
		s.high, err = openMark(s.fs, s.dir, m, s.faults.mark)
		return err
	}
	m.end, m.stable, m.doubt = s.next, stable, true
	if s.high, err = createMark(s.fs, s.dir, m, s.faults.mark); err != nil {
		return err
	}
	return s.note(Condition{Lost: lost, Kind: kind, Nonce: nonce(), View: m.view, ViewKnown: viewKnown})
}

// note writes a doubt down, if there is one, and the given pairs of keys and values with it. A log that is in doubt goes:
// what is left of it must not be taken for all there was.
func (s *Store) note(c Condition, pairs ...[2][]byte) error {
	b := s.db.NewBatch()
	defer b.Close()
	var errs []error
	for _, p := range pairs {
		if p[1] != nil {
			errs = append(errs, b.Set(p[0], p[1], nil))
		}
	}
	if c.Doubtful() {
		errs = append(errs, b.Set([]byte{prefixDoubt}, c.encode(), nil))
	}
	if c.Lost != "" {
		errs = append(errs, b.DeleteRange([]byte{prefixRecord}, []byte{prefixRecord + 1}, nil))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("noting the store's condition: %w", err)
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("noting the store's condition: %w", err)
	}
	s.condition = c
	return nil
}

// nonce makes a random number other than 0.
func nonce() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
