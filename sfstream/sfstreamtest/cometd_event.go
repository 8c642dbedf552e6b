package sfstreamtest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
)

// eventJSON returns the data, without the channel, of a record that the Pub/Sub API has as Avro. If
// it cannot be decoded, its payload is null.
func (s *Server) eventJSON(r *record) []byte {
	s.mu.Lock()
	sc := s.schemas[r.schema]
	s.mu.Unlock()
	b := make([]byte, 0, 256+2*len(r.payload))
	b = append(b, `{"schema":`...)
	b = appendJSONString(b, r.schema)
	b = append(b, `,"payload":`...)
	body, change, ok := sc.appendPayload(b, r.payload)
	if ok {
		b = body
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"event":{`...)
	if !change {
		b = append(b, `"EventUuid":`...)
		b = appendJSONString(b, r.id)
	}
	if r.kind != anonymous {
		if !change {
			b = append(b, ',')
		}
		b = append(b, `"replayId":`...)
		b = strconv.AppendUint(b, r.replay, 10)
	}
	return append(b, "}}"...)
}

// appendPayload writes an Avro payload as JSON. The schema is nil if nobody knows it.
func (s *schema) appendPayload(b, payload []byte) (_ []byte, change, ok bool) {
	if s == nil {
		return b, false, false
	}
	f, i := field(s.avro, "ChangeEventHeader")
	change = f != nil
	r := avro.NewReader(nil, 0).Reset(payload)
	values, ok := decodeAvro(r, s.avro, len(payload)).([]any)
	if !ok || r.Error != nil {
		return b, change, false
	}
	if !change {
		return appendRecord(b, s.avro, values, false), false, true
	}
	head, ok := newChangeHeader(f, values[i])
	if !ok {
		return b, change, false
	}
	return head.appendChange(b, s.avro, values), true, true
}

var errCorrupt = errors.New("corrupt payload")

// decodeAvro is the inverse of encode. It returns records as lists in the order of their fields, by
// which bitmaps count. limit bounds the items of an array.
func decodeAvro(r *avro.Reader, s avro.Schema, limit int) any {
	switch s := s.(type) {
	case *avro.RefSchema:
		return decodeAvro(r, s.Schema(), limit)
	case *avro.UnionSchema:
		i := r.ReadLong()
		if i < 0 || i >= int64(len(s.Types())) {
			r.Error = errCorrupt
		}
		if r.Error != nil {
			return nil
		}
		return decodeAvro(r, s.Types()[i], limit)
	case *avro.RecordSchema:
		values := make([]any, len(s.Fields()))
		for i, f := range s.Fields() {
			values[i] = decodeAvro(r, f.Type(), limit)
			if r.Error != nil {
				return nil
			}
		}
		return values
	case *avro.EnumSchema:
		i := r.ReadInt()
		if i < 0 || int(i) >= len(s.Symbols()) {
			r.Error = errCorrupt
			return nil
		}
		return s.Symbols()[i]
	case *avro.ArraySchema:
		items := avroArrayItems{}
		for r.Error == nil {
			n, _ := r.ReadBlockHeader()
			if n == 0 {
				break
			}
			if n < 0 || n > int64(limit-len(items)) {
				r.Error = errCorrupt
			}
			for ; n > 0 && r.Error == nil; n-- {
				items = append(items, decodeAvro(r, s.Items(), limit))
			}
		}
		return items
	}
	switch s.Type() {
	case avro.Null:
		return nil
	case avro.String:
		return r.ReadString()
	case avro.Bytes:
		return r.ReadBytes()
	case avro.Boolean:
		return r.ReadBool()
	case avro.Int:
		return int64(r.ReadInt())
	case avro.Long:
		return r.ReadLong()
	case avro.Float:
		return float64(r.ReadFloat())
	case avro.Double:
		return r.ReadDouble()
	}
	r.Error = errCorrupt
	return nil
}

// avroArrayItems is a type of its own to tell an array's items from a record's fields.
type avroArrayItems []any

// appendRecord writes all fields of a record. short is how change events write dates.
func appendRecord(b []byte, s *avro.RecordSchema, values []any, short bool) []byte {
	b = append(b, '{')
	for i, f := range s.Fields() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, f.Name()), ':')
		b = appendField(b, f, values[i], short)
	}
	return append(b, '}')
}

func appendField(b []byte, f *avro.Field, v any, short bool) []byte {
	switch v := v.(type) {
	case int64:
		if dated, ok := appendDate(b, fieldType(f), v, short); ok {
			return dated
		}
	case []any:
		if rec, _ := compound(f.Type()); rec != nil {
			return appendRecord(b, rec, v, short)
		}
	case avroArrayItems:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendPlain(b, item)
		}
		return append(b, ']')
	}
	return appendPlain(b, v)
}

func appendPlain(b []byte, v any) []byte {
	if text, err := appendValue(b, v); err == nil {
		return text
	}
	return append(b, "null"...) // an array of records, which Salesforce does not have
}

// fieldType returns Salesforce's type of a field, the second word of its doc: CreatedDate:DateTime,
// Data:DateTime:00N000000000001.
func fieldType(f *avro.Field) string {
	_, rest, _ := strings.Cut(f.Doc(), ":")
	name, _, _ := strings.Cut(rest, ":")
	return name
}

// eventOverhead is how many bytes an event has in a response besides its payload.
const eventOverhead = 160

// appendEvent writes a record as a message. channel is the channel's name as a JSON text, name the
// EventApiName of the event; "" leaves that out.
func (t *topic) appendEvent(b []byte, r *record, channel []byte, name string) []byte {
	b = append(b, `{"data":`...)
	switch {
	case !t.streaming && name != "":
		b = append(b, r.json[:len(r.json)-len("}}")]...)
		b = appendJSONString(append(b, `,"EventApiName":`...), name)
		b = append(b, "}}"...)
	case !t.streaming:
		b = append(b, r.json...)
	default:
		b = append(b, `{"event":{"createdDate":"`...)
		b = time.Unix(0, r.at).UTC().AppendFormat(b, dateTime)
		b = append(b, `","replayId":`...)
		b = strconv.AppendUint(b, r.replay, 10)
		if strings.HasPrefix(t.name, "/topic/") {
			b = append(b, `,"type":`...)
			b = appendJSONString(b, r.schema)
			b = append(b, `},"sobject":`...)
		} else {
			b = append(b, `},"payload":`...)
		}
		b = append(b, r.payload...)
		b = append(b, '}')
	}
	b = append(b, `,"channel":`...)
	b = append(b, channel...)
	return append(b, '}')
}

// reaches reports whether a record is for a user: a targeted push is for some users only.
func (t *topic) reaches(r *record, user string) bool {
	return !t.streaming || r.id == "" || slices.Contains(strings.Split(r.id, ","), user)
}
