package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"bfsd/replica/wire"
)

// Nobody is the user and group that squashed credentials become unless an export says otherwise.
const Nobody = 65534

// Export is one exported directory: in cluster.toml, of a new cluster; in an export policy, of a running one.
type Export struct {
	Path      string   `toml:"path"`                 // absolute
	ReadOnly  bool     `toml:"read_only,omitempty"`  // nobody changes anything
	Squash    string   `toml:"squash,omitempty"`     // whose credentials are replaced: none (or nothing), root, all
	AnonUID   *uint32  `toml:"anon_uid,omitempty"`   // by this user; Nobody
	AnonGID   *uint32  `toml:"anon_gid,omitempty"`   // and this group; Nobody
	FrontEnds []string `toml:"front_ends,omitempty"` // names of clients, or replica-0 and so on; nil: all
	Machines  []string `toml:"machines,omitempty"`   // networks and addresses; nil: all
}

// ExportPolicy is the file of bfsd export-policy.
type ExportPolicy struct {
	Version uint64   `toml:"version"` // of the policy in use when this was written
	Exports []Export `toml:"export,omitempty"`
}

// The values of Export.Squash.
const (
	SquashNone = "none"
	SquashRoot = "root"
	SquashAll  = "all"
)

// FrontEnd is the number of a front end by its name: a client's, or that of a replica's own, which is replica-0 and so on.
func (c *Cluster) FrontEnd(name string) (wire.ClientID, bool) {
	for _, g := range c.Clients {
		if g.Name == name {
			return g.ID, true
		}
	}
	if digits, ok := strings.CutPrefix(name, replicaName); ok {
		if i, err := strconv.ParseUint(digits, 10, 16); err == nil && i < uint64(c.N()) && digits == strconv.FormatUint(i, 10) {
			return wire.ClientID(i), true
		}
	}
	return 0, false
}

const replicaName = "replica-"

// FrontEndName is the name of a front end by its number, as FrontEnd takes it; the number alone of one that is not known.
func (c *Cluster) FrontEndName(id wire.ClientID) string {
	for _, g := range c.Clients {
		if g.ID == id {
			return g.Name
		}
	}
	if int64(id) < int64(c.N()) {
		return replicaName + strconv.FormatUint(uint64(id), 10)
	}
	return strconv.FormatUint(uint64(id), 10)
}

// Network is what an entry of Export.Machines stands for.
func Network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", clip(s))
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is a network of IPv4 addresses as IPv6 ones: write it as 10.0.0.0/8 is written", clip(s))
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits behind its length: write %v", clip(s), p.Masked())
	}
	return p, nil
}

// Limits of a policy, as the file system has them (fsstate).
const (
	exportsMax    = 64
	exportListMax = 64
)

func (c *Cluster) validateExports(v *validation, exports []Export) {
	if len(exports) > exportsMax {
		v.failf("there are %d [[export]] entries, at most %d are possible", len(exports), exportsMax)
	}
	for i := range exports {
		e := &exports[i]
		where := fmt.Sprintf("[[export]] entry %d (%s)", i+1, clip(e.Path))
		if !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || strings.ContainsRune(e.Path, 0) || len(e.Path) > 4095 {
			v.failf("%s: path must be absolute, without . and .. and without a slash at the end", where)
		}
		for _, name := range strings.Split(e.Path, "/") {
			if len(name) > 255 {
				v.failf("%s: %q is longer than a name can be, 255 bytes", where, clip(name))
			}
		}
		switch e.Squash {
		case "", SquashNone, SquashRoot, SquashAll:
		default:
			v.failf("%s: squash is %q: it must be %q, %q or %q", where, clip(e.Squash), SquashNone, SquashRoot, SquashAll)
		}
		if e.FrontEnds != nil && len(e.FrontEnds) == 0 || e.Machines != nil && len(e.Machines) == 0 {
			v.failf("%s: an empty list of front_ends or machines lets nobody in; leave it out to let all in, or remove the export", where)
		}
		if len(e.FrontEnds) > exportListMax || len(e.Machines) > exportListMax {
			v.failf("%s: %d front_ends and %d machines, at most %d of each are possible", where, len(e.FrontEnds), len(e.Machines), exportListMax)
		}
		for _, name := range e.FrontEnds {
			if _, ok := c.FrontEnd(name); !ok {
				v.failf("%s: front_ends: there is no client %q in cluster.toml; the replicas' own front ends are called replica-0 to replica-%d", where, clip(name), c.N()-1)
			}
		}
		for _, m := range e.Machines {
			if _, err := Network(m); err != nil {
				v.failf("%s: machines: %w", where, err)
			}
		}
	}
	if dirs := exportedDirectories(exports); uint64(dirs) >= c.Limits.MaxInodes {
		v.failf("the [[export]] entries need %d directories, limits.max_inodes is %d", dirs, c.Limits.MaxInodes)
	}
}

// exportedDirectories is how many directories there are in the exports' paths at most.
func exportedDirectories(exports []Export) int {
	n := 0
	for i := range exports {
		n += strings.Count(exports[i].Path, "/")
	}
	return n
}

// ParseExportPolicy decodes the file of an export policy for this cluster, and checks it.
func (c *Cluster) ParseExportPolicy(data []byte) (*ExportPolicy, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	p := &ExportPolicy{}
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(p); err != nil {
		return nil, explain(err)
	}
	v := &validation{}
	c.validateExports(v, p.Exports)
	return p, v.err()
}

// Encode gives the contents of a policy's file.
func (p *ExportPolicy) Encode() ([]byte, error) {
	var buf bytes.Buffer
	if err := toml.NewEncoder(&buf).Encode(p); err != nil {
		return nil, fmt.Errorf("encoding an export policy: %w", err)
	}
	return buf.Bytes(), nil
}
