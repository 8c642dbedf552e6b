// Command figures counts what makes code easy or hard to read: per package how long its files and
// functions are, how much of it is comments, what is exported without a doc comment, and how many
// goroutines and mutexes there are; which struct types have grown into bags of state; and which
// files of ./sfstream use each other's unexported names.
//
// Usage, in the module's root directory:
//
//	go run ./.ci/figures [-check] [-pairs package] [-bags n]
//
// Tests and generated files do not count. With -check it fails where a limit is passed: see
// limits.go.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	check := flag.Bool("check", false, "fail where a limit is passed")
	pairs := flag.String("pairs", "sfstream", "the package whose mutual file pairs are listed")
	bags := flag.Int("bags", 10, "list struct types that have at least `n` fields")
	flag.Parse()
	packages, err := load()
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(2)
	}
	table(os.Stdout, packages)
	listBags(os.Stdout, packages, *bags)
	for _, p := range packages {
		if p.dir == *pairs {
			listEntries(os.Stdout, p)
			listPairs(os.Stdout, p)
		}
	}
	if !*check {
		return
	}
	passed := passedLimits(packages)
	fmt.Printf("\n%d limits are passed\n", len(passed))
	for _, line := range passed {
		fmt.Println("  " + line)
	}
	if len(passed) > 0 {
		os.Exit(1)
	}
}

// pkg is a package of this module, type-checked. Its generated files are known to the types and are
// not in files.
type pkg struct {
	dir       string // below the module's root
	name      string
	files     []file
	testLines int
	fset      *token.FileSet
	info      *types.Info
	types     *types.Package
}

type file struct {
	name string
	text []byte
	*ast.File
}

func (f file) lines() int { return bytes.Count(f.text, []byte("\n")) }

func (f file) blank() int { return bytes.Count(f.text, []byte("\n\n")) }

// load type-checks the packages of this module. What they import comes from the compiler's export
// data, which go list has made.
func load() ([]*pkg, error) {
	cmd := exec.Command("go", "list", "-e=false", "-deps", "-export", "-json=ImportPath,Dir,Name,Export,Module,GoFiles,TestGoFiles,XTestGoFiles,DepOnly", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	type listed struct {
		ImportPath, Dir, Name, Export      string
		Module                             *struct{ Dir string }
		GoFiles, TestGoFiles, XTestGoFiles []string
		DepOnly                            bool
	}
	exports := map[string]string{}
	var own []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[l.ImportPath] = l.Export
		if !l.DepOnly {
			own = append(own, l)
		}
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var packages []*pkg
	for _, l := range own {
		dir, err := filepath.Rel(l.Module.Dir, l.Dir)
		if err != nil {
			return nil, err
		}
		p := &pkg{dir: filepath.ToSlash(dir), name: l.Name, fset: fset}
		if err := p.check(imports, l.Dir, l.GoFiles); err != nil {
			return nil, err
		}
		for _, name := range append(l.TestGoFiles, l.XTestGoFiles...) {
			text, err := os.ReadFile(filepath.Join(l.Dir, name))
			if err != nil {
				return nil, err
			}
			p.testLines += bytes.Count(text, []byte("\n"))
		}
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return packages, nil
}

// check parses and type-checks the package's files.
func (p *pkg) check(imports types.Importer, dir string, names []string) error {
	var all []*ast.File
	for _, name := range names {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(p.fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, f)
		if !ast.IsGenerated(f) {
			p.files = append(p.files, file{name, text, f})
		}
	}
	p.info = &types.Info{
		Defs:       map[*ast.Ident]types.Object{},
		Uses:       map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	var err error
	config := types.Config{Importer: imports, Sizes: types.SizesFor("gc", "amd64")}
	p.types, err = config.Check(p.dir, p.fset, all, p.info)
	return err
}

// in is the name of the file that has pos, without its directory.
func (p *pkg) in(pos token.Pos) string { return filepath.Base(p.fset.Position(pos).Filename) }

// at is where pos is, from the module's root.
func (p *pkg) at(pos token.Pos) string {
	at := p.fset.Position(pos)
	return fmt.Sprintf("%s/%s:%d", strings.TrimSuffix(p.dir, "/"), filepath.Base(at.Filename), at.Line)
}

// span is how many lines a node has.
func (p *pkg) span(n ast.Node) int {
	return p.fset.Position(n.End()).Line - p.fset.Position(n.Pos()).Line + 1
}
