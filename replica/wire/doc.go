// Package wire defines the messages of the protocol and their one encoding: a kind byte, then a msgpack array (structs
// are arrays, there are no maps).
//
// It is for everybody who sends or receives: the protocol core, authentication, links, clients, the simulator. It knows
// no behaviour: what a message means is said by package pbft, who may say it by package auth.
//
// Bytes are checked as received and never re-encoded to be checked: a decoded request keeps its body, a decoded signed
// message keeps its content, and digests and signatures are computed over those. Decode trusts nothing: it bounds
// depth, lengths and counts before it allocates, and wants every byte consumed.
//
// Start reading at message.go (the kinds and the limits), then normal.go.
package wire
