package transport

import (
	"errors"
	"fmt"
	"time"
)

var (
	errSilent = errors.New("the peer was silent for too long")
	errStuck  = errors.New("the peer does not read")
)

// watch closes the link when the peer has been silent for deadAfter, or when frames wait and none has moved for as long;
// it is called once a tick with what it saw the tick before. It also keeps an idle link alive.
type watch struct {
	link            *link
	in, out         uint64
	silent, blocked int // ticks
}

const ticksToDeath = 3

func (w *watch) tick(now *link) {
	if now != w.link {
		*w = watch{link: now}
	}
	if now == nil {
		return
	}
	in, out := now.meter.in.Load(), now.meter.out.Load()
	waiting, _, _ := now.peer.queue.load()
	w.silent++
	if in != w.in {
		w.silent = 0
	}
	w.blocked++
	if out != w.out || waiting == 0 {
		w.blocked = 0
	}
	w.in, w.out = in, out
	switch {
	case w.silent > ticksToDeath:
		now.close(fmt.Errorf("%w (%d checks)", errSilent, w.silent))
	case w.blocked > ticksToDeath:
		now.close(fmt.Errorf("%w (%d checks)", errStuck, w.blocked))
	case waiting == 0:
		now.peer.queue.push(nil) // a keep-alive
	}
}

// monitor runs the watches.
func (t *Transport) monitor() {
	ticker := time.NewTicker(t.cfg.DeadAfter / ticksToDeath)
	defer ticker.Stop()
	watches := make([]watch, len(t.order))
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-ticker.C:
		}
		for i, p := range t.order {
			watches[i].tick(p.current())
		}
	}
}
