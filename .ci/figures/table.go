package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// table prints a row for each package. The share of comments is of the lines that are not blank.
func table(w io.Writer, packages []*pkg) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "package\tfiles\tlines\tfile median/max\tfunction p50/p90/max\t> 60\tcomments\texported/undocumented\tgo/mutexes\ttests × code\t")
	for _, p := range packages {
		if len(p.files) == 0 {
			continue
		}
		var lines, comments, blank int
		var files, functions []int
		for _, f := range p.files {
			lines += f.lines()
			comments += p.comments(f)
			blank += f.blank()
			files = append(files, f.lines())
		}
		for _, f := range p.functions() {
			functions = append(functions, p.span(f))
		}
		slices.Sort(files)
		slices.Sort(functions)
		exported := p.exported()
		routines, mutexes := p.concurrency()
		fmt.Fprintf(t, "%s\t%d\t%d\t%d / %d\t%d / %d / %d\t%d\t%d %%\t%d / %d\t%d / %d\t%.1f\t\n",
			p.dir, len(files), lines, quantile(files, 50), quantile(files, 100),
			quantile(functions, 50), quantile(functions, 90), quantile(functions, 100), len(p.longFunctions()),
			100*comments/(lines-blank), len(exported), len(undocumented(exported)), routines, mutexes, float64(p.testLines)/float64(lines))
	}
	t.Flush()
}

// listEntries prints what the package's directory shows.
func listEntries(w io.Writer, p *pkg) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return
	}
	var tests, others int
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), "_test.go"):
			tests++
		case !strings.HasSuffix(e.Name(), ".go"):
			others++
		}
	}
	fmt.Fprintf(w, "\n./%s has %d entries: %d files of code, %d of tests, %d others\n", p.dir, len(entries), len(entries)-tests-others, tests, others)
}

func quantile(sorted []int, percent int) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// comments counts the lines that are nothing but comment.
func (p *pkg) comments(f file) int {
	n := 0
	for _, group := range f.Comments {
		for _, c := range group.List {
			before := f.text[:p.fset.Position(c.Pos()).Offset]
			if line := before[bytes.LastIndexByte(before, '\n')+1:]; len(bytes.TrimSpace(line)) == 0 {
				n += p.span(c)
			}
		}
	}
	return n
}

func (p *pkg) functions() []*ast.FuncDecl {
	var found []*ast.FuncDecl
	for _, f := range p.files {
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				found = append(found, f)
			}
		}
	}
	return found
}

// longFunctions are the functions that have more lines than they should, but for flat switches.
func (p *pkg) longFunctions() []*ast.FuncDecl {
	return slices.DeleteFunc(p.functions(), func(f *ast.FuncDecl) bool {
		return p.span(f) <= maxFunction || f.Body != nil && p.flat(f.Body)
	})
}

// flat is whether a switch is more than half of the body, and none of its cases is long: such a
// function is read one case at a time.
func (p *pkg) flat(body *ast.BlockStmt) bool {
	for _, s := range body.List {
		var cases *ast.BlockStmt
		switch s := s.(type) {
		case *ast.SwitchStmt:
			cases = s.Body
		case *ast.TypeSwitchStmt:
			cases = s.Body
		default:
			continue
		}
		tooLong := func(s ast.Stmt) bool { return p.span(s) > maxCase }
		if 2*p.span(cases) > p.span(body) && !slices.ContainsFunc(cases.List, tooLong) {
			return true
		}
	}
	return false
}

// concurrency counts the statements that start a goroutine (go, and Go of a sync.WaitGroup) and the
// mutexes.
func (p *pkg) concurrency() (routines, mutexes int) {
	for _, f := range p.files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				routines++
			case *ast.SelectorExpr:
				if o := p.info.Uses[n.Sel]; o != nil && o.Pkg() != nil && o.Pkg().Path() == "sync" {
					switch n.Sel.Name {
					case "Mutex", "RWMutex":
						mutexes++
					case "Go":
						routines++
					}
				}
			}
			return true
		})
	}
	return routines, mutexes
}

// name is an exported identifier of a package, or an exported method of an exported type.
type name struct {
	*ast.Ident
	documented bool
}

func undocumented(names []name) []name {
	return slices.DeleteFunc(slices.Clone(names), func(n name) bool { return n.documented })
}

// exported are the exported names of a package: none of a program. A comment at a group of
// constants or variables is for all of them.
func (p *pkg) exported() []name {
	var found []name
	add := func(documented bool, idents ...*ast.Ident) {
		for _, i := range idents {
			if i.IsExported() && p.name != "main" {
				found = append(found, name{i, documented})
			}
		}
	}
	for _, f := range p.files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
					add(d.Doc != nil, d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						add(s.Doc != nil || d.Doc != nil && d.Lparen == token.NoPos, s.Name)
					case *ast.ValueSpec:
						add(d.Doc != nil || s.Doc != nil || s.Comment != nil, s.Names...)
					}
				}
			}
		}
	}
	return found
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
