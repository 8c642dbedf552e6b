package sfstreamtest

import (
	"errors"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// codePrefix begins every error-code trailer.
const codePrefix = "sfdc.platform.eventbus.grpc."

// failure is an error as Salesforce sends it. An error without a code comes from the infrastructure
// before the event bus, which sets no trailers.
type failure struct {
	status codes.Code
	code   string // without codePrefix
	text   string
}

func (f *failure) Error() string { return f.status.String() + " " + f.code + ": " + f.text }

// knownFailures are the rows of the error table. {org} and {topic} are filled in. If the status is
// not known from the wire, it is a plausible one; so is the code publish.topic.cannot.publish.
var knownFailures = map[string]failure{
	"service.unavailable":                       {status: codes.Internal, text: "The service is unavailable. Try again later."},
	"service.auth.error":                        {status: codes.Unauthenticated, text: "An authentication exception occurred. Provide valid authentication via metadata headers."},
	"service.auth.headers.invalid":              {status: codes.Unauthenticated, text: "The authentication headers are invalid. Provide accesstoken, instanceurl and tenantid."},
	"service.auth.refresh.invalid":              {status: codes.Unauthenticated, text: "The auth_refresh value is invalid."},
	"service.protection.triggered":              {status: codes.ResourceExhausted, text: "The service received too many connections and doesn't have the resources to accept new connections."},
	"service.protection.stream.limit.triggered": {status: codes.ResourceExhausted, text: "The service received too many requests on this stream."},
	"service.tenant.license":                    {status: codes.PermissionDenied, text: "The org {org} isn't licensed for this feature."},
	"concurrent.client.limit.exceeded":          {status: codes.ResourceExhausted, text: "The limit of concurrent clients is exceeded."},
	"topic.not.found":                           {status: codes.NotFound, text: "The topic information for org {org} and topic {topic} not found. Ensure the topic name is correct and that the topic exists."},
	"topic.meta.permission":                     {status: codes.PermissionDenied, text: "An error occurred while getting the metadata for org {org} and topic {topic}. Ensure the credentials and topic name are correct."},
	"topic.api.unavailable":                     {status: codes.Unavailable, text: "The topic metadata is temporarily unavailable."},
	"topic.validation.empty":                    {status: codes.InvalidArgument, text: "The topic name can't be blank."},
	"schema.api.unavailable":                    {status: codes.Unavailable, text: "The schema metadata is temporarily unavailable."},
	"schema.meta.permission":                    {status: codes.PermissionDenied, text: "An error occurred while getting the schema for org {org}."},
	"schema.validation.failed":                  {status: codes.InvalidArgument, text: "Schema validation failed. The schema ID can't be blank."},
	"schema.not.found":                          {status: codes.NotFound, text: "The schema wasn't found for org {org}. Ensure the schema ID is correct."},

	"subscription.fetch.replayid.corrupted":         {status: codes.InvalidArgument, text: "The Replay ID validation failed. Ensure that the Replay ID is valid."},
	"subscription.fetch.replayid.validation.failed": {status: codes.InvalidArgument, text: "The Replay ID validation failed. A Replay ID is required with the CUSTOM replay preset."},
	"subscription.fetch.replay.repeated":            {status: codes.Internal, text: "The replay position was repeated. Subscribe again."},
	"subscription.fetch.overflow":                   {status: codes.ResourceExhausted, text: "More events were requested than can be pending."},
	"subscription.fetch.requested.events.invalid":   {status: codes.InvalidArgument, text: "The number of requested events must be greater than 0."},
	"subscription.fetch.topic.mismatch":             {status: codes.InvalidArgument, text: "The topic can't change within a stream."},
	"subscription.fetch.request.invalid":            {status: codes.InvalidArgument, text: "The fetch request has neither a number of events nor an auth_refresh."},
	"subscription.topic.cannot.subscribe":           {status: codes.PermissionDenied, text: "The user doesn't have permission to subscribe to topic {topic}."},
	"subscription.limit.exceeded":                   {status: codes.ResourceExhausted, text: "You have exceeded the event delivery limit for your org."},
	"subscription.internal.error":                   {status: codes.Internal, text: "An internal error occurred."},

	"publish.topic.validation.empty": {status: codes.InvalidArgument, text: "The topic name can't be blank."},
	"publish.topic.mismatch":         {status: codes.InvalidArgument, text: "The topic can't change within a stream."},
	"publish.topic.cannot.publish":   {status: codes.PermissionDenied, text: "The user doesn't have permission to publish to topic {topic}."},
	"publish.event.count.invalid":    {status: codes.InvalidArgument, text: "A publish request must have at least one event."},
	"publish.auth.refresh.invalid":   {status: codes.InvalidArgument, text: "The first publish request can't have an auth_refresh value."},
	"publish.stream.sweeper.timeout": {status: codes.DeadlineExceeded, text: "The publish stream was idle for too long."},
}

func knownFailure(code string) (failure, bool) {
	known, ok := knownFailures[code]
	if !ok {
		known, ok = managedFailures[code]
	}
	return known, ok
}

// infrastructure has the texts of errors of which the bus itself never heard.
var infrastructure = map[codes.Code]string{
	codes.Unavailable:   "RST_STREAM closed stream",
	codes.Internal:      "Received RST_STREAM with code 0 (Call ended without gRPC status)",
	codes.Unimplemented: "unknown service eventbus.v1.PubSub",
}

// upstreamReset is the failure of a request that is too large.
const upstreamReset = "UNAVAILABLE: upstream connect error or disconnect/reset before headers. reset reason: remote reset"

// newFailure reads "STATUS error.code: text", of which all parts may be missing: then they are as
// in the table. It returns nil for "" and "OK".
func (s *Server) newFailure(spec, topic string) error {
	head, text, _ := strings.Cut(spec, ": ")
	var f failure
	given := codes.OK
	for word := range strings.FieldsSeq(head) {
		if err := given.UnmarshalJSON([]byte(strconv.Quote(word))); err != nil {
			f.code = strings.TrimPrefix(word, codePrefix)
		}
	}
	if f.code == "" && given == codes.OK {
		return nil
	}
	if f.code == "" {
		f.text = infrastructure[given]
	} else if known, ok := knownFailure(f.code); ok {
		f.status, f.text = known.status, known.text
	} else {
		f.status, f.text = codes.Unknown, "An error occurred."
	}
	if given != codes.OK {
		f.status = given
	}
	if text != "" {
		f.text = text
	}
	f.text = strings.NewReplacer("{org}", s.tenant(), "{topic}", topic).Replace(f.text)
	return &f
}

// send turns a handler's error into a status, its details into trailers.
func (s *Server) send(err error, rpcID string, setTrailer func(metadata.MD)) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if f.code == "" {
		return status.Error(f.status, f.text)
	}
	if !s.faults.active(atTrailer, "") {
		setTrailer(metadata.Pairs("error-code", codePrefix+f.code, "rpc-id", rpcID))
	}
	return status.Error(f.status, f.text+" rpcId: "+rpcID)
}

// tenant returns the org's id as the bus writes it.
func (s *Server) tenant() string { return "CORE/prod/" + s.account.OrgID }
