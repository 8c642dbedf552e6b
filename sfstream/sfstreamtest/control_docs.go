package sfstreamtest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// controlIntro is what the tables do not say.
const controlIntro = `The control API of the org

POST takes a JSON object, with Content-Type: application/json; GET takes a query. Replies are JSON.
A request that is wrong changes nothing: it is answered with 400 and {"error": text}, and where
there is a list of what it could have said, with that list as "known". A request has at most 16 MiB,
and publishes at most 10,000 events and 64 MiB.

`

const faultIntro = `
Faults of POST /control/fault

A fault is named in "fault", after its method of
https://pkg.go.dev/github.com/sfstream/sfstream-go/sfstream/sfstreamtest#Server, which tells more.
It happens n times, or lasts while it is on. Those of its parameters that end in ! are required.
`

const codeIntro = `
A code is what Salesforce puts into the error-code trailer, without sfdc.platform.eventbus.grpc.:
subscription.limit.exceeded; or a status of gRPC, UNAVAILABLE; or both, with a text,
"INTERNAL made.up.code: text". On the Streaming API it is the error that means the same there, or
one in its form, "403::Restricted channel".
`

// controlDocs answers with all that the tables have, as a text or, if the client accepts that, as
// JSON.
func controlDocs(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		writeJSON(w, http.StatusOK, controlTables())
		return
	}
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, _ = io.WriteString(w, controlText()) // it fails only if the client has gone
}

type requestDoc struct {
	Method     string      `json:"method"`
	Path       string      `json:"path"`
	About      string      `json:"about"`
	Parameters []parameter `json:"parameters"`
	Reply      []parameter `json:"reply,omitempty"`
	Example    string      `json:"example,omitempty"`
}

type faultDoc struct {
	Fault      string      `json:"fault"`
	About      string      `json:"about"`
	Parameters []parameter `json:"parameters"`
}

type tablesReply struct {
	Requests []requestDoc `json:"requests"`
	Faults   []faultDoc   `json:"faults"`
}

func controlTables() tablesReply {
	var reply tablesReply
	for _, row := range controlRequests() {
		takes := append([]parameter{}, row.takes...)
		reply.Requests = append(reply.Requests, requestDoc{row.method, row.path, row.about, takes, row.gives, row.example})
	}
	for _, row := range controlFaults() {
		takes := append([]parameter{}, row.parameters()...)
		reply.Faults = append(reply.Faults, faultDoc{row.name, row.about, takes})
	}
	return reply
}

// controlText returns the tables as a text of at most textWidth columns.
func controlText() string {
	var b strings.Builder
	b.WriteString(controlIntro)
	b.WriteString("GET /control/\n    This text; as JSON with Accept: application/json.\n")
	for _, row := range controlRequests() {
		fmt.Fprintf(&b, "\n%s %s\n%s", row.method, row.path, wrapped(row.about, "    ", "    "))
		for _, p := range row.takes {
			b.WriteString(wrapped(p.text(), "      ", "          "))
		}
		if row.example != "" {
			b.WriteString(wrapped(row.example, "    e.g. ", "         "))
		}
		var gives []string
		for _, p := range row.gives {
			gives = append(gives, strings.TrimSpace(p.text()))
		}
		if len(gives) > 0 {
			b.WriteString(wrapped(strings.Join(gives, ", "), "    reply: ", "           "))
		}
	}
	b.WriteString(faultIntro)
	for _, row := range controlFaults() {
		about := row.about
		if row.kinds != "" {
			about += " The kind is one of " + strings.Join(strings.Fields(row.kinds), ", ") + "."
		}
		fmt.Fprintf(&b, "\n  %s\n%s", strings.TrimSpace(row.name+"  "+strings.Join(strings.Fields(row.takes), ", ")), wrapped(about, "      ", "      "))
	}
	b.WriteString(codeIntro)
	return b.String()
}

// text returns what a parameter is, in words.
func (p parameter) text() string {
	text := p.Name + " (" + p.Type
	if p.Required {
		text += ", required"
	}
	if len(p.Members) > 0 {
		text += ": " + strings.Join(p.Members, ", ")
	}
	return text + ") " + p.About
}

const textWidth = 100

// wrapped returns a text in lines, with one indent for the first and another for the others.
func wrapped(text, first, others string) string {
	var b strings.Builder
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len([]rune(line))+1+len([]rune(word)) > textWidth:
			b.WriteString(line + "\n")
			line = others + word
		default:
			line += " " + word
		}
	}
	return b.String() + line + "\n"
}
