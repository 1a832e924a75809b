package auth

import "bfsd/replica/wire"

// Verified is a message whose origin has been checked. Its fields are unexported and only Verifier sets them, so whoever
// takes a Verified cannot be handed an unchecked message by mistake: the compiler enforces it. The zero value holds no
// message.
type Verified struct {
	from    wire.Principal
	message wire.Message
	raw     []byte
	// authentic[i]: the authenticator of request i of a PRE-PREPARE or REQUEST-BODY convinced me.
	authentic []bool
}

// From is the principal at the other end of the link: for signed messages and requests, who relayed it, not
// necessarily who made it.
func (v Verified) From() wire.Principal { return v.from }

// Message is the decoded message. It is shared: do not change it.
func (v Verified) Message() wire.Message { return v.message }

// Raw is the frame as it was received, or as it is to be sent if Seal made it.
func (v Verified) Raw() []byte { return v.raw }

// Authentic says whether I could authenticate request i of a PRE-PREPARE or REQUEST-BODY: whether MAC self of its
// authenticator is right (TOCS §4.3). It is false for a request that travels by digest alone.
func (v Verified) Authentic(i int) bool { return i < len(v.authentic) && v.authentic[i] }
