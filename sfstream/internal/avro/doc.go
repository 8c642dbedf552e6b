// Package avro turns the Avro payloads of the Pub/Sub API into Go values.
//
// hamba/avro, which has no maintainer any more, is used for schema texts only. This package reads
// the payloads itself, for two reasons. A payload is bytes from a network, and hamba's Reader
// bounds them by global settings only; the cursor of this package checks every length against the
// bytes that are there before it allocates anything. And hamba keeps its codecs by a hash of the
// schema's text, in which a reference such as ["null","Address"] is only a name: if two schemas
// define Address differently, hamba would read the second one with the Address of the first. Code
// that encodes with hamba needs a hamba.Config{}.Freeze() per schema.
//
//	schema.go       Schema and Parse: the schema text becomes a tree of nodes
//	canonical.go    ID: the Parsing Canonical Form and its MD5
//	decode.go       Decode: payload to map, change events reduced to what changed
//	locate.go       its first step: what is in the payload, and where
//	build.go        its second: the values, many of them in one piece of memory
//	changed.go      which values of a change event are what changed, and which came along
//	identity.go     Identity: what of the header tells a change from others
//	header.go       Header: the header of a change event, without the rest
//	bind.go         Bind: payload to struct by a plan
//	bind_fields.go  which field of a struct is for which of an event
//	bind_nulled.go  its nulls, and what nulledFields says of a struct
//	bind_assign.go  Assign: map to struct, and what fits into what
//	encode.go       Append: struct or map to payload, the reverse of Bind and Decode
//	encode_record.go  a record from a map
//	encode_struct.go  a record from a struct, by an outline of its type
//	encode_value.go   numbers, texts, bytes: what fits without loss
//	encode_time.go    the times among the longs
//	bitmap.go       changedFields, nulledFields and diffFields as names
//	times.go        which fields are a DateTime, and how they are given
//	date.go         Date: the event's own time, without decoding
//	cursor.go       the bounds-checked reader
//	skip.go         how the reader steps over a value
//	registry.go     schemas by id, fetched once
//
// # Caveats
//
// The values of an event share memory. A string of a map that the program keeps also keeps a copy
// of the whole payload alive, unless the payload has more than 4 KB. A kept number, string or array
// of a map keeps some others of its kind alive. For strings of a struct and of a Header, textChunk
// and copyChunk bound the memory that they keep.
//
// Text that is not UTF-8 is not repaired and not refused, because one broken character is no reason
// to lose an event; encoding/json writes U+FFFD in its place. A double may be NaN or infinite,
// which encoding/json refuses.
//
// Append refuses both: no event can have them.
//
// Parse drops most defaults of a schema, and says why.
package avro
