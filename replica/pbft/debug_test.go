package pbft

import (
	"fmt"
	"os"
	"testing"
)

func TestDebugTrace(t *testing.T) {
	if *seedFlag == 0 || os.Getenv("DEBUG_TRACE") == "" {
		t.Skip()
	}
	x := newChaos(t, *seedFlag, 1+int(*seedFlag-1)%4/3)
	s := &script{t: t}
	x.trace = func(n *node, e Effect) {
		s.out.Reset()
		s.effect(n, e)
		if st := s.out.String(); st != "" {
			fmt.Printf("%d %s", x.now/millisecond, st)
		}
	}
	x.run(t)
}
