package sfstreamtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// The control API is two tables: controlRequests has what can be asked of it, controlFaults what
// can go wrong. The dispatch, the checks and the documentation are all made from them.

// controlRequest is a row of the table of requests.
type controlRequest struct {
	method, path string
	about        string // sentences
	example      string // a body or a query
	takes, gives []parameter
	do           func(*Server, context.Context, members) (any, error)
}

// request makes a row. Its parameters are the fields of Req, see parametersOf.
func request[Req, Reply any](method, path, about, example string, do func(*Server, context.Context, Req) (Reply, error)) controlRequest {
	takes := parametersOf[Req]()
	return controlRequest{method, "/control/" + path, about, example, takes, parametersOf[Reply](), func(s *Server, ctx context.Context, m members) (any, error) {
		var req Req
		if err := m.check("/control/"+path, takes); err != nil {
			return nil, err
		}
		if err := m.into(&req); err != nil {
			return nil, err
		}
		return do(s, ctx, req)
	}}
}

const maxControlBody = 16 << 20 // bytes of a request

// mountControl adds the control requests.
func (s *Server) mountControl(mux *http.ServeMux) {
	rows := controlRequests()
	for _, row := range rows {
		mux.HandleFunc(row.method+" "+row.path, func(w http.ResponseWriter, r *http.Request) {
			reply, err := s.obey(row, w, r)
			switch {
			case err != nil && r.Context().Err() != nil: // the client has gone, or the org ends
			case err != nil:
				refuse(w, err)
			default:
				writeJSON(w, http.StatusOK, reply)
			}
		})
	}
	mux.HandleFunc("GET /{$}", controlDocs)
	mux.HandleFunc("GET /control/{$}", controlDocs)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		m := &mistake{status: http.StatusNotFound, Text: "there is no " + r.URL.Path}
		for _, row := range rows {
			m.Known = append(m.Known, row.method+" "+row.path)
			if row.path == r.URL.Path {
				m.status, m.Text = http.StatusMethodNotAllowed, r.URL.Path+" takes "+row.method
				w.Header().Set("Allow", row.method)
			}
		}
		refuse(w, m)
	})
}

// obey carries a request out.
func (s *Server) obey(row controlRequest, w http.ResponseWriter, r *http.Request) (any, error) {
	var m members
	var err error
	if row.method == http.MethodGet {
		m, err = queryMembers(r.URL.RawQuery, row.takes)
	} else {
		// The body is read to its end: only then does the context end with the connection.
		var body []byte
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody)); err == nil {
			m, err = bodyMembers(body, row.takes)
		}
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			err = &mistake{status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("a request has at most %d bytes", maxControlBody)}
		}
	}
	if err != nil {
		return nil, err
	}
	return row.do(s, r.Context(), m)
}

// mistake is the answer to a request that is wrong.
type mistake struct {
	status int    // 0: 400
	Text   string `json:"error"`
	// Known has what there is in place of what is wrong, if that is a list.
	Known []string `json:"known,omitempty"`
}

func (m *mistake) Error() string { return m.Text }

// unknown returns the mistake of naming something that there is not.
func unknown(text string, known []string) *mistake {
	return &mistake{Text: text, Known: slices.Compact(slices.Sorted(slices.Values(known)))}
}

// refuse answers a request with its error.
func refuse(w http.ResponseWriter, err error) {
	m := new(mistake)
	if !errors.As(err, &m) {
		m = &mistake{Text: inOwnWords(err)}
	}
	writeJSON(w, or(m.status, http.StatusBadRequest), m)
}

// oneOf fails unless the value of a parameter is among words.
func oneOf(name, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	text, _ := json.Marshal(value) // a string is never refused
	return unknown(fmt.Sprintf("%s is %s", name, text), words)
}
