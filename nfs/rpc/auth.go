package rpc

import "bfsd/nfs/xdr"

// AuthFlavor is a way of saying who calls (RFC 5531 §8.2, appendix A).
type AuthFlavor uint32

// The flavors that are understood.
const (
	AuthNone AuthFlavor = 0
	AuthSys  AuthFlavor = 1
)

// AuthStat is why a credential was rejected (RFC 5531 §9).
type AuthStat uint32

// The auth_stats this package answers with.
const (
	AuthOK           AuthStat = 0
	AuthBadCred      AuthStat = 1 // the credential's body does not decode
	AuthRejectedCred AuthStat = 2 // a flavor that is not served
	AuthBadVerf      AuthStat = 3
)

// Limits of AUTH_SYS (RFC 5531 appendix A).
const (
	machineNameMax = 255
	groupsMax      = 16
)

// Credential is who a call says it comes from. With AuthNone only Flavor is set.
type Credential struct {
	Flavor  AuthFlavor
	Stamp   uint32
	Machine string // the caller's own name for itself: not to be trusted
	UID     uint32
	GID     uint32
	GIDs    []uint32 // supplementary groups, 16 at most
}

// parseCredential decodes a credential's body.
func parseCredential(flavor uint32, body []byte) (Credential, AuthStat) {
	switch AuthFlavor(flavor) {
	case AuthNone:
		return Credential{Flavor: AuthNone}, AuthOK // §8.1 leaves the body's bytes undefined
	case AuthSys:
		return parseAuthSys(body)
	}
	return Credential{}, AuthRejectedCred
}

// parseAuthSys decodes authsys_parms (RFC 5531 appendix A).
func parseAuthSys(body []byte) (Credential, AuthStat) {
	d := xdr.NewDecoder(body)
	c := Credential{
		Flavor:  AuthSys,
		Stamp:   d.Uint32(),
		Machine: d.String(machineNameMax),
		UID:     d.Uint32(),
		GID:     d.Uint32(),
	}
	if n := d.ArrayLen(groupsMax, 4); n > 0 {
		c.GIDs = make([]uint32, n)
		for i := range c.GIDs {
			c.GIDs[i] = d.Uint32()
		}
	}
	if d.Finish() != nil {
		return Credential{}, AuthBadCred
	}
	return c, AuthOK
}

// encodeCredential writes an opaque_auth. Groups past the sixteenth and bytes of the machine name past the 255th, which
// AUTH_SYS has no room for, are left out.
func encodeCredential(e *xdr.Encoder, c *Credential) {
	e.Uint32(uint32(c.Flavor))
	if c.Flavor != AuthSys {
		e.Uint32(0)
		return
	}
	machine := c.Machine[:min(len(c.Machine), machineNameMax)]
	gids := c.GIDs[:min(len(c.GIDs), groupsMax)]
	e.Uint32(uint32(4 + 4 + (len(machine)+3)&^3 + 4 + 4 + 4 + 4*len(gids)))
	e.Uint32(c.Stamp)
	e.String(machine)
	e.Uint32(c.UID)
	e.Uint32(c.GID)
	e.Uint32(uint32(len(gids)))
	for _, g := range gids {
		e.Uint32(g)
	}
}
