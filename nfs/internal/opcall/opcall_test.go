package opcall

import (
	"net/netip"
	"reflect"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/rpc"
)

// RFC 5531 §8.2, §9.1: who calls. Nobody is who says nothing, and who says to have the number that nobody has.
func TestWhoCalls(t *testing.T) {
	const none = 1<<32 - 1
	for name, test := range map[string]struct {
		cred rpc.Credential
		want fsstate.Cred
	}{
		"AUTH_NONE":               {rpc.Credential{Flavor: rpc.AuthNone}, fsstate.Cred{UID: 65534, GID: 65534}},
		"AUTH_NONE names nobody":  {rpc.Credential{Flavor: rpc.AuthNone, UID: 0, GID: 0, GIDs: []uint32{0}}, fsstate.Cred{UID: 65534, GID: 65534}},
		"AUTH_SYS":                {rpc.Credential{Flavor: rpc.AuthSys, UID: 1001, GID: 2001, GIDs: []uint32{4, 5}}, fsstate.Cred{UID: 1001, GID: 2001, GIDs: []uint32{4, 5}}},
		"AUTH_SYS root":           {rpc.Credential{Flavor: rpc.AuthSys}, fsstate.Cred{}},
		"AUTH_SYS without a user": {rpc.Credential{Flavor: rpc.AuthSys, UID: none, GID: 7}, fsstate.Cred{UID: 65534, GID: 7}},
		"AUTH_SYS without group":  {rpc.Credential{Flavor: rpc.AuthSys, UID: 7, GID: none}, fsstate.Cred{UID: 7, GID: 65534}},
	} {
		if got := New(&rpc.Call{Cred: test.cred}, nil).Cred; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// A call that comes again has the same XID from the same machine, by its name and its address, wherever it comes in.
func TestACallIsKnownAgain(t *testing.T) {
	call := func(name, address string, xid uint32) fsstate.Op {
		c := rpc.Call{XID: xid, Cred: rpc.Credential{Flavor: rpc.AuthSys, Machine: name}}
		if address != "" {
			c.Peer = netip.MustParseAddr(address)
		}
		return New(&c, nil)
	}
	first := call("desk", "10.0.0.1", 5)
	if again := call("desk", "10.0.0.1", 5); !reflect.DeepEqual(first, again) {
		t.Errorf("%+v, and again %+v", first, again)
	}
	for what, other := range map[string]fsstate.Op{
		"another number": call("desk", "10.0.0.1", 6), "another name": call("lap", "10.0.0.1", 5), "another address": call("desk", "10.0.0.2", 5),
	} {
		if reflect.DeepEqual(first, other) {
			t.Errorf("%s makes no difference: %+v", what, other)
		}
	}
	for address, want := range map[string]string{"": "", "10.0.0.1": "10.0.0.1", "fe80::1%eth0": "fe80::1", "2001:db8::1": "2001:db8::1"} {
		if got := call("desk", address, 5).Machine; got != want {
			t.Errorf("machine at %q is %q, want %q", address, got, want)
		}
	}
}
