package replica

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bfsd/replica/wire"
)

// downloadOf begins a download from three sources, whose FETCHes ask answers.
func downloadOf(ask func(d *download, to uint32, digests []wire.Digest) *wire.Data) *download {
	answers := make(chan wire.Message, 8)
	var d *download
	d = newDownload(wire.Digest{1}, []wire.ReplicaID{0, 1, 2}, answers, func(to wire.Principal, digests []wire.Digest) {
		if answer := ask(d, to.ID, digests); answer != nil {
			answer.Replica, answer.Root = wire.ReplicaID(to.ID), d.root
			answers <- answer
		}
	})
	return d
}

func dataOf(nodes ...string) *wire.Data {
	m := &wire.Data{}
	for _, n := range nodes {
		m.Nodes = append(m.Nodes, []byte(n))
	}
	return m
}

func digestsOf(nodes ...string) (list []wire.Digest) {
	for _, n := range nodes {
		list = append(list, wire.ResultDigest([]byte(n)))
	}
	return list
}

// gather fetches until everything is there, and returns it sorted.
func gather(t *testing.T, d *download, nodes ...string) (got []string, err error) {
	t.Helper()
	for more := digestsOf(nodes...); len(got) < len(nodes); more = nil {
		some, err := d.fetch(t.Context(), more)
		if err != nil {
			return got, err
		}
		if len(some) == 0 {
			t.Fatal("fetch came back with nothing")
		}
		for _, n := range some {
			if wire.ResultDigest(n.Encoding) != n.Digest {
				t.Errorf("node %q came with the digest of another", n.Encoding)
			}
			got = append(got, string(n.Encoding))
		}
	}
	slices.Sort(got)
	return got, nil
}

func TestADownloadFromWhoNeverAnswersComesToAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		d := downloadOf(func(*download, uint32, []wire.Digest) *wire.Data { asked++; return nil })
		_, err := gather(t, d, "wanted")
		if took := time.Since(began); !errors.Is(err, errStateGone) || took < 10*time.Second || took > 2*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		if asked < 3*fetchRounds || asked > 4*fetchRounds {
			t.Errorf("%d FETCHes were sent, want %d to each of 3 sources at most", asked, fetchRounds)
		}
	})
}

// The first source to be asked lies, the second is silent: the third has it.
func TestADownloadGetsByLiarsAndTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := downloadOf(func(_ *download, to uint32, _ []wire.Digest) *wire.Data {
			return []*wire.Data{dataOf("a lie"), nil, dataOf("wanted")}[to]
		})
		if got, err := gather(t, d, "wanted"); err != nil || !slices.Equal(got, []string{"wanted"}) {
			t.Fatalf("got %q, %v", got, err)
		}
		if !d.sources[0].gone || d.sources[2].gone {
			t.Errorf("liar given up: %t; the honest one: %t", d.sources[0].gone, d.sources[2].gone)
		}
	})
}

// A source that leaves one node out, or changes it, is given up; what it sent unchanged is used.
func TestADownloadUsesWhatIsRightInAWrongAnswer(t *testing.T) {
	var again []wire.Digest
	d := downloadOf(func(_ *download, to uint32, digests []wire.Digest) *wire.Data {
		if to == 0 {
			return dataOf("a", "B")
		}
		again = append(again, digests...)
		return dataOf("b")
	})
	if got, err := gather(t, d, "a", "b"); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("got %q, %v", got, err)
	}
	if !d.sources[0].gone || !slices.Equal(again, digestsOf("b")) {
		t.Errorf("given up: %t; asked others for %v", d.sources[0].gone, again)
	}
}

// One source is silent while the others answer. They are soon asked for what it owes, and what it says in the end, when
// it is asked for other things, is no lie.
func TestADownloadDoesNotWaitForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nodes []string
		for i := range 3 * fetchChunk {
			nodes = append(nodes, fmt.Sprintf("%03d", i))
		}
		byDigest := map[wire.Digest]string{}
		for i, digest := range digestsOf(nodes...) {
			byDigest[digest] = nodes[i]
		}
		answer := func(digests []wire.Digest) *wire.Data {
			var list []string
			for _, digest := range digests {
				list = append(list, byDigest[digest])
			}
			return dataOf(list...)
		}
		var owed []*wire.Data
		d := downloadOf(func(_ *download, to uint32, digests []wire.Digest) *wire.Data {
			if to == 0 {
				owed = append(owed, answer(digests))
				return nil
			}
			return answer(digests)
		})
		began := time.Now()
		if got, err := gather(t, d, nodes...); err != nil || !slices.Equal(got, nodes) {
			t.Fatalf("got %d nodes, %v", len(got), err)
		}
		if took := time.Since(began); took > 2*fetchRetry {
			t.Errorf("it waited %v", took)
		}
		slow := d.sources[0]
		if slow.gone || len(owed) == 0 {
			t.Fatalf("given up: %t; it was asked %d times", slow.gone, len(owed))
		}
		slow.asked = append(slow.asked, asking{digests: digestsOf("other")})
		for _, m := range owed {
			m.Replica, m.Root = 0, d.root
			if got := d.take(m, time.Now()); len(got) != 0 {
				t.Errorf("%d nodes came twice", len(got))
			}
		}
		if slow.gone || len(slow.asked) != 1 {
			t.Errorf("what came late was taken for a lie (given up: %t; it owes %d)", slow.gone, len(slow.asked))
		}
	})
}

// A source that sends what nobody asked for, again and again, is not listened to for long.
func TestADownloadDoesNotHashRubbishForEver(t *testing.T) {
	d := downloadOf(func(*download, uint32, []wire.Digest) *wire.Data { return nil })
	d.missing[digestsOf("wanted")[0]] = struct{}{}
	say := func(from wire.ReplicaID, node string) int {
		m := dataOf(node)
		m.Replica, m.Root = from, d.root
		return len(d.take(m, time.Now()))
	}
	for range vainMax {
		say(1, "rubbish")
	}
	if d.sources[1].gone {
		t.Error("it was given up as early as an honest one may be late")
	}
	say(1, "rubbish")
	if !d.sources[1].gone {
		t.Error("it is still listened to")
	}
	if say(1, "wanted") != 0 {
		t.Error("it was given up, and listened to")
	}
	if say(2, "wanted") != 1 {
		t.Error("an honest one was not listened to")
	}
}
