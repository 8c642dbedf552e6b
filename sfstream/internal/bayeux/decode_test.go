package bayeux

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// decoded returns all events and replies of a response.
func decoded(r io.Reader, length int64) (events []Event, replies []Reply, slabs []int, err error) {
	d := newDecoder(r, length, "")
	for {
		slab, err := d.next()
		if len(slab) > 0 {
			slabs = append(slabs, len(slab))
			events = append(events, slab...)
		}
		if err == io.EOF {
			return events, d.replies, slabs, nil
		}
		if err != nil {
			return events, d.replies, slabs, err
		}
	}
}

// reply returns a response with n events and a connect reply at the end.
func reply(n, size int) string {
	var b strings.Builder
	b.WriteString("[")
	for i := range n {
		fmt.Fprintf(&b, `{"data":{"event":{"replayId":%d},"text":%q},"channel":"/topic/A"},`, i, strings.Repeat("x", size))
	}
	b.WriteString(`{"channel":"/meta/connect","id":"7","successful":true}]`)
	return b.String()
}

func TestRepliesAreReadHoweverTheyArrive(t *testing.T) {
	text := "\n [ {\"channel\":\"/topic/A\", \"data\" : {\"a\":\"quote \\\" brace } \\\\\", \"b\":[1,{\"c\":null}]}}\n,{\"data\":\"s\",\"channel\":\"\\/u\\/x\"} ,\t" +
		`{"id":7,"successful":true,"channel":"/meta/connect","advice":{"timeout":110000,"interval":0,"reconnect":"retry"}},{"channel":"/topic/A","data":1.5}]` + " \n"
	for name, r := range map[string]func() io.Reader{
		"at once":       func() io.Reader { return strings.NewReader(text) },
		"by the byte":   func() io.Reader { return iotest.OneByteReader(strings.NewReader(text)) },
		"by the half":   func() io.Reader { return iotest.HalfReader(strings.NewReader(text)) },
		"EOF with data": func() io.Reader { return iotest.DataErrReader(strings.NewReader(text)) },
	} {
		t.Run(name, func(t *testing.T) {
			events, replies, _, err := decoded(r(), -1)
			if err != nil {
				t.Fatal(err)
			}
			want := []Event{
				{"/topic/A", []byte(`{"a":"quote \" brace } \\", "b":[1,{"c":null}]}`)}, {"/u/x", []byte(`"s"`)}, {"/topic/A", []byte(`1.5`)},
			}
			if !reflect.DeepEqual(events, want) {
				t.Errorf("events %s", events)
			}
			if len(replies) != 1 || replies[0].ID != "7" || !replies[0].Successful || *replies[0].Advice.Timeout != 110e9 || *replies[0].Advice.Interval != 0 {
				t.Errorf("replies %+v", replies)
			}
		})
	}
}

func TestSlabsHoldAtMost256Events(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 1000, 20_000} {
		text := reply(n, 600)
		events, replies, slabs, err := decoded(strings.NewReader(text), int64(len(text)))
		if err != nil || len(events) != n || len(replies) != 1 {
			t.Fatalf("%d events: %d, %d replies, %v", n, len(events), len(replies), err)
		}
		for _, slab := range slabs {
			if slab > slabEvents {
				t.Errorf("a slab of %d", slab)
			}
		}
		for i, e := range events {
			if !bytes.HasPrefix(e.Data, fmt.Appendf(nil, `{"event":{"replayId":%d}`, i)) || !json.Valid(e.Data) {
				t.Fatalf("event %d of %d is %.80s", i, n, e.Data)
			}
		}
	}
}

// Events that were read stay as they are while the decoder reads on.
func TestEventsAreNotOverwritten(t *testing.T) {
	d := newDecoder(iotest.HalfReader(strings.NewReader(reply(5000, 100))), -1, "")
	var events []Event
	var copies []string
	for {
		slab, err := d.next()
		events = append(events, slab...)
		for _, e := range slab {
			copies = append(copies, string(e.Data))
		}
		if err != nil {
			break
		}
	}
	for i, e := range events {
		if string(e.Data) != copies[i] {
			t.Fatalf("event %d has changed", i)
		}
	}
}

func TestABareObjectIsAReplyToo(t *testing.T) {
	_, replies, _, err := decoded(strings.NewReader(`{"channel":"/meta/connect","successful":false,"error":"403::Unknown client"}`), -1)
	if err != nil || len(replies) != 1 || replies[0].Error != "403::Unknown client" {
		t.Errorf("%+v, %v", replies, err)
	}
}

func TestABrokenReplyIsAnError(t *testing.T) {
	whole := reply(3, 20)
	for n := range len(whole) {
		events, _, _, err := decoded(strings.NewReader(whole[:n]), int64(len(whole)))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d: %v", n, err)
		}
		if whole := strings.Count(whole[:n], "}}") + strings.Count(whole[:n], `"},"channel":"/topic/A"}`); len(events) > whole {
			t.Fatalf("cut after %d: %d events of %d", n, len(events), whole)
		}
	}
	for _, text := range []string{"<html>", `"x"`, "null", "[1]", `[{"channel":"/a","data":1} x`, "upstream connect error"} {
		if _, _, _, err := decoded(strings.NewReader(text), -1); !errors.Is(err, errNotJSON) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWhatSurroundsDataDoesNotMatter(t *testing.T) {
	for text, want := range map[string]Reply{
		`{"channel":"/meta/subscribe","id":"3","clientId":"c","subscription":"/topic/A","successful":true}`: {
			Channel: "/meta/subscribe", ID: "3", ClientID: "c", Subscription: "/topic/A", Successful: true},
		`{"successful":false,"id":3,"error":"403::doesn’t “work”","channel":"/meta/subscribe","data":{"x":1}}`: {
			Channel: "/meta/subscribe", ID: "3", Error: "403::doesn’t “work”"},
		`{"channel":"/meta/handshake","error":"403::Handshake denied","ext":{"sfdc":{"failureReason":"401::Authentication invalid"},"payload.format":true}}`: {
			Channel: "/meta/handshake", Error: "403::Handshake denied", FailureReason: "401::Authentication invalid"},
		`{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}`: {
			Error: "INVALID_SESSION_ID", Message: "Session expired or invalid"},
		`{"channel":"/meta/connect","advice":"none","ext":7,"successful":"true"}`: {Channel: "/meta/connect", Successful: true},
		`{"channel":"/meta/connect","advice":{"timeout":"110000","interval":null}}`: { // it gives no reason: Start has the beginning
			Channel: "/meta/connect", Start: `{"channel":"/meta/connect","advice":{"timeout":"110000","interval":null}}`},
	} {
		_, replies, _, err := decoded(strings.NewReader("["+text+"]"), -1)
		if err != nil || len(replies) != 1 || !reflect.DeepEqual(replies[0], want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, replies, err, want)
		}
	}
}

func TestParseError(t *testing.T) {
	for text, want := range map[string]struct {
		code       int
		args, text string
	}{
		"403::Unknown client":                         {403, "", "Unknown client"},
		"403:denied_by_security_policy:create_denied": {403, "denied_by_security_policy", "create_denied"},
		"400::URI format: '/cometd/66.0'":             {400, "", "URI format: '/cometd/66.0'"},
		"404: channel gone":                           {404, "", " channel gone"},
		"SERVER_UNAVAILABLE: busy":                    {0, "", "SERVER_UNAVAILABLE: busy"},
		"099::x":                                      {0, "", "099::x"},
		"":                                            {0, "", ""},
		"403":                                         {0, "", "403"},
	} {
		code, args, rest := ParseError(text)
		if code != want.code || args != want.args || rest != want.text {
			t.Errorf("%q: %d %q %q", text, code, args, rest)
		}
	}
}

func FuzzParseError(f *testing.F) {
	f.Add("403:a:b:c")
	f.Fuzz(func(t *testing.T, s string) {
		code, args, text := ParseError(s)
		if code == 0 && (args != "" || text != s) || code != 0 && !strings.HasPrefix(s, fmt.Sprintf("%d:", code)) {
			t.Errorf("%q: %d %q %q", s, code, args, text)
		}
	})
}

// FuzzDecoder compares the decoder with encoding/json: if that reads a list of messages, the
// decoder must read it without an error, and the same messages. The decoder may accept more,
// because it does not check what is inside of data.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(reply(3, 5)), 3)
	f.Add([]byte(`[{"channel":"/a","data":{"x":"\"}"}},{"channel":"\u002fb","data":[]}]`), 1)
	f.Add([]byte(`{"channel":"/meta/connect"}`), 2)
	f.Add([]byte(`[{"a":1,"a":{}}]`), 7)
	f.Fuzz(func(t *testing.T, text []byte, chunk int) {
		events, replies, _, err := decoded(&chunked{text, 1 + max(0, chunk)%1000}, -1)
		for _, e := range events {
			e.Data = append(e.Data, "no room to write"...) // this append must not change the next event
		}
		var want []map[string]json.RawMessage
		if json.Unmarshal(text, &want) != nil || slices.ContainsFunc(want, func(m map[string]json.RawMessage) bool { return m == nil }) {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if len(want) != len(events)+len(replies) {
			t.Fatalf("%q: %d events, %d replies", text, len(events), len(replies))
		}
		for _, m := range want {
			var channel string
			if json.Unmarshal(m["channel"], &channel) != nil || m["data"] == nil || isMeta(channel) {
				continue
			}
			if len(events) > 0 && events[0].Channel == channel && string(events[0].Data) == string(m["data"]) {
				events = events[1:]
			}
		}
	})
}

// chunked is a reader that returns n bytes at a time.
type chunked struct {
	text []byte
	n    int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.text)
	c.text = c.text[n:]
	return n, nil
}
