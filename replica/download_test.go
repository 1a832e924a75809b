package replica

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bfsd/replica/wire"
)

// downloadOf begins to get one node from three sources; asked counts the FETCHes.
func downloadOf(node []byte) (d *download, want wire.Digest, asked *int) {
	asked = new(int)
	return newDownload(wire.Digest{1}, []wire.ReplicaID{0, 1, 2}, func(wire.Principal, []wire.Digest) { *asked++ }), wire.ResultDigest(node), asked
}

// A faulty source may send the node that was asked for in a message of 16 MiB: those are not kept.
func TestADownloadDoesNotKeepWhatItHasNotAskedFor(t *testing.T) {
	message := append([]byte("wanted"), bytes.Repeat([]byte("x"), 1<<20)...)
	wanted, junk := message[:6:6], message[6:]
	d, want, _ := downloadOf(wanted)
	answers := make(chan wire.Message, 1)
	answers <- &wire.Data{Replica: 1, Root: d.root, Nodes: [][]byte{junk, wanted}}
	nodes, err := d.get(t.Context(), []wire.Digest{want}, answers)
	if err != nil || len(nodes) != 1 || string(nodes[0]) != "wanted" {
		t.Fatalf("got %q, %v", nodes, err)
	}
	message[0] = 'W'
	if string(nodes[0]) != "wanted" {
		t.Error("the node is still a part of the message, and keeps all of it in memory")
	}
	if got := d.bytes.Load(); got != 6 {
		t.Errorf("%d bytes count as fetched, want 6", got)
	}
}

func TestADownloadFromWhoNeverAnswersComesToAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		d, want, asked := downloadOf([]byte("wanted"))
		_, err := d.get(t.Context(), []wire.Digest{want}, make(chan wire.Message))
		if took := time.Since(began); !errors.Is(err, errStateGone) || took < 10*time.Second || took > 2*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		if *asked < 3*fetchRounds || *asked > 4*fetchRounds {
			t.Errorf("%d FETCHes were sent, want %d to each of 3 sources at most", *asked, fetchRounds)
		}
	})
}

// The first source to be asked lies, the second is silent: the third has it.
func TestADownloadGetsByLiarsAndTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan wire.Message, 8)
		var d *download
		d = newDownload(wire.Digest{1}, []wire.ReplicaID{0, 1, 2}, func(to wire.Principal, _ []wire.Digest) {
			switch to.ID {
			case 0:
				answers <- &wire.Data{Replica: 0, Root: d.root, Nodes: [][]byte{[]byte("a lie")}}
			case 2:
				answers <- &wire.Data{Replica: 2, Root: d.root, Nodes: [][]byte{[]byte("wanted")}}
			}
		})
		nodes, err := d.get(t.Context(), []wire.Digest{wire.ResultDigest([]byte("wanted"))}, answers)
		if err != nil || string(nodes[0]) != "wanted" {
			t.Fatalf("got %q, %v", nodes, err)
		}
		if !d.sources[0].gone || d.sources[2].gone {
			t.Errorf("liar given up: %t; the honest one: %t", d.sources[0].gone, d.sources[2].gone)
		}
	})
}

// A source that sends what nobody asked for, again and again, is not listened to for long.
func TestADownloadDoesNotHashRubbishForEver(t *testing.T) {
	d, want, _ := downloadOf([]byte("wanted"))
	missing := map[wire.Digest][]byte{want: nil}
	rubbish := &wire.Data{Replica: 1, Root: d.root, Nodes: [][]byte{[]byte("rubbish")}}
	for range vainMax {
		d.take(rubbish, missing)
	}
	if d.sources[1].gone {
		t.Error("it was given up as early as an honest one may be late")
	}
	d.take(rubbish, missing)
	if !d.sources[1].gone {
		t.Error("it is still listened to")
	}
	if got, _ := d.take(&wire.Data{Replica: 1, Root: d.root, Nodes: [][]byte{[]byte("wanted")}}, missing); got != 0 {
		t.Error("it was given up, and listened to")
	}
	if got, _ := d.take(&wire.Data{Replica: 2, Root: d.root, Nodes: [][]byte{[]byte("wanted")}}, missing); got != 1 {
		t.Error("an honest one was not listened to")
	}
}
