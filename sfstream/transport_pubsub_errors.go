package sfstream

import (
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// maxClip bounds, in bytes, each part of a server's error text that a ServerError keeps.
const maxClip = 1000

func clip(text string) string { return text[:min(len(text), maxClip)] }

// reasonPrefix starts every error-code trailer of the Pub/Sub API.
const reasonPrefix = "sfdc.platform.eventbus.grpc."

// reasons says what Salesforce's own error codes mean. The gRPC statuses beside them are partly
// undocumented and partly misleading: an event bus that is down answers INTERNAL, and
// INVALID_ARGUMENT stands for a stale replay id as well as for a bug of the client. See
// internal/eventbus/PROTOCOL.md, "Errors".
var reasons = map[string]struct {
	code  Code
	after time.Duration
}{
	"service.unavailable":                           {Unavailable, 5 * time.Second},
	"service.auth.error":                            {code: Unauthenticated},
	"service.auth.headers.invalid":                  {code: Invalid}, // instance URL or org id malformed: no token cures it
	"service.auth.refresh.invalid":                  {code: Unauthenticated},
	"service.protection.triggered":                  {code: LimitExceeded},
	"service.protection.stream.limit.triggered":     {code: LimitExceeded},
	"service.tenant.license":                        {code: PermissionDenied},
	"concurrent.client.limit.exceeded":              {LimitExceeded, time.Minute},
	"topic.not.found":                               {code: NotFound},
	"topic.meta.permission":                         {code: PermissionDenied},
	"topic.api.unavailable":                         {code: Unavailable},
	"topic.validation.empty":                        {code: Invalid},
	"schema.api.unavailable":                        {code: Unavailable},
	"schema.meta.permission":                        {code: PermissionDenied},
	"schema.validation.failed":                      {code: Invalid},
	"subscription.fetch.replayid.corrupted":         {code: ReplayInvalid},
	"subscription.fetch.replayid.validation.failed": {code: Invalid},
	"subscription.fetch.replay.repeated":            {code: Internal}, // open again from the last id
	"subscription.fetch.overflow":                   {code: Internal}, // a new stream starts with a clean count
	"subscription.fetch.requested.events.invalid":   {code: Invalid},
	"subscription.fetch.topic.mismatch":             {code: Invalid},
	"subscription.fetch.request.invalid":            {code: Invalid},
	"subscription.topic.cannot.subscribe":           {code: PermissionDenied},
	"subscription.limit.exceeded":                   {LimitExceeded, 10 * time.Minute}, // a rolling 24 h allocation
	"subscription.internal.error":                   {code: Internal},
	"publish.auth.refresh.invalid":                  {code: Invalid},
	"publish.event.count.invalid":                   {code: Invalid},
	"publish.topic.mismatch":                        {code: Invalid},
	"publish.topic.validation.empty":                {code: Invalid},

	"managed.subscription.already.active":                          {code: Unavailable}, // passes, if the other client does
	"managed.subscription.config.stopped":                          {code: Invalid},
	"managed.subscription.config.deleted":                          {code: NotFound},
	"managed.subscription.developer.name.not.found":                {code: NotFound},
	"managed.subscription.subscription.id.not.found":               {code: NotFound},
	"managed.subscription.subscription.id.invalid":                 {code: Invalid},
	"managed.subscription.id.or.developer.name.empty":              {code: Invalid},
	"managed.subscription.fetch.request.events.invalid":            {code: Invalid},
	"managed.subscription.fetch.request.invalid":                   {code: Invalid},
	"managed.subscription.fetch.request.commit.request.restricted": {code: Invalid},
	"managed.subscription.fetch.request.auth.request.restricted":   {code: Invalid},
}

// translate makes a *ServerError of a failed RPC. The error code in the trailer decides, else the
// gRPC status. The text decides only where a proxy has stripped the trailer: whether a replay id is
// stale, and whether a proxy has answered in Salesforce's place.
func translate(channel string, err error, trailer metadata.MD) *ServerError {
	st := status.Convert(err)
	e := &ServerError{API: apiPubSub, Channel: channel, err: err}
	e.Message, e.RPCID, _ = strings.Cut(st.Message(), " rpcId: ")
	e.Message, e.RPCID = clip(e.Message), clip(e.RPCID)
	if ids := trailer.Get("rpc-id"); len(ids) > 0 {
		e.RPCID = ids[0]
	}
	if found := trailer.Get("error-code"); len(found) > 0 {
		e.Reason = found[0]
		if known, ok := reasons[strings.TrimPrefix(e.Reason, reasonPrefix)]; ok {
			e.Code, e.RetryAfter = known.code, known.after
			return e
		}
	}
	if page, ok := pageOf(st); ok {
		e.Code, e.Message = Unavailable, page
		return e
	}
	if e.oversize = st.Code() == codes.ResourceExhausted && strings.Contains(st.Message(), "larger than max"); e.oversize {
		e.Code = Internal // grpc-go itself says so of a large response: the org has reached no limit
		return e
	}
	if e.Code = codeOf(st); e.Code == Invalid {
		e.unknown = unknownRefusal // no error code that we know says that the request is wrong
	}
	return e
}

// pageOf describes an HTTP answer that is not gRPC, such as the error page of a proxy or gateway.
// grpc-go turns its HTTP status into PermissionDenied, Unauthenticated or Unimplemented, and only
// the text shows that Salesforce has refused neither the channel nor the token:
// internal/eventbus/PROTOCOL.md, "Connections".
func pageOf(st *status.Status) (message string, ok bool) {
	text := st.Message()
	_, rest, found := strings.Cut(text, "unexpected HTTP status code received from server: ")
	if !found {
		return "", false
	}
	answer, detail, _ := strings.Cut(rest, "; ")
	message = "HTTP " + clip(answer) + " in place of an answer, probably of a proxy, firewall or gateway on the way"
	if detail != "" {
		message += " (" + oneline.Text(clip(detail)) + ")"
	}
	return message, true
}

func codeOf(st *status.Status) Code {
	switch st.Code() {
	case codes.Unauthenticated:
		return Unauthenticated
	case codes.PermissionDenied:
		return PermissionDenied
	case codes.NotFound, codes.Unimplemented: // Unimplemented: the address is not that of the Pub/Sub API
		return NotFound
	case codes.InvalidArgument:
		if strings.Contains(st.Message(), "Replay ID validation failed") {
			return ReplayInvalid
		}
		return Invalid
	case codes.ResourceExhausted:
		return LimitExceeded
	case codes.Unavailable, codes.AlreadyExists, codes.Canceled, codes.DeadlineExceeded, codes.Unknown: // Unknown: a proxy's page
		return Unavailable
	default:
		return Internal
	}
}
