package fsstate

import (
	"encoding/binary"
	"errors"
	"math"
)

// Seed is a secret that all replicas share, from which generations and hash salts are derived.
type Seed [32]byte

// super is the superblock: the counters and limits of the whole file system. Its record is big-endian, in this order,
// after a magic number that names the format.
type super struct {
	last      Time   // of the last operation that may have changed something
	nextIno   uint64 // never goes back
	bytes     uint64 // charged to MaxBytes
	inodes    uint64
	bytesMax  uint64
	inodesMax uint64
	seed      Seed
	dupMax    uint64 // how many answers the duplicate-request cache may hold
	dupCount  uint64 // how many it does
	dupNext   uint64 // how many it has taken in its life
	dupHand   uint64 // the machine that was looked at last

	policy *policy     // not part of the record: it has pairs of its own
	keys   *memberKeys // nor are these
}

const (
	superMagic = uint64('b')<<56 | 'f'<<48 | 's'<<40 | 'd'<<32 | 2
	superLen   = 11*8 + len(Seed{})
)

var errSuper = errors.New("no valid superblock")

func (s *super) encode() []byte {
	b := make([]byte, 0, superLen)
	for _, v := range [...]uint64{
		superMagic, uint64(s.last), s.nextIno, s.bytes, s.inodes, s.bytesMax, s.inodesMax,
		s.dupMax, s.dupCount, s.dupNext, s.dupHand,
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, s.seed[:]...)
}

func (s *super) decode(b []byte) error {
	if len(b) != superLen || binary.BigEndian.Uint64(b) != superMagic {
		return errSuper
	}
	for i, p := range [...]*uint64{
		&s.nextIno, &s.bytes, &s.inodes, &s.bytesMax, &s.inodesMax, &s.dupMax, &s.dupCount, &s.dupNext, &s.dupHand,
	} {
		*p = binary.BigEndian.Uint64(b[8*(i+2):])
	}
	s.last = Time(binary.BigEndian.Uint64(b[8:]))
	copy(s.seed[:], b[superLen-len(s.seed):])
	return nil
}

// tick returns the time of the next change: the agreed one, but later than any before (see PROTOCOL.md, "Time").
func (s *super) tick(now Time) Time {
	if now <= s.last && s.last < math.MaxInt64 {
		now = s.last + 1
	}
	s.last = max(s.last, now)
	return s.last
}

// room reports whether n more bytes may be charged.
func (s *super) room(n uint64) bool { return s.bytes <= s.bytesMax && n <= s.bytesMax-s.bytes }
