package lint

import (
	"fmt"
	"strings"
)

// importRule says what the packages under From may import of this module. May is a list of path prefixes; a package may
// always import what lies under its own From.
type importRule struct {
	From string
	May  []string
	Why  string
}

// importRules is ARCHITECTURE.md's "Rooms" as a table; the first row whose From is a prefix of a package decides.
var importRules = []importRule{
	{"fsstate", nil, "the file system knows neither NFS nor PBFT"},
	{"replica/wire", nil, "messages know no behaviour"},
	{"replica/auth", []string{"replica/wire"}, "keys know messages, not the protocol"},
	{"replica/pbft", []string{"replica/wire", "replica/auth"}, "the core sees verified messages and nothing else"},
	{"replica/config", []string{"replica/wire", "replica/auth"}, "the configuration knows principals and keys"},
	{"replica/transport", []string{"replica/wire", "replica/auth", "replica/config"}, "links know no message's meaning"},
	{"replica/store", []string{"replica/wire"}, "the log knows no protocol"},
	{"replica", []string{"replica"}, "the protocol knows no file system"},
	{"nfs/xdr", nil, "XDR knows no program"},
	{"nfs/rpc", []string{"nfs/xdr", "nfs/internal"}, "RPC knows no program"},
	{"nfs/nfs3", []string{"nfs/xdr"}, "RFC 1813's types know no backend"},
	{"nfs/mount", []string{"nfs/xdr", "nfs/nfs3"}, "RFC 1813's types know no backend"},
	{"nfs/rpcbind", []string{"nfs/xdr", "nfs/rpc"}, "finding ports knows no program"},
	{"nfs/nsm", []string{"nfs/xdr", "nfs/rpc"}, "news of restarts know no locks"},
	{"nfs", []string{"nfs", "fsstate"}, "the front end knows no replicas"},
}

// checkImports reports every import of pkg (a path inside the module, such as "replica/pbft") that the rules forbid.
func checkImports(pkg string, imports []string) []string {
	var violations []string
	for _, rule := range importRules {
		if !under(pkg, rule.From) {
			continue
		}
		for _, imp := range imports {
			inside, ok := strings.CutPrefix(imp, "bfsd/")
			if !ok || under(inside, rule.From) || anyUnder(inside, rule.May) {
				continue
			}
			violations = append(violations, fmt.Sprintf("%s imports %s: %s", pkg, imp, rule.Why))
		}
		return violations
	}
	return nil
}

func under(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

func anyUnder(pkg string, roots []string) bool {
	for _, root := range roots {
		if under(pkg, root) {
			return true
		}
	}
	return false
}
