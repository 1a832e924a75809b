package backup

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The types of entries (POSIX ustar).
const (
	typeFile      = '0'
	typeLink      = '1'
	typeSymlink   = '2'
	typeChar      = '3'
	typeBlock     = '4'
	typeDirectory = '5'
	typeFIFO      = '6'
	typeExtended  = 'x'
)

const (
	blockSize  = 512
	recordSize = 20 * blockSize // what tar reads and writes at a time

	nameMax = 100       // bytes of a name in a header, without extended header
	idMax   = 1<<21 - 1 // of a number in eight bytes, octal
	sizeMax = 1<<33 - 1 // of a number in twelve
)

// entry is what one header says.
type entry struct {
	path         string // with a slash at the end for a directory
	link         string // of a hard or symbolic link
	typ          byte
	mode         uint32
	uid, gid     uint32
	size         uint64 // of what follows the header
	sparse       bool
	real         uint64 // a sparse file's size
	mtime        int64  // nanoseconds since 1970
	major, minor uint32
}

// header gives an entry's header: an extended one if anything does not fit into a plain one, then the plain one.
func (e *entry) header() []byte {
	records := e.records()
	if records == "" {
		return e.block()
	}
	ext := entry{path: "bfsd-backup/PaxHeader", typ: typeExtended, mode: 0o644, size: uint64(len(records))}
	b := append(ext.block(), records...)
	b = append(b, make([]byte, padding(uint64(len(b))))...)
	return append(b, e.block()...)
}

// records gives the extended header's records, by keyword.
func (e *entry) records() string {
	var b strings.Builder
	add := func(key, value string) { b.WriteString(record(key, value)) }
	if e.sparse {
		add("GNU.sparse.major", "1")
		add("GNU.sparse.minor", "0")
		add("GNU.sparse.name", e.path)
		add("GNU.sparse.realsize", strconv.FormatUint(e.real, 10))
	}
	if e.gid > idMax {
		add("gid", strconv.FormatUint(uint64(e.gid), 10))
	}
	if !utf8.ValidString(e.path) || !utf8.ValidString(e.link) {
		add("hdrcharset", "BINARY") // what follows is bytes
	}
	if !plain(e.link) {
		add("linkpath", e.link)
	}
	if seconds, nanos := splitTime(e.mtime); nanos != 0 || seconds < 0 || seconds > sizeMax {
		add("mtime", formatTime(e.mtime))
	}
	if !e.sparse && !plain(e.path) {
		add("path", e.path)
	}
	if e.size > sizeMax {
		add("size", strconv.FormatUint(e.size, 10))
	}
	if e.uid > idMax {
		add("uid", strconv.FormatUint(uint64(e.uid), 10))
	}
	return b.String()
}

// record formats one record: its own length in decimal, a space, key=value, a newline.
func record(key, value string) string {
	rest := len(key) + len(value) + len(" =\n")
	size := rest + len(strconv.Itoa(rest))
	if s := rest + len(strconv.Itoa(size)); s != size {
		size = s
	}
	return fmt.Sprintf("%d %s=%s\n", size, key, value)
}

// plain says whether a name fits into a header as it is.
func plain(name string) bool {
	if len(name) > nameMax {
		return false
	}
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
	}
	return true
}

// splitTime gives whole seconds, rounded down, and the nanoseconds after them.
func splitTime(t int64) (seconds, nanos int64) {
	seconds, nanos = t/1e9, t%1e9
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+1e9
	}
	return seconds, nanos
}

// formatTime writes a time as a decimal number of seconds.
func formatTime(t int64) string {
	sign, whole, nanos := "", uint64(t)/1e9, uint64(t)%1e9
	if t < 0 {
		sign, whole, nanos = "-", -uint64(t)/1e9, -uint64(t)%1e9
	}
	if nanos == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return sign + strconv.FormatUint(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%09d", nanos), "0")
}

// block gives the plain header. What does not fit has its place in the extended one.
func (e *entry) block() []byte {
	b := make([]byte, blockSize)
	name := e.path
	switch {
	case e.sparse:
		name = "bfsd-backup/GNUSparseFile"
	case !plain(name):
		name = "bfsd-backup/LongName"
	}
	copy(b[0:], name)
	octal(b[100:108], uint64(e.mode))
	octal(b[108:116], fits(uint64(e.uid), idMax))
	octal(b[116:124], fits(uint64(e.gid), idMax))
	octal(b[124:136], fits(e.size, sizeMax))
	if seconds, _ := splitTime(e.mtime); seconds >= 0 {
		octal(b[136:148], fits(uint64(seconds), sizeMax))
	} else {
		octal(b[136:148], 0)
	}
	b[156] = e.typ
	if plain(e.link) {
		copy(b[157:257], e.link)
	} else {
		copy(b[157:257], "bfsd-backup/LongName")
	}
	copy(b[257:], "ustar\x0000")
	device(b[329:337], e.major)
	device(b[337:345], e.minor)
	checksum(b)
	return b
}

// fits returns a number, or 0 where it has its place elsewhere.
func fits(n, limit uint64) uint64 {
	if n > limit {
		return 0
	}
	return n
}

// octal writes a number in octal with leading zeros, and a NUL.
func octal(field []byte, n uint64) {
	digits := len(field) - 1
	for i := digits - 1; i >= 0; i-- {
		field[i] = '0' + byte(n&7)
		n >>= 3
	}
	field[digits] = 0
}

// device writes a device number: in octal, or, as POSIX has no way to tell a large one, as GNU tar does in binary.
func device(field []byte, n uint32) {
	if n <= idMax {
		octal(field, uint64(n))
		return
	}
	binary.BigEndian.PutUint64(field, uint64(n))
	field[0] = 0x80
}

// checksum writes the sum of the header's bytes, its own field taken as spaces: six digits, a NUL, a space.
func checksum(b []byte) {
	copy(b[148:156], "        ")
	sum := uint64(0)
	for _, c := range b {
		sum += uint64(c)
	}
	octal(b[148:155], sum)
}

// padding is how many bytes are missing to a whole block.
func padding(size uint64) uint64 { return -size % blockSize }
