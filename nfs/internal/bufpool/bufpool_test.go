package bufpool

import "testing"

func TestPool_lendsRoomForWhatWasAsked(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, 1 << 10, 1<<10 + 1, 1 << 20, 2 << 20} {
		for range 3 {
			b := p.Get(n)
			if len(b.B) != 0 || cap(b.B) < n {
				t.Fatalf("Get(%d): len %d, cap %d", n, len(b.B), cap(b.B))
			}
			b.B = append(b.B, make([]byte, n)...)
			p.Put(b)
		}
	}
	p.Put(nil)
}

func TestPool_keepsItsArrayWhenTheBorrowerOutgrowsIt(t *testing.T) {
	var p Pool
	b := p.Get(10)
	b.B = append(b.B, make([]byte, 1<<20)...)
	p.Put(b)
	if len(b.B) != 0 || cap(b.B) != sizes[0] {
		t.Errorf("after Put: len %d, cap %d; want the pool's own array of %d", len(b.B), cap(b.B), sizes[0])
	}
}
