package rpc

import "fmt"

// Event is something that peers did which a well-behaved one does not, or that had to be done about it. Each is counted.
type Event uint8

// The events.
const (
	EventRefused     Event = iota // a connection past Limits.Conns was closed at once
	EventEvicted                  // one was closed to make room for another
	EventIdle                     // one was closed that had been idle for Limits.Idle
	EventUnfinished               // a record did not arrive within Limits.Read
	EventTooLong                  // a record was longer than Limits.Record, or had too many fragments
	EventNotRPC                   // a record was no call
	EventSlowReader               // replies were not accepted within Limits.Write
	EventStalled                  // a connection whose peer had stopped was closed while memory was short
	EventMemory                   // a call waited for memory that others held
	EventDenied                   // a call was denied for its RPC version or credential
	EventUnavailable              // a call was to a program, version or procedure that is not served
	EventGarbage                  // a call's arguments did not decode
	EventDropped                  // a call was left unanswered, and its connection closed
	EventRepeated                 // a call was sent again while it was in flight
	EventPanic                    // a handler panicked, which is a defect
	EventDatagram                 // a call by UDP past Limits.Datagrams was dropped
	eventEnd
)

var eventNames = [eventEnd]string{
	"connection_refused", "connection_evicted", "connection_idle", "record_unfinished", "record_too_long", "not_rpc", "slow_reader", "stalled",
	"memory_wait", "denied", "unavailable", "garbage_arguments", "dropped", "repeated", "panic", "datagram_dropped",
}

// String is the event's name in metrics.
func (e Event) String() string {
	if e < eventEnd {
		return eventNames[e]
	}
	return fmt.Sprintf("event %d", uint8(e))
}

// Events lists all there are.
func Events() []Event {
	all := make([]Event, eventEnd)
	for i := range all {
		all[i] = Event(i)
	}
	return all
}

// Stats is what a server holds at the moment.
type Stats struct {
	Conns int
	Calls int // in flight: from the record's arrival to the reply's departure
	Bytes int // reserved for them
	Bulk  int // of these, out of Limits.Total
}

func (s *Server) count(e Event) { s.events[e].Add(1) }

// Count returns how often an event has happened.
func (s *Server) Count(e Event) uint64 { return s.events[e].Load() }

// Stats returns what the server holds.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Conns: len(s.conns), Bulk: int(s.bulk.Load())}
	for c := range s.conns {
		c.mu.Lock()
		st.Calls += c.calls
		st.Bytes += c.bytes
		c.mu.Unlock()
	}
	return st
}
