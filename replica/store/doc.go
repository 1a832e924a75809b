// Package store keeps what a replica must not forget: the protocol's log (what a message promises, before the message
// leaves) and the last stable checkpoint of the state. It knows bytes, sequence numbers and digests; what a record says is
// the protocol's business (replica/pbft) and what a page says the service's.
//
// One Pebble database holds both, in these key ranges:
//
//	o                  whose store it is
//	i                  which store it is: a random number, shared with the high-water mark
//	d                  there if the store may not hold all that its replica ever said (Condition)
//	e                  where the log ends: the place of the next record
//	m                  the checkpoint's meta data: sequence number, root, certificate
//	n                  about how many bytes its pages have
//	r ‖ seq ‖ n        a log record that belongs to sequence number seq; n counts all records, so that a restart
//	                   replays them in the order in which they were written. seq 0: belongs to no batch (views)
//	s ‖ key            one page of the checkpointed state
//
// A new checkpoint appears in one step (checkpoint.go): the pages that changed since the last, and the meta data. Whatever
// the moment of a crash, the pages are those of the meta data's root. The records that it makes superfluous go with it, or
// right behind it.
//
// Beside the database lies the high-water mark (highwater.go): how far the log was once durable. Pebble cuts a log that
// ends in rubbish, as it does after every crash, and cannot tell a tail that was never synced from one that was and is
// damaged. A replica that has forgotten what it said must not go on as if it had never said it.
//
// Start reading at Store, then Condition.
package store
