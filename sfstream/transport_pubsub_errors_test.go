package sfstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
)

const replayText = "The Replay ID validation failed. Ensure that the Replay ID is valid."

// pubsubErrors are the rows of Salesforce's error table, with every status that
// they were seen with: what they mean, what is done about it, and what the same
// error means to who gets it from a proxy that strips trailers.
var pubsubErrors = []struct {
	code     string // without prefix
	status   codes.Code
	want     Code
	action   action
	stripped Code
	after    time.Duration
}{
	{"service.unavailable", codes.Internal, Unavailable, actionRetry, Internal, 5 * time.Second},
	{"service.unavailable", codes.Unavailable, Unavailable, actionRetry, Unavailable, 5 * time.Second},
	{"service.auth.error", codes.Unauthenticated, Unauthenticated, actionReauthorize, Unauthenticated, 0},
	{"service.auth.headers.invalid", codes.Unauthenticated, Invalid, actionGiveUp, Unauthenticated, 0},
	{"service.auth.headers.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"service.auth.refresh.invalid", codes.Unauthenticated, Unauthenticated, actionReauthorize, Unauthenticated, 0},
	{"service.protection.triggered", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 0},
	{"service.protection.stream.limit.triggered", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 0},
	{"service.tenant.license", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"concurrent.client.limit.exceeded", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, time.Minute},
	{"topic.not.found", codes.NotFound, NotFound, actionDenied, NotFound, 0},
	{"topic.meta.permission", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"topic.meta.permission", codes.NotFound, PermissionDenied, actionDenied, NotFound, 0},
	{"topic.api.unavailable", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"schema.api.unavailable", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"topic.validation.empty", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"schema.meta.permission", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"schema.validation.failed", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.fetch.replayid.corrupted", codes.InvalidArgument, ReplayInvalid, actionFallback, ReplayInvalid, 0},
	{"subscription.fetch.replayid.validation.failed", codes.InvalidArgument, Invalid, actionGiveUp, ReplayInvalid, 0}, // a bug of ours, which the text alone does not tell
	{"subscription.fetch.replay.repeated", codes.Internal, Internal, actionRetry, Internal, 0},
	{"subscription.fetch.overflow", codes.ResourceExhausted, Internal, actionRetry, LimitExceeded, 0},
	{"subscription.fetch.overflow", codes.InvalidArgument, Internal, actionRetry, Invalid, 0},
	{"subscription.fetch.requested.events.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.fetch.topic.mismatch", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.fetch.request.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.topic.cannot.subscribe", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"subscription.limit.exceeded", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 10 * time.Minute},
	{"subscription.limit.exceeded", codes.Unknown, LimitExceeded, actionRetry, Unavailable, 10 * time.Minute},
	{"subscription.internal.error", codes.Internal, Internal, actionRetry, Internal, 0},

	// Of calls that this client does not make: the status decides.
	{"publish.stream.sweeper.timeout", codes.Canceled, Unavailable, actionRetry, Unavailable, 0},
	{"publish.stream.sweeper.timeout", codes.DeadlineExceeded, Unavailable, actionRetry, Unavailable, 0},
	{"publish.auth.refresh.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"publish.event.count.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"publish.topic.mismatch", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"publish.topic.validation.empty", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"managed.subscription.already.active", codes.FailedPrecondition, Internal, actionRetry, Internal, 0},
	{"managed.subscription.already.active", codes.AlreadyExists, Internal, actionRetry, Internal, 0},
	{"managed.subscription.config.deleted", codes.NotFound, NotFound, actionDenied, NotFound, 0},
	{"managed.subscription.subscription.id.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},

	// Codes of next year: the status decides.
	{"made.up", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"made.up", codes.Internal, Internal, actionRetry, Internal, 0},
	{"made.up", codes.Unauthenticated, Unauthenticated, actionReauthorize, Unauthenticated, 0},
	{"made.up", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"made.up", codes.NotFound, NotFound, actionDenied, NotFound, 0},
	{"made.up", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 0},
	{"made.up", codes.InvalidArgument, Invalid, actionRetryUnknown, Invalid, 0},

	// No trailer at all.
	{"", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"", codes.Internal, Internal, actionRetry, Internal, 0},
	{"", codes.Unimplemented, NotFound, actionDenied, NotFound, 0},
	{"", codes.Unknown, Unavailable, actionRetry, Unavailable, 0},
	{"", codes.InvalidArgument, Invalid, actionRetryUnknown, Invalid, 0},
	{"", codes.Aborted, Internal, actionRetry, Internal, 0},
	{"", codes.DataLoss, Internal, actionRetry, Internal, 0},
	{"", codes.Code(99), Internal, actionRetry, Internal, 0},
}

func TestTranslateAndClassify(t *testing.T) {
	for _, row := range pubsubErrors {
		t.Run(fmt.Sprint(row.code, " ", row.status), func(t *testing.T) {
			text := "Some text."
			if strings.Contains(row.code, "replayid") {
				text = replayText
			}
			var trailer metadata.MD
			if row.code != "" {
				trailer = metadata.Pairs("error-code", reasonPrefix+row.code, "rpc-id", "the-rpc")
			}
			err := status.Error(row.status, text+" rpcId: from-the-text")
			e := translate("/event/X__e", err, trailer)
			if e.Code != row.want || e.RetryAfter != row.after || e.Channel != "/event/X__e" || e.API != apiPubSub {
				t.Errorf("%+v, want %v after %v", e, row.want, row.after)
			}
			if got := classify(e); got != row.action {
				t.Errorf("action %v, want %v", got, row.action)
			}
			if got := classify(fmt.Errorf("wrapped: %w", e)); got != row.action {
				t.Errorf("wrapped, the action is %v, want %v", got, row.action)
			}
			if row.code != "" && (e.Reason != reasonPrefix+row.code || e.RPCID != "the-rpc") || e.Message != text {
				t.Errorf("%+v", e)
			}
			if !errors.Is(e, err) {
				t.Error("it does not unwrap to the status")
			}
			bare := translate("/event/X__e", err, nil)
			if bare.Code != row.stripped || bare.RPCID != "from-the-text" || bare.Message != text {
				t.Errorf("without trailers %+v, want %v", bare, row.stripped)
			}
		})
	}
}

func TestTranslateTakesACodeWithoutItsPrefix(t *testing.T) {
	e := translate("", status.Error(codes.InvalidArgument, "text"), metadata.Pairs("error-code", "subscription.fetch.replayid.corrupted"))
	if e.Code != ReplayInvalid {
		t.Errorf("%+v", e)
	}
}

func TestClassifyOfErrorsThatNoServerSent(t *testing.T) {
	login := func(code string, of int) error {
		return &AuthError{err: &authenticator.Error{Code: code, StatusCode: of}}
	}
	for _, row := range []struct {
		err  error
		want action
	}{
		{io.EOF, actionResume},
		{fmt.Errorf("a torn connection: %w", io.EOF), actionRetry},
		{io.ErrUnexpectedEOF, actionRetry},
		{errors.New("connection reset"), actionRetry},
		{context.DeadlineExceeded, actionRetry},
		{fmt.Errorf("%w: bad endpoint", ErrInvalidOption), actionGiveUp},
		{&AuthError{err: fmt.Errorf("%w: no org id", ErrInvalidOption)}, actionGiveUp},
		{&AuthError{err: errors.New("of the user's own")}, actionRetry},
		{login("invalid_grant", 400), actionGiveUp},
		{login("invalid_client", 401), actionGiveUp},
		{login("inactive_user", 400), actionGiveUp},
		{login("rate_limit_exceeded", 400), actionRetry},
		{login("html_reply", 503), actionRetry},
		{login("no_answer", 0), actionRetry},
		{&ServerError{Code: LimitExceeded}, actionRetry},
	} {
		if got := classify(row.err); got != row.want {
			t.Errorf("%v: %v, want %v", row.err, got, row.want)
		}
	}
}

// FuzzTranslate feeds what a proxy might write. Whatever it is, it must become
// an error that is acted on, and only what says so may be a stale replay id.
func FuzzTranslate(f *testing.F) {
	f.Add(uint32(3), replayText, "", "")
	f.Add(uint32(13), "text rpcId: 1 rpcId: 2", reasonPrefix+"service.unavailable", "x")
	f.Add(uint32(99), "", reasonPrefix, "")
	f.Fuzz(func(t *testing.T, code uint32, text, reason, rpcID string) {
		trailer := metadata.MD{}
		if reason != "" {
			trailer["error-code"] = []string{reason}
		}
		if rpcID != "" {
			trailer["rpc-id"] = []string{rpcID}
		}
		err := status.New(codes.Code(code), text).Err()
		if err == nil {
			return
		}
		e := translate("/event/X__e", err, trailer)
		if e.Code < Internal || e.Code > Invalid || e.RetryAfter < 0 || e.Error() == "" || !strings.Contains(text, e.Message) {
			t.Errorf("%+v", e)
		}
		told := reason == reasonPrefix+"subscription.fetch.replayid.corrupted" || reason == "subscription.fetch.replayid.corrupted" ||
			codes.Code(code) == codes.InvalidArgument && strings.Contains(text, "Replay ID validation failed")
		if e.Code == ReplayInvalid && !told {
			t.Errorf("%+v is taken for a stale replay id", e)
		}
		_ = classify(e).String()
	})
}
