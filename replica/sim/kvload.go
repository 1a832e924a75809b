package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"bfsd/replica/wire"
)

// KV is the scenario of a small key-value store: clients read and set a few keys that they share.
func KV() Scenario {
	return Scenario{
		Name: "kv",
		New:  newKV,
		Workload: func(rng *rand.Rand, c wire.ClientID, s wire.Slot) Workload {
			return &kvLoad{rng: rng, name: fmt.Sprintf("%d.%d", c, s), reads: rng.IntN(4)}
		},
		Rogue: func(rng *rand.Rand) []byte {
			switch rng.IntN(4) {
			case 0:
				return []byte("nonsense")
			case 1:
				return nil
			case 2:
				return kvLarge("s z rogue", 100+rng.IntN(300))
			}
			return fmt.Appendf(nil, "s z%d rogue%d", rng.IntN(2), rng.IntN(1000)) // keys of their own: see kvcheck.go
		},
		Check: checkKV,
	}
}

type kvLoad struct {
	rng   *rand.Rand
	name  string
	count int
	reads int // of four operations
}

// Next implements Workload.
func (l *kvLoad) Next([]byte) (op []byte, readOnly bool) {
	l.count++
	key := l.rng.IntN(4)
	switch {
	case l.rng.IntN(4) < l.reads:
		return fmt.Appendf(nil, "g k%d", key), l.rng.IntN(4) > 0
	case l.rng.IntN(12) == 0:
		return []byte("t"), l.rng.IntN(2) == 0 // the service refuses to answer it without order
	case l.rng.IntN(8) == 0:
		return kvLarge(fmt.Sprintf("s k%d %s.%d", key, l.name, l.count), 60+l.rng.IntN(400)), false
	}
	return fmt.Appendf(nil, "s k%d %s.%d", key, l.name, l.count), false
}

// kvLarge pads an operation.
func kvLarge(op string, size int) []byte {
	return append([]byte(op), bytes.Repeat([]byte("."), max(0, size-len(op)))...)
}
