package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// bag is a struct type of a package: what it holds and who reaches into it.
type bag struct {
	*types.TypeName
	fields   int
	methods  int
	touching map[string]bool // files that use one of its fields
	declared map[string]bool // files that have one of its methods
}

// bags are the struct types that a package declares.
func (p *pkg) bags() []*bag {
	of := map[*types.Var]*bag{}
	var found []*bag
	for _, name := range p.types.Scope().Names() {
		t, ok := p.types.Scope().Lookup(name).(*types.TypeName)
		if !ok || t.IsAlias() || !p.counts(t) {
			continue
		}
		s, ok := t.Type().Underlying().(*types.Struct)
		if !ok {
			continue
		}
		b := &bag{TypeName: t, fields: s.NumFields(), touching: map[string]bool{}, declared: map[string]bool{}}
		for f := range s.Fields() {
			of[f] = b
		}
		named := t.Type().(*types.Named)
		for m := range named.Methods() {
			b.methods++
			b.declared[p.in(m.Pos())] = true
		}
		found = append(found, b)
	}
	for ident, o := range p.info.Uses {
		if field, ok := o.(*types.Var); ok && field.IsField() {
			if b := of[field.Origin()]; b != nil {
				b.touching[p.in(ident.Pos())] = true
			}
		}
	}
	return found
}

// counts is whether o is declared in a file that is not generated.
func (p *pkg) counts(o types.Object) bool {
	return slices.ContainsFunc(p.files, func(f file) bool { return f.FileStart <= o.Pos() && o.Pos() < f.FileEnd })
}

// listBags prints the struct types that have at least so many fields.
func listBags(w io.Writer, packages []*pkg, fields int) {
	fmt.Fprintf(w, "\nStruct types of %d fields or more\n", fields)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "type\tfields\tmethods\tfiles that use the fields\tmethods in")
	for _, p := range packages {
		bags := p.bags()
		slices.SortFunc(bags, func(a, b *bag) int { return cmp.Or(b.fields-a.fields, strings.Compare(a.Name(), b.Name())) })
		for _, b := range bags {
			if b.fields >= fields {
				fmt.Fprintf(t, "%s.%s\t%d\t%d\t%d\t%s\n", p.dir, b.Name(), b.fields, b.methods, len(b.touching),
					strings.Join(slices.Sorted(maps.Keys(b.declared)), " "))
			}
		}
	}
	t.Flush()
}

// arrow is from a file to another one whose names it uses.
type arrow struct{ from, to string }

// arrows are the names that files of a package use of each other: of the package, and the fields
// and methods of its types. Exported names count where told.
func (p *pkg) arrows(exported bool) map[arrow][]string {
	owners := p.owners()
	found := map[arrow]map[string]bool{}
	for _, f := range p.files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			ident, ok := n.(*ast.Ident)
			if !ok || ident.IsExported() && !exported {
				return true
			}
			o := p.info.Uses[ident]
			if o == nil || o.Pkg() != p.types || !p.counts(o) {
				return true
			}
			a := arrow{f.name, p.in(o.Pos())}
			if a.from == a.to {
				return true
			}
			if found[a] == nil {
				found[a] = map[string]bool{}
			}
			name := o.Name()
			if owner := owners[declared(o)]; owner != "" {
				name = owner + "." + name
			}
			found[a][name] = true
			return true
		})
	}
	names := map[arrow][]string{}
	for a, set := range found {
		names[a] = slices.Sorted(maps.Keys(set))
	}
	return names
}

// owners says which type of the package has a field or a method.
func (p *pkg) owners() map[types.Object]string {
	owners := map[types.Object]string{}
	for _, name := range p.types.Scope().Names() {
		t, ok := p.types.Scope().Lookup(name).Type().(*types.Named)
		if !ok || t.Obj().Name() != name {
			continue
		}
		for m := range t.Methods() {
			owners[m] = name
		}
		switch u := t.Underlying().(type) {
		case *types.Struct:
			for f := range u.Fields() {
				owners[f] = name
			}
		case *types.Interface:
			for m := range u.ExplicitMethods() {
				owners[m] = name
			}
		}
	}
	return owners
}

// declared is o as it is declared, where o belongs to an instance of a generic type.
func declared(o types.Object) types.Object {
	switch o := o.(type) {
	case *types.Var:
		return o.Origin()
	case *types.Func:
		return o.Origin()
	}
	return o
}

// mutualPairs are the arrows whose opposite exists, each pair once.
func mutualPairs(arrows map[arrow][]string) []arrow {
	var found []arrow
	for a := range arrows {
		if _, back := arrows[arrow{a.to, a.from}]; back && a.from < a.to {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b arrow) int { return cmp.Or(strings.Compare(a.from, b.from), strings.Compare(a.to, b.to)) })
	return found
}

// listPairs prints the mutual pairs and what causes them.
func listPairs(w io.Writer, p *pkg) {
	arrows, all := p.arrows(false), p.arrows(true)
	pairs := mutualPairs(arrows)
	fmt.Fprintf(w, "\n./%s has %d mutual pairs of files that use each other's unexported names (%d arrows).\n", p.dir, len(pairs), len(arrows))
	fmt.Fprintf(w, "With exported names: %d pairs (%d arrows).\n", len(mutualPairs(all)), len(all))
	for _, a := range pairs {
		fmt.Fprintf(w, "%s ⇄ %s\n", a.from, a.to)
		for _, way := range []arrow{a, {a.to, a.from}} {
			fmt.Fprintf(w, "    %s uses %s\n", way.from, strings.Join(arrows[way], " "))
		}
	}
}
