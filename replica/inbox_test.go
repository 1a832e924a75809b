package replica

import (
	"testing"
	"testing/synctest"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

func sender(id uint32) wire.Principal { return wire.Principal{Role: wire.RoleReplica, ID: id} }

func TestSendersTakeTurns(t *testing.T) {
	in := newInbox()
	for range 3 {
		in.put(sender(1), auth.Verified{})
	}
	in.put(sender(2), auth.Verified{})
	// A flood of 3 from one sender does not delay the other's message behind all of it: it is among the first two.
	if got := len(in.take(nil, 2)); got != 2 {
		t.Fatalf("took %d messages, want 2", got)
	}
	in.mu.Lock()
	left := in.queues[sender(2)].count
	in.mu.Unlock()
	if left != 0 {
		t.Error("the second sender's message still waits behind the first sender's")
	}
}

func TestAFullQueueHoldsUpItsSenderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox()
		blocked := make(chan bool, 1)
		go func() {
			for range inboxPerSender + 1 {
				in.put(sender(1), auth.Verified{})
			}
			blocked <- false
		}()
		synctest.Wait()
		select {
		case <-blocked:
			t.Fatal("a sender put more than its queue holds")
		default:
		}
		if !in.put(sender(2), auth.Verified{}) {
			t.Fatal("another sender's message was refused")
		}
		in.take(nil, 2)
		synctest.Wait()
		select {
		case <-blocked:
		default:
			t.Error("the sender still waits though there is space")
		}
		in.close()
	})
}

func TestTheTokenIsThereWhileSomethingWaits(t *testing.T) {
	in := newInbox()
	in.put(sender(1), auth.Verified{})
	in.put(sender(1), auth.Verified{})
	<-in.ready
	if got := len(in.take(nil, 1)); got != 1 {
		t.Fatalf("took %d, want 1", got)
	}
	select {
	case <-in.ready:
	default:
		t.Error("a message waits and nobody is told")
	}
}

func TestClosingWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox()
		result := make(chan bool, 1)
		for range inboxPerSender {
			in.put(sender(1), auth.Verified{})
		}
		go func() { result <- in.put(sender(1), auth.Verified{}) }()
		synctest.Wait()
		in.close()
		if <-result {
			t.Error("a message was taken by a closed inbox")
		}
	})
}
