// Package store keeps what a replica must not forget: the protocol's log (what a message promises, before the message
// leaves) and the last stable checkpoint of the state. It knows bytes, sequence numbers and digests; what a record says is
// the protocol's business (replica/pbft) and what a page says the service's.
//
// One Pebble database holds both, in these key ranges:
//
//	o                  whose store it is
//	m                  the checkpoint's meta data: sequence number, root, certificate
//	r ‖ seq ‖ n        a log record that belongs to sequence number seq; n counts all records, so that a restart
//	                   replays them in the order in which they were written. seq 0: belongs to no batch (views)
//	s ‖ key            one page of the checkpointed state
//
// A new checkpoint goes in as one atomic batch: the pages that changed since the last, the meta data, and the removal
// of the records it makes superfluous. Whatever the moment of a crash, the pages are those of the meta data's root.
//
// Start reading at Store.
package store
