package main

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

// The tree is as large as the original benchmark's: some 70 files, 200 KB (TOCS 6(1) §3.1).
const (
	sourceFiles = 32 // in C each has a header too
	textFiles   = 6
)

// sizeQuantiles is the distribution of file sizes in bytes, as equally likely intervals: most files are small, a few are
// large. It is in integers so that every machine draws the same sizes.
var sizeQuantiles = []int{400, 700, 1000, 1400, 1900, 2500, 3200, 4100, 5300, 7000, 9500, 13000, 20000}

// language is what the sources are written in.
type language string

const (
	langC  language = "c"
	langGo language = "go"
)

// sourceFile is a file of the tree, at a path relative to its root.
type sourceFile struct {
	Path string
	Data []byte
}

// sourceTree is one copy of what the benchmark works on. Dirs come parents first, and include objectDir, which is empty until
// Make; Files are in the order of Copy.
type sourceTree struct {
	Language language
	Dirs     []string
	Files    []sourceFile
}

// objectDir is the directory of a tree that Make writes to.
const objectDir = "obj"

var (
	moduleDirs = []string{"lib", "lib/alloc", "lib/list", "lib/hash", "net", "net/frame", "store", "store/page", "cmd", "test"}
	docDirs    = []string{"doc", "doc/notes"}
	words      = strings.Fields("account block buffer byte cache call client copy cost count cursor data entry error event field " +
		"file frame group handle hash header index item key lease length limit line link list lock log map mark merge message " +
		"node offset order owner page path peer place point pool quorum queue range record reply request result ring root round " +
		"row scan sector segment server slot span stamp state store stream sum table tag task term timer token trace tree unit " +
		"value vector version view vote window word")
)

// Bytes is the size of all files.
func (t *sourceTree) Bytes() (n int64) {
	for _, f := range t.Files {
		n += int64(len(f.Data))
	}
	return n
}

// Sources are the paths of the files to compile, sorted.
func (t *sourceTree) Sources() (paths []string) {
	for _, f := range t.Files {
		if path.Ext(f.Path) == "."+string(t.Language) {
			paths = append(paths, f.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

// generateTree makes the tree of a seed: the same on every machine and in every process.
func generateTree(seed uint64, lang language) *sourceTree {
	g := &generator{rng: rand.New(rand.NewPCG(seed, uint64(len(moduleDirs)))), lang: lang}
	t := &sourceTree{Language: lang, Dirs: append([]string{"include", objectDir}, moduleDirs...)}
	t.Dirs = append(t.Dirs, docDirs...)
	for i := range sourceFiles {
		name := fmt.Sprintf("%s_%s%02d", g.word(), g.word(), i)
		dir := moduleDirs[i%len(moduleDirs)]
		module := g.module(i, name)
		if lang == langC {
			t.Files = append(t.Files,
				sourceFile{path.Join("include", name+".h"), module.header},
				sourceFile{path.Join(dir, name+".c"), module.source})
		} else {
			t.Files = append(t.Files, sourceFile{path.Join(dir, name+".go"), module.source})
		}
	}
	for i := range textFiles {
		t.Files = append(t.Files, sourceFile{path.Join(docDirs[i%len(docDirs)], fmt.Sprintf("%s%d.txt", g.word(), i)), g.text()})
	}
	return t
}

// generator writes sources. A module is one source file with functions that call each other and those of earlier modules.
type generator struct {
	rng     *rand.Rand
	lang    language
	exports []export
}

// export is a function that later modules may call.
type export struct{ module, function string }

type module struct{ header, source []byte }

func (g *generator) word() string { return words[g.rng.IntN(len(words))] }

// size draws a file size.
func (g *generator) size() int {
	i := g.rng.IntN(len(sizeQuantiles) - 1)
	return sizeQuantiles[i] + g.rng.IntN(sizeQuantiles[i+1]-sizeQuantiles[i])
}

func (g *generator) module(number int, name string) module {
	size := g.size()
	var uses []export
	for range min(3, len(g.exports)) {
		if e := g.exports[g.rng.IntN(len(g.exports))]; !slices.Contains(uses, e) {
			uses = append(uses, e)
		}
	}
	var header, source strings.Builder
	fmt.Fprintf(&source, "%s %s: module %d of a generated tree.\n", g.comment(), name, number)
	if g.lang == langC {
		fmt.Fprintf(&header, "#ifndef M%d_H\n#define M%d_H\n", number, number)
		fmt.Fprintf(&source, "#include \"%s.h\"\n", name)
		for _, used := range uses {
			fmt.Fprintf(&source, "#include \"%s.h\"\n", used.module)
		}
	} else {
		source.WriteString("package andrew\n")
	}
	var local []string
	for i := 0; i == 0 || source.Len() < size; i++ {
		function := fmt.Sprintf("%s_%s_%d_%d", g.word(), g.word(), number, i)
		g.function(&source, function, local, uses)
		local = append(local, function)
		if g.lang == langC {
			fmt.Fprintf(&header, "%s %s\nlong %s(long a, long b);\n", g.comment(), g.sentence(), function)
		}
	}
	if g.lang == langC {
		header.WriteString("#endif\n")
	}
	g.exports = append(g.exports, export{name, local[0]})
	return module{[]byte(header.String()), []byte(source.String())}
}

func (g *generator) comment() string { return "//" }

// function writes one function of two integers: some statements, a loop, and calls of functions that exist.
func (g *generator) function(w *strings.Builder, name string, local []string, uses []export) {
	fmt.Fprintf(w, "\n%s %s\n", g.comment(), g.sentence())
	end := ";"
	if g.lang == langC {
		fmt.Fprintf(w, "long %s(long a, long b)\n{\n\tlong t = a ^ %dL;\n\tlong i;\n", name, g.rng.IntN(1<<30))
	} else {
		end = ""
		fmt.Fprintf(w, "func %s(a, b int64) int64 {\n\tt := a ^ %d\n", name, g.rng.IntN(1<<30))
	}
	for range 2 + g.rng.IntN(8) {
		operator := []string{"+", "-", "^", "|", "&"}[g.rng.IntN(5)]
		fmt.Fprintf(w, "\tt = (t %s b) * %d%s // %s\n", operator, 3+2*g.rng.IntN(500), end, g.word())
	}
	open, shut := "for i := int64(0); i < b&15; i++ {", "}"
	if g.lang == langC {
		open, shut = "for (i = 0; i < (b & 15); i++) {", "}"
	}
	fmt.Fprintf(w, "\t%s\n\t\tt += (t >> 3) ^ (i * %d)%s\n", open, 1+g.rng.IntN(1000), end)
	if len(local) > 0 {
		fmt.Fprintf(w, "\t\tt -= %s(i, t)%s\n", local[g.rng.IntN(len(local))], end)
	}
	fmt.Fprintf(w, "\t%s\n", shut)
	for _, used := range uses {
		if g.rng.IntN(3) == 0 {
			fmt.Fprintf(w, "\tt ^= %s(b, t)%s\n", used.function, end)
		}
	}
	fmt.Fprintf(w, "\treturn t%s\n}\n", end)
}

func (g *generator) sentence() string {
	parts := make([]string, 5+g.rng.IntN(8))
	for i := range parts {
		parts[i] = g.word()
	}
	return strings.Join(parts, " ") + "."
}

func (g *generator) text() []byte {
	var w strings.Builder
	for size := g.size(); w.Len() < size; {
		w.WriteString(g.sentence())
		w.WriteByte('\n')
	}
	return []byte(w.String())
}
