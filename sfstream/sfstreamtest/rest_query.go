package sfstreamtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// WithQueryPage sets the most records in one reply to a query; the rest is at its nextRecordsUrl.
// Default 2,000. A client can ask for fewer, at least 200, by Sforce-Query-Options: batchSize=200.
func WithQueryPage(n int) Option { return func(c *config) { c.queryPage = n } }

// cursors has the results of queries of which there are further pages.
type cursors struct {
	mu    sync.Mutex
	count int
	open  []cursor // oldest first
}

type cursor struct {
	id   string
	rows []map[string]any
	page int
}

// maxCursors is how many results a user can have open; a further one closes the oldest.
const maxCursors = 10

func (c *cursors) keep(rows []map[string]any, page int) cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	made := cursor{id: fmt.Sprintf("01g%012d", c.count), rows: rows, page: page}
	c.open = append(c.open, made)
	if len(c.open) > maxCursors {
		c.open = c.open[1:]
	}
	return made
}

// find returns the cursor, and the place in it, of a locator: 01g000000000001-2000.
func (c *cursors) find(locator string) (found cursor, at int, ok bool) {
	id, place, _ := strings.Cut(locator, "-")
	at, err := strconv.Atoi(place)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cur := range c.open {
		if cur.id == id && err == nil && at > 0 && at < len(cur.rows) {
			return cur, at, true
		}
	}
	return cursor{}, 0, false
}

// queryReply is a page of the result of a query.
type queryReply struct {
	TotalSize      int              `json:"totalSize"`
	Done           bool             `json:"done"`
	NextRecordsURL string           `json:"nextRecordsUrl,omitempty"`
	Records        []map[string]any `json:"records"`
}

func (c cursor) reply(version string, at int) queryReply {
	reply := queryReply{TotalSize: len(c.rows), Records: c.rows[at:]}
	if end := at + c.page; end < len(c.rows) {
		reply.Records = c.rows[at:end]
		reply.NextRecordsURL = fmt.Sprintf("/services/data/%s/query/%s-%d", version, c.id, end)
	}
	reply.Done = reply.NextRecordsURL == ""
	return reply
}

// queryRecords answers a SOQL query.
func (s *Server) queryRecords(r *http.Request) (int, any, error) { return s.answerQuery(r, false) }

// queryAllRecords does what queryRecords does, and finds deleted records too.
func (s *Server) queryAllRecords(r *http.Request) (int, any, error) { return s.answerQuery(r, true) }

func (s *Server) answerQuery(r *http.Request, all bool) (int, any, error) {
	text := r.URL.Query().Get("q")
	q, err := parseQuery(text)
	if err != nil {
		return 0, nil, &restError{http.StatusBadRequest, err.Error(), "MALFORMED_QUERY", nil}
	}
	o, ok := s.sobject(q.object)
	if !ok {
		return 0, nil, soqlError(text, q.object, "INVALID_TYPE", fmt.Sprintf("sObject type '%s' is not supported. "+
			"If you are attempting to use a custom object, be sure to append the '__c' after the entity name. "+
			"Please reference your WSDL or the describe call for the appropriate names.", q.object))
	}
	if o.event {
		return 0, nil, &restError{http.StatusBadRequest, "entity type " + o.name + " does not support query", "INVALID_TYPE_FOR_OPERATION", nil}
	}
	if err := o.bind(&q, text); err != nil {
		return 0, nil, err
	}
	found := q.run(o.rows(), all)
	if q.count {
		return http.StatusOK, queryReply{TotalSize: len(found), Done: true, Records: []map[string]any{}}, nil
	}
	rows := make([]map[string]any, 0, len(found))
	for _, row := range found {
		rows = append(rows, o.shown(r, row, q.fields))
	}
	page := s.queryPage(r)
	if len(rows) <= page {
		return http.StatusOK, cursor{rows: rows, page: page}.reply("", 0), nil
	}
	return http.StatusOK, s.cursors.keep(rows, page).reply(r.PathValue("version"), 0), nil
}

// queryPage returns how many records a reply to the request has.
func (s *Server) queryPage(r *http.Request) int {
	const least, most = 200, 2000
	for option := range strings.SplitSeq(r.Header.Get("Sforce-Query-Options"), ",") {
		name, value, _ := strings.Cut(option, "=")
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && strings.EqualFold(strings.TrimSpace(name), "batchSize") {
			return min(s.config.queryPage, max(least, min(n, most)))
		}
	}
	return s.config.queryPage
}

// moreRecords answers with a further page of a query.
func (s *Server) moreRecords(r *http.Request) (int, any, error) {
	c, at, ok := s.cursors.find(r.PathValue("locator"))
	if !ok {
		return 0, nil, &restError{http.StatusBadRequest, "invalid query locator", "INVALID_QUERY_LOCATOR", nil}
	}
	return http.StatusOK, c.reply(r.PathValue("version"), at), nil
}

// shown returns the fields of a row as a reply has them.
func (o *sobject) shown(r *http.Request, row map[string]any, fields []string) map[string]any {
	id, _ := row["Id"].(string)
	shown := map[string]any{"attributes": attributes(r, o.name, id)}
	for _, name := range fields {
		f, _ := o.field(name)
		shown[name] = f.json(row[name])
	}
	return shown
}
