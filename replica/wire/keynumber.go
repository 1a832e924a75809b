package wire

import "fmt"

// Request numbers tell with which of a client's keys a request was made. A client begins with the key of number 0; each
// key that replaces one has a higher number. A number below 2^62 is one of key 0 (nanoseconds since 1970 reach it in
// 2116); above, each key has a range of 2^52 (microseconds since 1970 reach its end in 2112).
//
// So all requests of an old key are older than those of a new one: whoever stole it cannot use up the numbers of a slot for
// its successor. And it is told at execution which key a request was made with, at the same place of the order
// everywhere, though a replica that lags may have taken an old key for the one in force and vouched for the request.
const (
	keyZeroBits = 62
	keyBits     = 52

	// KeyNumberMax is the number of the last key that a client can have.
	KeyNumberMax = (1<<64 - 1<<keyZeroBits) >> keyBits
)

// KeyNumber says with which of its client's keys a request claims to be made.
func (r *Request) KeyNumber() uint32 {
	if r.Number < 1<<keyZeroBits {
		return 0
	}
	return uint32((r.Number-1<<keyZeroBits)>>keyBits) + 1
}

// Numbers are the request numbers of one key of a client.
type Numbers struct{ first, last uint64 }

// NumbersOf gives the request numbers of a key.
func NumbersOf(key uint32) (Numbers, error) {
	switch {
	case key == 0:
		return Numbers{1, 1<<keyZeroBits - 1}, nil
	case key > KeyNumberMax:
		return Numbers{}, fmt.Errorf("a key of number %d, the last one is %d", key, KeyNumberMax)
	}
	first := 1<<keyZeroBits + uint64(key-1)<<keyBits
	return Numbers{first, first + (1<<keyBits - 1)}, nil
}

// At is the number of a request at a time, in nanoseconds since 1970. Numbers of later times are not smaller.
func (n Numbers) At(ns int64) uint64 {
	at := uint64(max(ns, 1))
	if n.first != 1 {
		at = n.first + min(at/1000, n.last-n.first)
	}
	return min(at, n.last)
}

// Last is the largest number.
func (n Numbers) Last() uint64 { return n.last }
