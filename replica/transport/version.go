package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Versions is a range of versions of the protocol: of the handshake's and the frames' form, and of what the messages in them
// mean. Two members make a link if their ranges have a version in common; they speak the newest of these. So a cluster is
// upgraded one member at a time, as long as each release also speaks what the one before it spoke.
type Versions struct {
	Oldest, Newest int
}

// Spoken is what this build speaks: see version_spoken.go.
func Spoken() Versions { return Versions{oldest, newest} }

// String is "version 1" or "versions 1 to 2".
func (v Versions) String() string {
	if v.Oldest == v.Newest {
		return fmt.Sprint("version ", v.Oldest)
	}
	return fmt.Sprintf("versions %d to %d", v.Oldest, v.Newest)
}

// protocolPrefix begins the name by which a version is agreed on in the handshake (ALPN, RFC 7301).
const protocolPrefix = "bfsd/"

// names are what is offered, the newest first: the side that accepts takes the first of its own that the other offers.
func (v Versions) names() (names []string) {
	for version := v.Newest; version >= v.Oldest; version-- {
		names = append(names, protocolPrefix+strconv.Itoa(version))
	}
	return names
}

// agreed says whether the handshake ended with a version of the range.
func (v Versions) agreed(name string) bool { return slices.Contains(v.names(), name) }

// errVersion is what a link's end gets that has no version in common with the other.
var errVersion = errors.New("no version of the protocol in common")

const versionAdvice = `install releases with one in common, see "Upgrading" in deploy/README.md; bfsd --version tells what a program speaks`

// noApplicationProtocol is TLS's alert of RFC 7301, section 3.2.
const noApplicationProtocol = 120

// explainRefusal turns the alert by which the other end refuses all our versions into what it means.
func (v Versions) explainRefusal(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == tls.AlertError(noApplicationProtocol).Error() {
		return fmt.Errorf("%w: this bfsd speaks %v, the peer another; %s", errVersion, v, versionAdvice)
	}
	return err
}

// offersMax bounds what is kept and logged of what a stranger offers.
const offersMax = 8

// offered are the versions that an incoming connection offers, as text for the log, if none of them is ours; else "".
func (v Versions) offered(names []string) string {
	if slices.ContainsFunc(names, v.agreed) {
		return ""
	}
	var versions []string
	for _, name := range names {
		text, ours := strings.CutPrefix(name, protocolPrefix)
		if n, err := strconv.ParseUint(text, 10, 16); ours && err == nil && len(versions) < offersMax {
			versions = append(versions, strconv.FormatUint(n, 10))
		}
	}
	return strings.Join(versions, ", ")
}

// strangersMax bounds how many addresses are remembered by foreignVersion.
const strangersMax = 64

// foreignVersion logs, once for each address, that somebody there speaks versions that we do not. Whoever can connect can
// claim that, so it is bounded, and says nothing of who it is.
func (t *Transport) foreignVersion(host netip.Addr, versions string) {
	t.mu.Lock()
	known := t.strangers[host] == versions || len(t.strangers) >= strangersMax
	if !known {
		t.strangers[host] = versions
	}
	t.mu.Unlock()
	if !known {
		t.cfg.Log.Warn("a connection is refused: no version of the protocol in common", "self", t.cfg.Self, "remote", host,
			"peer_speaks", versions, "this_bfsd_speaks", t.cfg.Versions.String(), "advice", versionAdvice)
	}
}
