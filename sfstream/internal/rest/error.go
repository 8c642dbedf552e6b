package rest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxBody   = 1 << 20 // of an answer that is no success: what is read of it; that of a tree has 200 errors
	maxText   = 2000    // of a message: Apex may write any length
	maxPage   = 200     // of a page: what is shown of it
	maxFields = 1000    // of an answer: more than an object has
)

// BadToken is all that userinfo and the identity URL say of a token that has ended.
const BadToken = "Bad_OAuth_Token"

// An Error is an answer that is no success.
type Error struct {
	Status  int
	Code    string // Salesforce's errorCode, as in INVALID_FIELD; empty: the answer is not of its REST API
	Message string // Salesforce's, else the status and what there is of a page
	Fields  []string
	// RetryAfter is the header's, zero where there is none.
	RetryAfter time.Duration
	Location   *url.URL // where a redirect leads; nil: it is none
	Empty      bool     // there is no body, as after a HEAD
}

// Error returns the status and the message.
func (e *Error) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("HTTP %d %s: %s", e.Status, http.StatusText(e.Status), e.Message), ": ")
}

// ErrorOf reads the error of a response, and closes it. Nothing in it shows the secret, which some
// servers repeat.
func ErrorOf(resp *http.Response, secret string) *Error {
	body, err := io.ReadAll(io.LimitReader(plain(resp), maxBody))
	_ = resp.Body.Close()
	if err != nil && len(body) == 0 {
		body = []byte(err.Error())
	}
	return ErrorIn(resp, body, secret)
}

// plain reads the body of a response, which net/http has not unpacked if the program itself has
// asked for gzip.
func plain(resp *http.Response) io.Reader {
	if resp.Uncompressed || !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return resp.Body
	}
	packed := bufio.NewReader(resp.Body)
	if unpacked, err := gzip.NewReader(packed); err == nil {
		return unpacked
	}
	return packed // a HEAD has no body
}

// ErrorIn is ErrorOf for a body that was read.
func ErrorIn(resp *http.Response, body []byte, secret string) *Error {
	body = []byte(hide(string(body), secret))
	e := &Error{Status: resp.StatusCode, Empty: len(bytes.TrimSpace(body)) == 0, RetryAfter: retryAfter(resp.Header)}
	if to, err := resp.Location(); err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Location = to
	}
	said := parse(body)
	for _, s := range said {
		if e.Code == "" {
			e.Code = s.ErrorCode
		}
		if s.Message != "" && len(e.Message) <= maxText && !strings.Contains(e.Message, s.Message) {
			e.Message = strings.TrimPrefix(e.Message+"; "+s.Message, "; ")
		}
		for _, field := range s.Fields {
			if len(e.Fields) < maxFields && !slices.Contains(e.Fields, field) {
				e.Fields = append(e.Fields, field)
			}
		}
	}
	e.Message = cut(e.Message, maxText)
	if e.Code == "" && e.Message == "" {
		e.Message = strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status)))
		switch {
		case e.Location != nil:
			e.Message += " to " + hide(Show(e.Location), secret)
		case !e.Empty:
			e.Message += ": " + page(body)
		}
	}
	return e
}

// An Answer is a variable for the JSON of a response. IsAnswer says whether that was what was asked
// for: a proxy, too, may answer 200 and a JSON object.
type Answer interface{ IsAnswer() bool }

// ReadJSON reads the JSON of a response that is a success into a variable, and closes it. The error
// is a *Failure of the connection, or an *Error that shows what came in place of the answer.
func ReadJSON(resp *http.Response, into Answer, secret string) error {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return newFailure(err, true, secret)
	}
	if err := json.Unmarshal(body, into); err != nil || !into.IsAnswer() {
		return ErrorIn(resp, body, secret)
	}
	return nil
}

// retryAfter reads the header Retry-After: seconds, or a date by the clock of the same answer.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(seconds, 0), 1<<20)) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), 1<<20*time.Second) // there is room to lengthen it
}

// said is one error in an answer. The REST API has a list of them, and so has each result of an
// sObject tree; others are those of OAuth and of the Bulk API.
type said struct {
	ErrorCode string
	Message   string
	Fields    []string
}

// parse finds the errors in an answer, in JSON or in XML.
func parse(body []byte) []said {
	var list []json.RawMessage
	switch trimmed := bytes.TrimSpace(body); {
	case len(trimmed) == 0:
		return nil
	case string(trimmed) == BadToken:
		return []said{{ErrorCode: BadToken, Message: BadToken}}
	case trimmed[0] == '<':
		var doc struct {
			Code    string `xml:"exceptionCode"` // the Bulk API's
			Message string `xml:"exceptionMessage"`
			Errors  []struct {
				Code    string   `xml:"errorCode"`
				Message string   `xml:"message"`
				Fields  []string `xml:"fields"`
			} `xml:"Error"`
		}
		if xml.Unmarshal(trimmed, &doc) != nil {
			return nil
		}
		var all []said
		if doc.Code != "" {
			all = append(all, said{ErrorCode: doc.Code, Message: doc.Message})
		}
		for _, s := range doc.Errors {
			all = append(all, said{s.Code, s.Message, s.Fields})
		}
		return all
	case trimmed[0] == '{':
		list = []json.RawMessage{trimmed}
	case json.Unmarshal(trimmed, &list) != nil:
		return nil
	}
	var all []said
	for _, element := range list {
		all = append(all, parseObject(element, deepest)...)
	}
	return all
}

// deepest is how deep errors lie in an answer: a tree has results, and these have errors.
const deepest = 3

func parseObject(text []byte, depth int) (all []said) {
	if depth == 0 {
		return nil
	}
	// A member of another type than here is somebody else's, and is passed over.
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	get := func(names ...string) (value string) {
		for _, name := range names {
			if json.Unmarshal(members[name], &value) == nil && value != "" {
				return value
			}
		}
		return ""
	}
	s := said{ErrorCode: get("errorCode", "statusCode", "error", "exceptionCode"), Message: get("message", "error_description", "exceptionMessage")}
	_ = json.Unmarshal(members["fields"], &s.Fields)
	if s.ErrorCode != "" || s.Message != "" {
		return []said{s}
	}
	for _, name := range []string{"errors", "results"} {
		var list []json.RawMessage
		_ = json.Unmarshal(members[name], &list)
		for _, element := range list {
			all = append(all, parseObject(element, depth-1)...)
		}
	}
	return all
}

var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// page is what is shown of an answer that is not of the REST API: the title of an HTML page, else
// how the text begins.
func page(body []byte) string {
	if found := title.FindSubmatch(body); found != nil {
		return fmt.Sprintf("a page %q", cut(strings.Join(strings.Fields(html.UnescapeString(string(found[1]))), " "), maxPage))
	}
	return fmt.Sprintf("%q", cut(strings.TrimSpace(string(body)), maxPage))
}

// cut shortens a text, and makes it valid UTF-8.
func cut(text string, n int) string {
	if len(text) > n {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

// leastTail is how long the secret part of a token must be to be looked for by itself.
const leastTail = 8

// hide takes a token out of a text. Escaping, of whatever kind, changes only the "!" between the
// org id and the secret part, so that part is looked for by itself, too.
func hide(text, secret string) string {
	if secret == "" {
		return text
	}
	text = strings.ReplaceAll(text, secret, "…")
	if _, tail, ok := strings.Cut(secret, "!"); ok && len(tail) >= leastTail {
		text = strings.ReplaceAll(text, tail, "…")
	}
	return text
}
