// Package transport carries frames between the principals of one cluster: over mutually authenticated TLS 1.3 links whose
// keys are pinned from cluster.toml, or within one process (Join). A frame is a string of bytes; what it means is the
// business of package wire. Delivery is best effort: frames may be lost, when a link breaks or a queue is full, but what
// arrives from a principal is what that principal sent, and frames on one link keep their order.
//
// Sending never blocks: each peer has a bounded queue and its own writer, so that a slow or faulty peer cannot hold up the
// others. A frame is handed to the receiver on its link's reader goroutine: frames of different peers are decoded and
// verified in parallel, and a receiver that falls behind slows down only those who send to it.
//
// Clients dial all replicas; of two replicas the one with the larger number dials. Replies travel on the same link. A link is
// renewed now and then, for new session keys (renew.go): what is sent then may overtake the last that was sent before.
//
// Start reading at Transport; a connection's life is in link.go, who may connect in tls.go.
package transport
