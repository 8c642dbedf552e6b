package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// topicFlags are the flags of sfstream topic.
type topicFlags struct {
	json    bool
	account accountFlags
}

const topicHelp = `Tells what Salesforce says of a channel: whether the user may subscribe and
publish, and the fields of its events, as the schema is now.

  sfstream topic /event/Order__e
  sfstream topic -json /data/AccountChangeEvent | jq .schema

REQUIRED are the fields without which "sfstream publish" refuses an event.
`

func (f *topicFlags) register(flags *flag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "print one JSON object, with the whole schema")
	f.account.register(flags)
}

func (f *topicFlags) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	channel := args[0]
	if !schemaChannel.MatchString(channel) {
		text := fmt.Sprintf("sfstream topic: channel %q is not on the Pub/Sub API, which alone tells of channels: want /event/Name__e or /data/NameChangeEvent", channel)
		if channelForm.MatchString(channel) {
			text += `; "sfstream doctor" tells whether the user may follow this one`
		}
		return usageError{text}
	}
	if err := f.account.check("topic"); err != nil {
		return err
	}
	defer f.account.finish()
	account, err := f.account.account()
	if err != nil {
		return err
	}
	stop := newConsole(stdout, stderr).patience("read the schema, with a login at "+account.loginURL, nil)
	topic, schema, err := fetchTopic(ctx, account, channel)
	stop()
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing is printed")
	}
	if err != nil {
		return err
	}
	if f.json {
		return printTopic(stdout, topic, schema)
	}
	return tabulateTopic(stdout, topic, schema)
}

// fetchTopic asks what a channel is. Its schema is empty where the channel carries events of
// several kinds.
func fetchTopic(ctx context.Context, account account, channel string) (topic *eventbus.TopicInfo, schema string, err error) {
	bus, hangUp, err := account.schemas(ctx)
	if err != nil {
		return nil, "", err
	}
	defer hangUp()
	if topic, err = bus.topic(ctx, channel); err != nil || topic.SchemaId == "" {
		return topic, "", err
	}
	schema, err = bus.schema(ctx, channel, topic.SchemaId)
	return topic, schema, err
}

func printTopic(w io.Writer, topic *eventbus.TopicInfo, schema string) error {
	line, err := plainJSON(struct {
		Channel      string          `json:"channel"`
		CanSubscribe bool            `json:"canSubscribe"`
		CanPublish   bool            `json:"canPublish"`
		SchemaID     string          `json:"schemaId,omitempty"`
		Schema       json.RawMessage `json:"schema,omitempty"`
	}{topic.TopicName, topic.CanSubscribe, topic.CanPublish, topic.SchemaId, json.RawMessage(schema)})
	if err != nil {
		return fmt.Errorf("%s: the schema %q: %w", topic.TopicName, topic.SchemaId, err)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func tabulateTopic(w io.Writer, topic *eventbus.TopicInfo, schema string) error {
	yes := map[bool]string{true: "yes", false: "no"}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "channel\t%s\n", harmless(topic.TopicName))
	if schema == "" {
		fmt.Fprintf(table, "schema\tnone of its own: its events are of several kinds\n")
	} else {
		fmt.Fprintf(table, "schema\t%s\n", harmless(topic.SchemaId))
	}
	fmt.Fprintf(table, "subscribe\t%s\npublish\t%s\n", yes[topic.CanSubscribe], yes[topic.CanPublish])
	if err := table.Flush(); err != nil || schema == "" {
		return err
	}
	event, _, err := parseSchema(schema)
	if err != nil {
		return fmt.Errorf("%s: the schema %q: %w", topic.TopicName, topic.SchemaId, err)
	}
	fmt.Fprintf(table, "\nFIELD\tTYPE\tIN JSON\tREQUIRED\n")
	tabulateFields(table, "", event.fields, topic.CanPublish, nil)
	return table.Flush()
}

// tabulateFields prints a line for each field, and below a compound one those of its parts.
func tabulateFields(w io.Writer, prefix string, fields []avroField, publish bool, within []*avroType) {
	for _, f := range fields {
		typ, required := f.typ, "yes"
		if typ.kind == "union" {
			if others := slices.DeleteFunc(slices.Clone(typ.parts), func(t *avroType) bool { return t.kind == "null" }); len(others) < len(typ.parts) {
				required = ""
				if len(others) == 1 {
					typ = others[0]
				}
			}
		}
		switch {
		case !publish:
			required = ""
		case prefix == "" && (f.name == "CreatedDate" || f.name == "CreatedById"):
			required = "filled in"
		}
		row := fmt.Sprintf("%s\t%s\t%s\t%s", prefix+f.name, f.of, inJSON(typ, f.of), required)
		fmt.Fprintln(w, strings.TrimRight(row, "\t"))
		if typ.kind == "record" && !slices.Contains(within, typ) {
			tabulateFields(w, prefix+f.name+".", typ.fields, publish, append(within, typ))
		}
	}
}

// inJSON says how tail prints a value, and publish reads it. of is Salesforce's type.
func inJSON(t *avroType, of string) string {
	switch t.kind {
	case "boolean":
		return "true or false"
	case "int":
		return "whole number"
	case "long":
		switch of {
		case "DateTime":
			return "2026-01-31T10:00:00.000Z"
		case "DateOnly", "Birthday":
			return "2026-01-31"
		case "TimeOnly":
			return "10:00:00.000Z"
		}
		return "whole number"
	case "float", "double":
		return "number"
	case "string":
		if of == "MultiEnum" {
			return "list of texts"
		}
		return "text"
	case "enum":
		return "text"
	case "bytes", "fixed":
		return "bytes"
	case "array":
		return "list"
	case "map", "record":
		return "object"
	}
	return "any of several"
}
