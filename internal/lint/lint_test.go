package lint

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

func load(t *testing.T, mode packages.LoadMode, patterns ...string) []*packages.Package {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{Mode: mode, Dir: "../.."}, patterns...)
	if err != nil {
		t.Fatalf("loading %v: %v", patterns, err)
	}
	for _, pkg := range pkgs {
		for _, e := range pkg.Errors {
			t.Fatalf("loading %s: %v", pkg.PkgPath, e)
		}
	}
	return pkgs
}

func TestPackagesImportOnlyWhatTheirRoomAllows(t *testing.T) {
	pkgs := load(t, packages.NeedName|packages.NeedImports, "./...")
	if len(pkgs) < 10 {
		t.Fatalf("loaded %d packages; the rule would see nothing", len(pkgs))
	}
	for _, pkg := range pkgs {
		inside := strings.TrimPrefix(pkg.PkgPath, "bfsd/")
		for _, v := range checkImports(inside, slices.Sorted(maps.Keys(pkg.Imports))) {
			t.Error(v)
		}
	}
}

func TestTheImportRuleSeesAViolation(t *testing.T) {
	for pkg, imp := range map[string]string{
		"fsstate/tree": "bfsd/replica/wire", "fsstate": "bfsd/nfs", "replica/pbft": "bfsd/replica/transport",
		"replica": "bfsd/fsstate", "replica/client": "bfsd/nfs", "nfs/gonfs": "bfsd/replica", "nfs/xdr": "bfsd/fsstate",
	} {
		if v := checkImports(pkg, []string{"fmt", imp}); len(v) != 1 {
			t.Errorf("%s importing %s: got %q, want one violation", pkg, imp, v)
		}
	}
	if v := checkImports("nfs", []string{"bfsd/fsstate", "bfsd/nfs/rpc", "context"}); v != nil {
		t.Errorf("an allowed import was reported: %q", v)
	}
}

func TestTheDeterministicPackagesAreDeterministic(t *testing.T) {
	mode := packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports
	seen := 0
	for _, pkg := range load(t, mode, slices.Sorted(maps.Keys(deterministic))...) {
		seen++
		for _, v := range checkDeterminism(pkg.Fset, pkg.Syntax, pkg.TypesInfo, deterministic[pkg.PkgPath]) {
			t.Error(v)
		}
	}
	if seen != len(deterministic) {
		t.Errorf("checked %d packages, the list has %d", seen, len(deterministic))
	}
}

func TestTheDeterminismRuleSeesEachViolation(t *testing.T) {
	const source = `package p
import (
	"maps"
	"time"
)
var now = time.Now
func f(m map[int]int, c chan int) {
	for range m {}
	for range maps.Keys(m) {}
	go f(nil, nil)
	select {}
}
func clean(s []int) { for range s {} }
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	if _, err := conf.Check("p", fset, []*ast.File{file}, info); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(checkDeterminism(fset, []*ast.File{file}, info, deterministic["bfsd/replica/pbft"]), "\n")
	for _, want := range []string{
		"imports time", "uses a channel", "ranges over a map", "iterates a map with maps.Keys", "starts a goroutine", "selects",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the rule does not see that the program %s; it reported:\n%s", want, got)
		}
	}
	if strings.Count(got, "\n")+1 != 6 {
		t.Errorf("want six violations, got:\n%s", got)
	}
}
