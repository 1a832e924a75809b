package wire

import (
	"testing"

	"pgregory.net/rapid"
)

func TestEveryNumberBelongsToOneKey(t *testing.T) {
	keyOf := func(number uint64) uint32 { return (&Request{Number: number}).KeyNumber() }
	next := uint64(1)
	for key := range uint32(KeyNumberMax + 1) {
		n, err := NumbersOf(key)
		if err != nil {
			t.Fatal(err)
		}
		if n.first != next || keyOf(n.first) != key || keyOf(n.last) != key {
			t.Fatalf("key %d has the numbers %d to %d; %d is of key %d, %d of key %d", key, n.first, n.last, n.first, keyOf(n.first), n.last, keyOf(n.last))
		}
		next = n.last + 1
	}
	if next != 0 {
		t.Errorf("the last key's numbers end before %d", next)
	}
	if _, err := NumbersOf(KeyNumberMax + 1); err == nil {
		t.Error("there is no key after the last one")
	}
}

func TestNumbersFollowTheClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Uint32Range(0, KeyNumberMax).Draw(t, "key")
		n, err := NumbersOf(key)
		if err != nil {
			t.Fatal(err)
		}
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		if at := n.At(a); (&Request{Number: at}).KeyNumber() != key || at == 0 {
			t.Fatalf("at %d a number %d of another key", a, at)
		}
		if a < b && n.At(a) > n.At(b) || a == b && n.At(a) != n.At(b) {
			t.Fatalf("numbers go back: %d at %d, %d at %d", n.At(a), a, n.At(b), b)
		}
	})
	n, err := NumbersOf(0)
	if now := int64(1_800_000_000_000_000_000); err != nil || n.At(now) != uint64(now) {
		t.Errorf("the numbers of the first key are nanoseconds: %d, %v", n.At(now), err)
	}
}
