package avro

import (
	"crypto/md5"
	"encoding/base64"
	"strconv"
	"strings"

	hamba "github.com/hamba/avro/v2"
)

// ID returns the id that Salesforce gives to a schema: unpadded base64url of the MD5 over the
// Parsing Canonical Form. Docs, defaults and aliases do not influence it: see
// internal/eventbus/PROTOCOL.md, "Schemas". The error is a *SchemaError.
func ID(schemaJSON string) (string, error) {
	tree, err := parse(schemaJSON)
	if err != nil {
		return "", &SchemaError{Err: err}
	}
	return id(tree), nil
}

func id(tree hamba.Schema) string {
	var b strings.Builder
	canonical(&b, tree)
	sum := md5.Sum([]byte(b.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// canonical writes the Parsing Canonical Form. hamba's own String keeps logical types, which the
// form leaves out, and takes quadratic time. hamba has checked that names are plain ASCII, so
// nothing needs escaping.
func canonical(b *strings.Builder, schema hamba.Schema) {
	switch s := schema.(type) {
	case *hamba.RecordSchema:
		typ := "record"
		if s.IsError() {
			typ = "error"
		}
		b.WriteString(`{"name":"` + s.FullName() + `","type":"` + typ + `","fields":[`)
		for i, f := range s.Fields() {
			comma(b, i)
			b.WriteString(`{"name":"` + f.Name() + `","type":`)
			canonical(b, f.Type())
			b.WriteByte('}')
		}
		b.WriteString(`]}`)
	case *hamba.EnumSchema:
		b.WriteString(`{"name":"` + s.FullName() + `","type":"enum","symbols":["` + strings.Join(s.Symbols(), `","`) + `"]}`)
	case *hamba.FixedSchema:
		b.WriteString(`{"name":"` + s.FullName() + `","type":"fixed","size":` + strconv.Itoa(s.Size()) + `}`)
	case *hamba.ArraySchema:
		b.WriteString(`{"type":"array","items":`)
		canonical(b, s.Items())
		b.WriteByte('}')
	case *hamba.MapSchema:
		b.WriteString(`{"type":"map","values":`)
		canonical(b, s.Values())
		b.WriteByte('}')
	case *hamba.UnionSchema:
		b.WriteByte('[')
		for i, t := range s.Types() {
			comma(b, i)
			canonical(b, t)
		}
		b.WriteByte(']')
	case *hamba.RefSchema:
		b.WriteString(`"` + s.Schema().FullName() + `"`)
	default:
		b.WriteString(`"` + string(s.Type()) + `"`)
	}
}

func comma(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}
