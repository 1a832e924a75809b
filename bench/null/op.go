package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bfsd/replica/wire"
)

// size is the shape of a null operation: how many bytes of argument it carries and how many its result has.
type size struct{ args, result int }

// parseSize reads "4k/0".
func parseSize(text string) (size, error) {
	args, result, ok := strings.Cut(text, "/")
	if !ok {
		return size{}, fmt.Errorf("operation %q: want ARGUMENT/RESULT in bytes, such as 0/0 or 4k/0", text)
	}
	var s size
	var err error
	if s.args, err = parseBytes(args); err != nil {
		return size{}, fmt.Errorf("operation %q: %w", text, err)
	}
	if s.result, err = parseBytes(result); err != nil {
		return size{}, fmt.Errorf("operation %q: %w", text, err)
	}
	return s, nil
}

// bytesMax bounds arguments and results, as NFS does.
const bytesMax = 1 << 20

func parseBytes(text string) (int, error) {
	digits, unit := strings.TrimSuffix(text, "k"), 1
	if digits != text {
		unit = 1 << 10
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > bytesMax/unit {
		return 0, fmt.Errorf("%q is no number of bytes up to 1024k", text)
	}
	return n * unit, nil
}

// String is the form that parseSize reads.
func (s size) String() string { return formatBytes(s.args) + "/" + formatBytes(s.result) }

func formatBytes(n int) string {
	if n > 0 && n%1024 == 0 {
		return strconv.Itoa(n/1024) + "k"
	}
	return strconv.Itoa(n)
}

// A null operation is nullTag, the length of its result in four bytes, big-endian, and its argument, which means nothing.
const (
	nullTag  = 0xc1 // the byte that msgpack never uses, so that this is no operation of fsstate
	nullHead = 5
)

func (s size) op() []byte {
	op := make([]byte, nullHead+s.args)
	op[0] = nullTag
	binary.BigEndian.PutUint32(op[1:], uint32(s.result))
	for i := range op[nullHead:] {
		op[nullHead+i] = pattern(i)
	}
	return op
}

// check says whether a result is the one of this operation.
func (s size) check(result []byte) error {
	if len(result) != s.result {
		return fmt.Errorf("the result of operation %v has %d bytes", s, len(result))
	}
	for i, b := range result {
		if b != pattern(i) {
			return errors.New("the result of operation " + s.String() + " differs from what the service answers at byte " + strconv.Itoa(i))
		}
	}
	return nil
}

// resultLength reads a null operation; ok is false for anything else.
func resultLength(op []byte) (n int, ok bool) {
	if len(op) < nullHead || op[0] != nullTag {
		return 0, false
	}
	n = int(binary.BigEndian.Uint32(op[1:]))
	return n, n <= min(bytesMax, wire.MaxResult)
}

// pattern is what arguments and results are made of.
func pattern(i int) byte { return byte(i*31 + i>>8) }
