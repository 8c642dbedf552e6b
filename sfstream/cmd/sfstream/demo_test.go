package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTheDemosOrderIsTheReadmes proves that what the README shows of /event/Order__e is so of the
// demo's event, and that the demo publishes it.
func TestTheDemosOrderIsTheReadmes(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)DefineEvent\\(\"/event/Order__e\", `(.*?)`").FindSubmatch(readme)
	if shown == nil {
		t.Fatal("the README defines no /event/Order__e")
	}
	types := func(schema []byte) map[string]string {
		var record struct {
			Name   string
			Fields []struct {
				Name string
				Type json.RawMessage
			}
		}
		if err := json.Unmarshal(schema, &record); err != nil || record.Name != "Order__e" {
			t.Fatalf("%s: %v", schema, err)
		}
		types := make(map[string]string)
		for _, field := range record.Fields {
			types[field.Name] = string(field.Type)
		}
		return types
	}
	demo := types([]byte(orderEvent))
	for name, want := range types(shown[1]) {
		if demo[name] != want {
			t.Errorf("%s is %s in the README and %q in the demo", name, want, demo[name])
		}
	}

	o := startOrg(t, "-demo", "-rate", "100")
	out, err := program(t, o.env(), "tail", "-from", "all", "-count", "1", "/event/Order__e").Output()
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Data struct{ Payload map[string]any }
	}
	if err := json.Unmarshal(out, &line); err != nil || len(line.Data.Payload) != len(demo) || line.Data.Payload["Number__c"] == nil {
		t.Errorf("tail prints %s, %v", out, err)
	}
}

// TestTheDemoOutlivesItsChannels proves that the org goes on, and the demo with the channels that
// it still can, when someone removes a channel of the demo or gives its event other fields.
func TestTheDemoOutlivesItsChannels(t *testing.T) {
	for name, change := range map[string]func(o *org){
		"removed":   func(o *org) { o.control(t, "fault", map[string]any{"fault": "Remove", "channel": "/event/Order__e"}) },
		"redefined": func(o *org) { o.define(t) },
	} {
		t.Run(name, func(t *testing.T) {
			var o *org
			t.Cleanup(func() { // when the org has ended
				if told := o.stderr.String(); strings.Count(told, "-demo cannot publish on /event/Order__e any more: ") != 1 || strings.Contains(told, "sfstreamtest") {
					t.Errorf("testorg told %s", told)
				}
			})
			o = startOrg(t, "-demo", "-rate", "1000")
			change(o)
			cmd := program(t, o.env(), "tail", "-count", "200", "/data/AccountChangeEvent")
			limit := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
			defer limit.Stop()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("tail: %v: %s", err, out)
			}
		})
	}
}
