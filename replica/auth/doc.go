// Package auth knows who the principals are and what proves it: keys, key files, the MACs and signatures under messages,
// and the only way to make a Verified message. It does not know the protocol (what a message means, when one is needed),
// nor links: package transport asks it for the keys it pins.
//
// Every principal has two keys (key.go), kept in a file (keyfile.go). A Keyring is one principal's view: its own secrets,
// everybody's public keys, and the MAC key it shares with each of its counterparts, derived once at the start.
// MACs authenticate requests, because a primary relays those (TOCS §4.1); all other traffic is authenticated by its link,
// and signatures serve only where a third party must be convinced; requests are signed only to measure what MACs bring
// (signature.go).
//
// Start reading at Keyring.
package auth
