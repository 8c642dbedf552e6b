// Package avro turns the Avro payloads of the Pub/Sub API into Go values.
//
// It is the seam over hamba/avro, which has no maintainer any more: hamba reads schema texts, the payloads are read
// here, for two reasons. A payload is bytes from a network, and hamba's Reader bounds them with global settings only; the
// cursor of this package checks every length against the bytes that are there before anything is allocated. And hamba
// keeps codecs by a hash of the schema's text, in which a reference such as ["null","Address"] is only a name: of two
// schemas whose Address differs, the second would be read with the first one's. Who encodes with hamba needs a
// hamba.Config{}.Freeze() per schema.
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
//	bitmap.go       changedFields, nulledFields and diffFields as names
//	times.go        which fields are a DateTime, and how they are given
//	date.go         Date: the event's own time, without decoding
//	cursor.go       the bounds-checked reader
//	registry.go     schemas by id, fetched once
//
// # Caveats
//
// The values of an event share memory: a kept string of a map keeps a copy of the whole payload alive, unless that has
// more than 4 KB; a kept number, string or array of a map some others of its kind. What strings of a struct and of a Header keep is bounded by textChunk
// and copyChunk.
//
// Text that is not UTF-8 stays as the bytes it is, for one broken character is no reason to lose an event;
// encoding/json writes U+FFFD in its place. A double may be NaN or infinite, which encoding/json refuses.
//
// The defaults of a schema are dropped, see Parse.
package avro
