package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// deterministic lists the packages whose behaviour must be a function of their input alone, with the imports that would
// let a clock, randomness, IO or the scheduler in.
var deterministic = map[string][]string{
	"bfsd/fsstate":      impure,
	"bfsd/fsstate/tree": impure,
	"bfsd/replica/pbft": append([]string{"sync", "sync/atomic", "unsafe"}, impure...),
}

var impure = []string{
	"bufio", "context", "crypto/rand", "crypto/tls", "database/sql", "hash/maphash", "io/fs", "io/ioutil", "log", "log/slog",
	"math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "path/filepath", "runtime", "syscall", "testing", "time", "unique",
}

// checkDeterminism reports what in the files could make two replicas differ: forbidden imports, goroutines, channels,
// and iteration over maps, whose order Go randomises.
func checkDeterminism(fset *token.FileSet, files []*ast.File, info *types.Info, forbidden []string) []string {
	var violations []string
	report := func(pos token.Pos, what string) {
		violations = append(violations, fmt.Sprintf("%s: %s", fset.Position(pos), what))
	}
	for _, file := range files {
		if strings.HasSuffix(fset.Position(file.Pos()).Filename, "_test.go") {
			continue
		}
		for _, imp := range file.Imports {
			for _, bad := range forbidden {
				if imp.Path.Value == `"`+bad+`"` {
					report(imp.Pos(), "imports "+bad)
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				report(n.Pos(), "starts a goroutine")
			case *ast.ChanType:
				report(n.Pos(), "uses a channel")
			case *ast.SelectStmt:
				report(n.Pos(), "selects")
			case *ast.RangeStmt:
				if overMap(info, n.X) {
					report(n.Pos(), "ranges over a map")
				}
			case *ast.CallExpr:
				if name := mapIterator(info, n); name != "" {
					report(n.Pos(), "iterates a map with "+name)
				}
			}
			return true
		})
	}
	return violations
}

func overMap(info *types.Info, x ast.Expr) bool {
	tv, ok := info.Types[x]
	if !ok {
		return false
	}
	_, isMap := tv.Type.Underlying().(*types.Map)
	return isMap
}

// mapIterator names the function of package maps or reflect that a call uses to walk a map, or "".
func mapIterator(info *types.Info, call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	fn, ok := info.Uses[sel.Sel].(*types.Func)
	if !ok || fn.Pkg() == nil {
		return ""
	}
	switch fn.Pkg().Path() + "." + fn.Name() {
	case "maps.Keys", "maps.Values", "maps.All", "reflect.MapKeys", "reflect.MapRange":
		return fn.Pkg().Path() + "." + fn.Name()
	}
	return ""
}
