package avro

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	hamba "github.com/hamba/avro/v2"
)

// Schema is a parsed schema. It is immutable and safe for concurrent use.
type Schema struct {
	id     string
	name   string
	root   *node
	header *node // the record of field 0 if this is a change event, else nil
	date   int   // index of the field that Date reads, in header, or in root if header is nil; -1: none
	paths  int   // how many fields a bitmap can name, nested ones included
	err    error // why nothing can be read with this schema; only Unusable sets it

	identifying int // how many of header's fields identify a change, see Identity

	fields   []*field  // those of all records, by field.id
	symbols  []any     // those of all enums, one enum after the other
	locators sync.Pool // of *locator

	size atomic.Int64 // how many bytes Append makes room for

	lastEntity, lastOrigin, lastUser atomic.Pointer[string] // the texts that Header read last
}

// Unusable returns a schema that stands in for one that could not be had, because of why. Nothing
// can be decoded with it; Err returns why.
func Unusable(why error) *Schema { return &Schema{date: -1, err: why} }

// Err returns why the schema cannot be used, nil if it can.
func (s *Schema) Err() error { return s.err }

// SchemaError says that a schema cannot be used. Fetching it again will not help.
type SchemaError struct {
	ID  string // empty when the schema did not come from a Registry
	Err error
}

// Error names the schema, if a Registry has fetched it.
func (e *SchemaError) Error() string {
	if e.ID == "" {
		return "avro: schema: " + e.Err.Error()
	}
	return "avro: schema " + e.ID + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *SchemaError) Unwrap() error { return e.Err }

// Parse parses the schema of an event, which is a record. Two schemas may define the same name
// differently, as two versions of one event do. The error is a *SchemaError.
//
// Parse keeps defaults for Append alone, and those only that are a text, a number or a boolean. Who
// reads with the schema that the payload was written with never needs them, and hamba is strict
// with them: it rejects a union whose default is not of the first branch, and allocates the default
// of a fixed at whatever size the schema claims.
func Parse(schemaJSON string) (*Schema, error) {
	tree, err := parse(schemaJSON)
	if err != nil {
		return nil, &SchemaError{Err: err}
	}
	record, ok := tree.(*hamba.RecordSchema)
	if !ok {
		return nil, &SchemaError{Err: fmt.Errorf("an event is a record, this is of type %s", tree.Type())}
	}
	named := map[string]*node{}
	root, err := compile(record, named)
	if err != nil {
		return nil, &SchemaError{Err: err}
	}

	s := &Schema{id: id(tree), name: record.Name(), root: root}
	dated, dateName := root, "CreatedDate"
	if f := root.fields; len(f) > 0 && f[0].name == headerName && f[0].node.kind == kindRecord {
		s.header = f[0].node
		dated, dateName = s.header, "commitTimestamp"
		for i := range s.header.fields {
			f := &s.header.fields[i]
			if f.part = partNames[f.name]; f.part.identifies() {
				s.identifying++
			}
		}
	}
	for _, n := range named {
		s.number(n)
	}
	for i := range root.fields {
		root.fields[i].system = systemNames[root.fields[i].name]
	}
	s.date = dated.indexOf(dateName)
	s.paths = len(root.fields)
	for i := range root.fields {
		if f := &root.fields[i]; f.record != nil {
			f.place = s.paths
			s.paths += len(f.record.fields)
		}
	}
	if s.paths <= maxPaths {
		root.nameMembers()
	}
	return s, nil
}

// maxPaths bounds the names of nested fields that Parse makes ahead, because a schema can refer to
// one large record in many places. Salesforce has up to a thousand fields.
const maxPaths = 1 << 14

// number gives a record's fields their ids and an enum's symbols their place in s.symbols: items
// refer to both by number.
func (s *Schema) number(n *node) {
	for i := range n.fields {
		n.fields[i].id = int32(len(s.fields))
		s.fields = append(s.fields, &n.fields[i])
	}
	n.first = len(s.symbols)
	s.symbols = append(s.symbols, n.symbols...)
}

// nameMembers makes the names of nested fields, as BillingAddress.City.
func (n *node) nameMembers() {
	for i := range n.fields {
		f := &n.fields[i]
		if f.record == nil {
			continue
		}
		f.members = make([]any, len(f.record.fields))
		for j := range f.members {
			f.members[j] = f.name + "." + f.record.fields[j].name
		}
	}
}

// ID returns the id that Salesforce gives to this schema.
func (s *Schema) ID() string { return s.id }

// Name returns the record's name without its namespace, as AccountChangeEvent.
func (s *Schema) Name() string { return s.name }

// IsChangeEvent reports whether the event is one of Change Data Capture: its field 0 is a
// ChangeEventHeader.
func (s *Schema) IsChangeEvent() bool { return s.header != nil }

const headerName = "ChangeEventHeader"

// parse parses with hamba, with a cache for this schema only: hamba's default cache is global, and
// would resolve a name to the record that an earlier schema gave it.
func parse(schemaJSON string) (tree hamba.Schema, err error) {
	// hamba has no maintainer: if a schema makes it panic, that must be an error of the schema and
	// not the end of the program.
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("the parser panicked: %v", r)
		}
	}()
	var v any
	if err := json.Unmarshal([]byte(schemaJSON), &v); err != nil {
		return nil, err
	}
	if err := prepare(v, 0); err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return hamba.ParseBytesWithCache(text, "", &hamba.SchemaCache{})
}

// keptDefault is where prepare puts the default of a field, so that hamba does not look at it.
const keptDefault = "sfstream.default"

// prepare drops the defaults from a schema's JSON, but for plain values. It refuses JSON that is
// nested too deep, because nobody can recover from a stack overflow.
func prepare(v any, depth int) error {
	if depth > 4*maxDepth { // a record in a record is four levels of JSON
		return errDepth
	}
	switch v := v.(type) {
	case map[string]any:
		if value, ok := v["default"]; ok {
			delete(v, "default")
			switch value.(type) {
			case string, bool, float64:
				v[keptDefault] = value
			}
		}
		for _, child := range v {
			if err := prepare(child, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, child := range v {
			if err := prepare(child, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

type kind uint8

const (
	kindNull kind = iota
	kindBoolean
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindString
	kindBytes
	kindFixed
	kindEnum
	kindArray
	kindMap
	kindUnion
	kindRecord
)

// node is a type of the schema. A record that contains itself makes a cycle of nodes.
type node struct {
	kind     kind
	fields   []field // record
	branches []*node // union
	items    *node   // array, map
	symbols  []any   // enum: strings, already in interfaces so that decoding allocates none
	first    int     // enum: index of its first symbol in Schema.symbols
	size     int     // fixed

	null   int   // index of the branch of a union that is null, 0 for null itself, -1 if there is none
	only   *node // the branch of a union that is not null, if it is the only one
	onlyAt int   // its index

	plans *sync.Map // record: reflect.Type → *plan

	outlines sync.Map                // record: reflect.Type → *outline
	outline  atomic.Pointer[outline] // the one that Append used last
}

type field struct {
	id       int32 // its index in Schema.fields
	name     string
	label    any // the name, already in an interface so that decoding allocates none
	node     *node
	nullable int    // how many fields in a row, from this one on, are unions whose first branch is null
	record   *node  // the record that node is or has among its branches, else nil; see recordOf
	members  []any  // if this is a field of the event: the names of record's fields, as Parent.Child
	place    int    // if this is a field of the event: the number of record's first field; see binding.record
	timeForm string // the layout of a long that is a time, else empty
	part     part   // which field of the header this is
	system   system // what Salesforce wants to be told of the event
	fallback []byte // the encoding of its default, nil if it has none, or null
}

// system says which field of an event tells of its publication.
type system uint8

const (
	systemNone system = iota
	systemDate
	systemUser
)

var systemNames = map[string]system{"CreatedDate": systemDate, "CreatedById": systemUser}

func (n *node) indexOf(name string) int {
	for i := range n.fields {
		if n.fields[i].name == name {
			return i
		}
	}
	return -1
}

// compile turns hamba's tree into nodes. named has the node of each named type met so far, so that
// a type which refers to itself ends in a cycle.
func compile(schema hamba.Schema, named map[string]*node) (*node, error) {
	if ref, ok := schema.(*hamba.RefSchema); ok {
		schema = ref.Schema()
	}
	n := &node{null: -1}
	if s, ok := schema.(hamba.NamedSchema); ok {
		if met := named[s.FullName()]; met != nil {
			return met, nil
		}
		named[s.FullName()] = n
	}

	var err error
	switch s := schema.(type) {
	case *hamba.RecordSchema:
		err = n.compileFields(s, named)
	case *hamba.UnionSchema:
		n.kind = kindUnion
		for _, t := range s.Types() {
			child, err := compile(t, named)
			if err != nil {
				return nil, err
			}
			n.branches = append(n.branches, child)
		}
		n.sortBranches()
	case *hamba.ArraySchema:
		n.kind = kindArray
		n.items, err = compile(s.Items(), named)
	case *hamba.MapSchema:
		n.kind = kindMap
		n.items, err = compile(s.Values(), named)
	case *hamba.EnumSchema:
		n.kind = kindEnum
		for _, symbol := range s.Symbols() {
			n.symbols = append(n.symbols, symbol)
		}
	case *hamba.FixedSchema:
		n.kind, n.size = kindFixed, s.Size()
	case nil:
		return nil, errors.New("a type is missing")
	default:
		if n.kind, err = primitive(s.Type()); n.kind == kindNull {
			n.null = 0
		}
	}
	return n, err
}

// compileFields makes n the node of a record.
func (n *node) compileFields(s *hamba.RecordSchema, named map[string]*node) error {
	n.kind, n.plans = kindRecord, new(sync.Map)
	n.fields = make([]field, len(s.Fields()))
	for i, f := range s.Fields() {
		child, err := compile(f.Type(), named)
		if err != nil {
			return err
		}
		n.fields[i] = field{name: f.Name(), label: f.Name(), node: child, record: recordOf(child), timeForm: timeForm(f.Doc())}
		if value := f.Prop(keptDefault); value != nil {
			n.fields[i].fallback = plainDefault(child, value)
		}
	}
	for i := len(n.fields) - 1; i >= 0; i-- {
		if f := &n.fields[i]; f.node.nullFirst() {
			f.nullable = 1
			if i+1 < len(n.fields) {
				f.nullable += n.fields[i+1].nullable
			}
		}
	}
	return nil
}

// sortBranches finds out which branch of a union is null, and which one is not.
func (n *node) sortBranches() {
	for i, branch := range n.branches {
		if branch.kind == kindNull {
			n.null = i
		} else {
			n.only, n.onlyAt = branch, i
		}
	}
	if others := len(n.branches); others > 2 || others == 2 && n.null < 0 {
		n.only = nil
	}
}

// plainDefault encodes the default of a field, which is of a union's first branch; nil if it cannot
// be.
func plainDefault(n *node, value any) []byte {
	var before []byte
	if n.kind == kindUnion {
		if len(n.branches) == 0 {
			return nil
		}
		before, n = []byte{0}, n.branches[0]
	}
	encoding, err := (&encoding{}).value(before, n, "", reflect.ValueOf(value))
	if err != nil || n.kind == kindUnion {
		return nil
	}
	return encoding
}

func primitive(t hamba.Type) (kind, error) {
	switch t {
	case hamba.Null:
		return kindNull, nil
	case hamba.Boolean:
		return kindBoolean, nil
	case hamba.Int:
		return kindInt, nil
	case hamba.Long:
		return kindLong, nil
	case hamba.Float:
		return kindFloat, nil
	case hamba.Double:
		return kindDouble, nil
	case hamba.String:
		return kindString, nil
	case hamba.Bytes:
		return kindBytes, nil
	}
	return 0, fmt.Errorf("type %s is not known", t)
}

// nullFirst reports whether null is the first branch of a union: it is encoded as one zero byte
// then.
func (n *node) nullFirst() bool {
	return n.kind == kindUnion && len(n.branches) > 0 && n.branches[0].kind == kindNull
}

// recordOf returns the record whose fields a compound element of a bitmap ("4-0x06") numbers: n
// itself, or the first record among the branches of a union.
func recordOf(n *node) *node {
	if n.kind == kindRecord {
		return n
	}
	for _, b := range n.branches {
		if b.kind == kindRecord {
			return b
		}
	}
	return nil
}
