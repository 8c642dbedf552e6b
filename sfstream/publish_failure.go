package sfstream

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/rest"
)

// This file judges failures of publishing, of requests and of single events: what is known of the
// events, and whether they are sent again. Nothing here waits or sends.

// A setback is what a failure of publishing means.
type setback struct {
	outbox.Setback
	cure cure
	all  bool // with GiveUp: no other request of the channel fares better
}

// A cure is what is to be done before a request is sent again.
type cure int

const (
	cureNone   cure = iota
	cureLogin       // Salesforce does not take the token
	cureEncode      // the events are to be encoded by the channel's present schema
)

// judgePublish says what the failure of a request means for its events. sent says that the request
// may have left; it is not for the questions that come before.
func judgePublish(err error, sent bool) setback {
	server, ok := errors.AsType[*ServerError](err)
	switch {
	case !ok && sent:
		return setback{Setback: outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.Again}}
	case !ok && classify(err) == actionRetry && !permanentSchemaError(err):
		return setback{Setback: outbox.Setback{Outcome: outbox.NotSent, Next: outbox.Again}}
	case !ok:
		return setback{all: true}
	}
	s := judgeRefusal(server)
	switch {
	case server.API == apiREST:
		s = judgeRESTPublish(server)
	case !sent:
	case s.Next == outbox.Again && s.cure == cureNone:
		s = judgeLost(server)
	}
	if !sent {
		s.Outcome = outbox.NotSent
	}
	return s
}

// judgeRefusal judges an answer by its code alone.
func judgeRefusal(e *ServerError) setback {
	s := setback{Setback: outbox.Setback{Outcome: outbox.Refused}}
	switch e.Code {
	case Unauthenticated:
		s.Next, s.cure = outbox.Again, cureLogin
	case PermissionDenied, NotFound:
		s.all = true
	case Invalid, ReplayInvalid:
		if strings.Contains(e.Reason, ".schema.") {
			s.Next, s.cure = outbox.Again, cureEncode
		}
	default:
		s.Next = outbox.Again
	}
	return s
}

// judgeLost judges a failure that may pass of a request that may have left: what Salesforce says
// before it looks at the events leaves none in doubt. A failure that is not Salesforce's own may be
// for the request's size, because what is too large is not refused but reset:
// internal/eventbus/PROTOCOL.md, "Publishing".
func judgeLost(e *ServerError) setback {
	s := setback{Setback: outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.Again}}
	reason := strings.TrimPrefix(e.Reason, reasonPrefix)
	switch {
	case e.Code == LimitExceeded, reason == "topic.api.unavailable", reason == "schema.api.unavailable":
		s.Outcome = outbox.Refused
	case status.Code(e.err) == codes.ResourceExhausted: // by gRPC itself, for its size: here before it leaves, or there
		s.Next = outbox.Smaller
		if strings.Contains(e.Message, "trying to send") {
			s.Outcome = outbox.Refused
		}
	case e.Reason == "":
		s.Next = outbox.Smaller
	}
	return s
}

// judgeRESTPublish judges the failure of a request over REST, which Do has repeated already where
// it was not carried out. Where the connection broke, and of what proxies answer when they have
// lost an answer, nobody knows whether it was.
func judgeRESTPublish(e *ServerError) setback {
	s := setback{Setback: outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.Again}}
	answer, answered := errors.AsType[*rest.Error](e.err)
	failure, failed := errors.AsType[*rest.Failure](e.err)
	switch {
	case !failed && !answered: // it is the client's own
		return judgeRefusal(e)
	case failed && failure.Unsent:
		s.Outcome = outbox.NotSent
	case failed, answer.Status/100 == 2, answer.Status == http.StatusRequestTimeout:
	case e.Code == LimitExceeded, answer.Code == lockedRow:
		s.Outcome = outbox.Refused
	case answer.Status < 500:
		s.Outcome, s.Next, s.all = outbox.Refused, outbox.GiveUp, true
	}
	return s
}

// publishWords find out what Salesforce says of a single event that was not published: by its code,
// which REST has, or by its text. The texts of the Pub/Sub API are not documented:
// internal/eventbus/PROTOCOL.md, "Publishing".
var publishWords = []struct {
	words *regexp.Regexp
	code  Code
	next  outbox.Next
	cure  cure
}{
	{words: regexp.MustCompile(`\b(max\w* size|size limit|too (large|long|big))\b|\bsize\b.*exceed|exceed.*\bsize\b|encryption`), code: Invalid},
	{words: regexp.MustCompile(`limit exceeded|exceed.*limit|limit.*exceed`), code: LimitExceeded, next: outbox.Again},
	{words: regexp.MustCompile(`unavailable|try again|temporar|throttl|unable to lock row`), code: Unavailable, next: outbox.Again},
	{words: regexp.MustCompile(`schema|avro|deserializ|\bdecod`), code: Invalid, next: outbox.Again, cure: cureEncode},
	{words: regexp.MustCompile(`permission|insufficient|access|privilege`), code: PermissionDenied},
	{words: regexp.MustCompile(`required|invalid|missing|malformed`), code: Invalid},
}

// judgeEvent says what the refusal of a single event means. Words that nobody knows are believed
// when they come again.
func judgeEvent(reason, text string) (Code, setback) {
	said := strings.ToLower(strings.ReplaceAll(cmp.Or(reason, text), "_", " "))
	for _, row := range publishWords {
		if row.words.MatchString(said) {
			return row.code, setback{Setback: outbox.Setback{Outcome: outbox.Refused, Next: row.next}, cure: row.cure}
		}
	}
	return Internal, setback{Setback: outbox.Setback{Outcome: outbox.Refused, Next: outbox.AFewMore}}
}
