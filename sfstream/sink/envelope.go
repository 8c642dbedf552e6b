package sink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Envelope is the form of [Record].Value.
type Envelope int

const (
	// JSON is the event as Salesforce's Streaming API writes it, on both APIs: see
	// [sfstream.Message.MarshalJSON].
	JSON Envelope = iota
	// Raw is the payload as it came ([sfstream.Message.Raw]): Avro, or JSON over the Streaming API.
	// The headers are those of CloudEventsBinary, and schemaid, an extension: the id of the Avro
	// schema. It is no URI, as dataschema would have to be.
	Raw
	// CloudEvents is a CloudEvent 1.0 in structured mode, as JSON. Its data is what JSON has as
	// data: schema, payload (of a PushTopic sobject), event, and what came along as enriched.
	CloudEvents
	// CloudEventsBinary is a CloudEvent 1.0 in binary mode: the value is the data, and the headers
	// are the attributes.
	CloudEventsBinary
)

// String returns the name of the envelope, as in "CloudEvents".
func (e Envelope) String() string {
	names := [...]string{"JSON", "Raw", "CloudEvents", "CloudEventsBinary"}
	if e < 0 || int(e) >= len(names) {
		return fmt.Sprintf("Envelope(%d)", int(e))
	}
	return names[e]
}

const (
	contentJSON       = "application/json"
	contentAvro       = "avro/binary"
	contentCloudEvent = "application/cloudevents+json"
)

// fill sets Value, ContentType and Headers of a record.
func (e Envelope) fill(r *Record) error {
	if e == Raw {
		r.Value, r.ContentType = r.Message.Raw(), contentJSON
		if isAvro(r) {
			r.ContentType = contentAvro
		}
		r.Headers = headers(r)
		return nil
	}
	text, err := r.Message.MarshalJSON()
	if err != nil {
		return err
	}
	if e == JSON {
		r.Value, r.ContentType = text, contentJSON
		return nil
	}
	_, data, _ := bytes.Cut(text, []byte(`,"data":`)) // no text in JSON has such quotes
	data = bytes.TrimSuffix(data, []byte("}"))
	if e == CloudEventsBinary {
		r.Value, r.ContentType = data, contentJSON
		r.Headers = headers(r)
		return nil
	}
	r.ContentType = contentCloudEvent
	attributes, err := json.Marshal(cloudEvent{
		SpecVersion: specVersion, ID: r.ID, Source: r.Source, Type: r.Type, Subject: r.Subject, Time: eventTime(r),
		PartitionKey: r.Key, DataContentType: contentJSON,
	})
	if err != nil {
		return err
	}
	r.Value = slices.Concat(bytes.TrimSuffix(attributes, []byte("}")), []byte(`,"data":`), data, []byte("}"))
	return nil
}

// isAvro reports whether the payload came over the Pub/Sub API. Avro that begins with a brace is
// hardly ever JSON as well.
func isAvro(r *Record) bool {
	payload := r.Message.Raw()
	return r.Message.SchemaID != "" && (!bytes.HasPrefix(payload, []byte("{")) || !json.Valid(payload))
}

const specVersion = "1.0"

// cloudEvent is the JSON of a CloudEvent in structured mode, without its data.
type cloudEvent struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject,omitempty"`
	Time            string `json:"time,omitempty"`
	PartitionKey    string `json:"partitionkey"`
	DataContentType string `json:"datacontenttype"`
}

func headers(r *Record) []Header {
	all := append(make([]Header, 0, 9), Header{"specversion", specVersion}, Header{"id", r.ID}, Header{"source", r.Source},
		Header{"type", r.Type}, Header{"partitionkey", r.Key}, Header{"datacontenttype", r.ContentType})
	if r.Subject != "" {
		all = append(all, Header{"subject", r.Subject})
	}
	if t := eventTime(r); t != "" {
		all = append(all, Header{"time", t})
	}
	if r.ContentType == contentAvro {
		all = append(all, Header{"schemaid", r.Message.SchemaID})
	}
	return all
}

func eventTime(r *Record) string {
	if r.Time.IsZero() || r.Time.Year() > 9999 || r.Time.Year() < 0 {
		return ""
	}
	return r.Time.UTC().Format(time.RFC3339Nano)
}
