package main

import (
	"errors"
	"flag"
	"strconv"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// orgOption is a flag that is an option of sfstreamtest: -hold is WithHold.
type orgOption struct {
	name, usage string
	alone       bool // it has no value
	option      func(value string) (sfstreamtest.Option, error)
}

// orgOptionGroup has the flags of one group of the help.
type orgOptionGroup struct {
	title string
	list  []orgOption
}

func optionOfDuration(name, usage string, with func(time.Duration) sfstreamtest.Option) orgOption {
	return orgOption{name: name, usage: "`duration` " + usage, option: func(value string) (sfstreamtest.Option, error) {
		d, err := time.ParseDuration(value)
		if err != nil {
			return nil, errors.New("is not like 90s, 5m or 72h")
		}
		return with(d), nil
	}}
}

func optionOfNumber(name, usage string, with func(int) sfstreamtest.Option) orgOption {
	return orgOption{name: name, usage: "`number` " + usage, option: func(value string) (sfstreamtest.Option, error) {
		n, err := strconv.Atoi(value)
		if err != nil {
			return nil, errors.New("is not a number")
		}
		return with(n), nil
	}}
}

func optionAlone(name, usage string, with func() sfstreamtest.Option) orgOption {
	return orgOption{name: name, usage: usage, alone: true, option: func(value string) (sfstreamtest.Option, error) {
		on, err := strconv.ParseBool(value)
		if err != nil || !on {
			return nil, err
		}
		return with(), nil
	}}
}

func optionOfWords(name, usage string, with func(...string) sfstreamtest.Option) orgOption {
	return orgOption{name: name, usage: usage, option: func(value string) (sfstreamtest.Option, error) { return with(list(value)...), nil }}
}

// orgOptions returns the flags that are options of sfstreamtest, as the help groups them.
func orgOptions() []orgOptionGroup {
	return []orgOptionGroup{
		{"Logins", []orgOption{
			{name: "user", usage: "`name=id` of another user, who has the same password; the flag can be there several times", option: userSetting},
			optionOfWords("callback-urls", "further callback `URLs` of the app, with commas between, letter by letter as redirect_uri has them", sfstreamtest.WithCallbackURLs),
			optionAlone("required-secret", "want the consumer secret where a code is exchanged or a token refreshed", sfstreamtest.WithRequiredSecret),
			optionAlone("login-host", "make -url's first host what login.salesforce.com is: without client credentials; the second one is the org's My Domain", sfstreamtest.WithLoginHost),
			optionAlone("my-domain-audience", "accept the My Domain URL only as the audience of a JWT bearer assertion", sfstreamtest.WithMyDomainAudience),
			optionAlone("password-expired", "let the password have expired", sfstreamtest.WithPasswordExpired),
			optionAlone("jwt-access-tokens", "issue access tokens in JWT form, which only REST accepts", sfstreamtest.WithJWTAccessTokens),
			optionOfDuration("session-timeout", "for which an unused access token lives (default 2h)", sfstreamtest.WithSessionTimeout),
			optionAlone("sandbox", "be a sandbox", sfstreamtest.WithSandbox),
		}},
		{"Events", []orgOption{
			optionOfDuration("retention", "for which events can be replayed (default 72h)", sfstreamtest.WithRetention),
			optionOfDuration("topic-retention", "for which those of /topic and /u can (default 24h)", sfstreamtest.WithTopicRetention),
			optionOfNumber("event-bytes", "of bytes in the largest payload (default 1048576)", sfstreamtest.WithEventBytes),
			optionAlone("shared-event-id", "give the events of a group one id", sfstreamtest.WithSharedEventID),
			optionOfNumber("group-cut", "of events of a group after which each response ends; anywhere if it is negative", sfstreamtest.WithGroupCut),
			optionOfDuration("clock-skew", "by which the org's clock is ahead, or behind if it is negative", sfstreamtest.WithClockSkew),
		}},
		{"Pub/Sub API", []orgOption{
			optionOfDuration("keepalive", "after which a quiet stream gets an empty response (default 1m)", sfstreamtest.WithKeepalive),
			optionOfDuration("idle-close", "for which a stream lives that has asked for nothing (default 1m)", sfstreamtest.WithIdleClose),
			optionOfDuration("routing-delay", "for which a stream of new events misses them at first", sfstreamtest.WithRoutingDelay),
			optionOfNumber("max-streams", "of streams and calls that a connection carries at once (default 1000)", sfstreamtest.WithMaxStreams),
			optionOfNumber("credit-cap", "of events that a stream can have asked for (default 100)", sfstreamtest.WithCreditCap),
			optionAlone("overflow-error", "end a stream that asks for more, in place of not counting it", sfstreamtest.WithOverflowError),
			optionOfNumber("batch-events", "of events in the largest response (default 100)", sfstreamtest.WithBatchEvents),
			optionOfNumber("batch-bytes", "of bytes at which a response is split (default 3145728)", sfstreamtest.WithBatchBytes),
			optionOfNumber("request-bytes", "of bytes in the largest request (default 4194304)", sfstreamtest.WithRequestBytes),
			optionOfDuration("publish-idle", "for which a stream lives on which a client publishes nothing (default 1m10s)", sfstreamtest.WithPublishIdle),
			optionOfDuration("publish-keepalive", "after which such a stream gets an empty response (default: never)", sfstreamtest.WithPublishKeepalive),
			optionAlone("current-schema-only", "refuse events that clients publish with an older schema of their channel", sfstreamtest.WithCurrentSchemaOnly),
			optionAlone("missing-fields-fatal", "fail the request, in place of the event, where CreatedDate or CreatedById is missing", sfstreamtest.WithMissingFieldsFatal),
			optionOfDuration("managed-expiry", "for which a managed subscription stays taken after its client is lost without a word (default 15m)", sfstreamtest.WithManagedExpiry),
			optionAlone("managed-precondition", "refuse a second stream of a managed subscription with FAILED_PRECONDITION, in place of ALREADY_EXISTS", sfstreamtest.WithManagedPrecondition),
			optionOfDuration("commit-idle", "for which a stream of a managed subscription lives without a commit (default 30m)", sfstreamtest.WithCommitIdle),
			optionOfDuration("commit-delay", "after which commits are answered, those of this time together (default: each at once)", sfstreamtest.WithCommitDelay),
			optionAlone("commit-per-stream", "refuse commits of events that only an earlier stream has delivered", sfstreamtest.WithCommitPerStream),
			optionAlone("aged-commit-refused", "refuse the first stream whose committed replay ID is not retained any more", sfstreamtest.WithAgedCommitRefused),
			optionOfDuration("min-ping", "that has to be between pings of a connection (default 20s)", sfstreamtest.WithMinPing),
			optionAlone("pings-punished", "allow a ping every 5 minutes only, and keep alive every 4", sfstreamtest.WithPingsPunished),
		}},
		{"Streaming API", []orgOption{
			optionOfDuration("hold", "for which a connect without events is held (default 110s)", sfstreamtest.WithHold),
			optionOfDuration("reconnect-window", "for which a session waits for the next connect (default 40s)", sfstreamtest.WithReconnectWindow),
			optionOfDuration("lb-cookie-life", "for which a cookie leads to the node that has the session (default 3h)", sfstreamtest.WithLBCookieLife),
			optionOfNumber("max-sessions", "of sessions beyond which a handshake is denied (default: no limit)", sfstreamtest.WithMaxSessions),
			optionOfNumber("cometd-request-bytes", "of bytes in the largest request (default 32768)", sfstreamtest.WithCometDRequestBytes),
			optionOfNumber("reply-events", "of events in the largest response (default 100000)", sfstreamtest.WithReplyEvents),
			optionOfNumber("reply-bytes", "of bytes at which a response ends (default 12582912)", sfstreamtest.WithReplyBytes),
			optionOfNumber("duplicate-connect-status", "of the HTTP status that ends a connect when a second one comes (default 408)", sfstreamtest.WithDuplicateConnectStatus),
			optionAlone("cometd-http-status", "send errors about version, size and login with their HTTP status", sfstreamtest.WithCometDHTTPStatus),
			optionAlone("bare-filtered-channel", "send events of a filtered /topic with the name before the filter", sfstreamtest.WithBareFilteredChannel),
			optionAlone("unknown-client-advice", "advise a handshake with each 403::Unknown client", sfstreamtest.WithUnknownClientAdvice),
			optionAlone("resubscribe-error", "refuse a channel that the session has", sfstreamtest.WithResubscribeError),
			optionAlone("create-denied", "answer a handshake with a dead token with create_denied", sfstreamtest.WithCreateDenied),
			{name: "event-api-name", usage: "the first API `version` whose events have EventApiName (default: none)", option: func(value string) (sfstreamtest.Option, error) {
				return sfstreamtest.WithEventAPIName(value), nil
			}},
			optionAlone("retired-versions-refused", "refuse versions 23.0 to 36.0, in place of routing them to the newest", sfstreamtest.WithRetiredVersionsRefused),
		}},
		{"REST", []orgOption{
			optionOfWords("api-versions", "API `versions` that the org lists, with commas between, the newest last (default 37.0 to 68.0)", sfstreamtest.WithAPIVersions),
			{name: "edition", usage: "`name`, on which the limits of PushTopics and generic channels depend: developer (default), professional, enterprise or unlimited", option: func(value string) (sfstreamtest.Option, error) {
				return sfstreamtest.WithEdition(value), nil
			}},
			optionAlone("quiet-delete", "keep the subscriptions of a PushTopic or a generic channel that is deleted, in silence", sfstreamtest.WithQuietDelete),
			optionOfNumber("query-page", "of records in a page of a query (default 2000)", sfstreamtest.WithQueryPage),
		}},
	}
}

// userSetting reads the value of -user.
func userSetting(value string) (sfstreamtest.Option, error) {
	name, id, ok := strings.Cut(value, "=")
	if !ok || name == "" || len(id) != 15 && len(id) != 18 {
		return nil, errors.New("is not like name@example.com=005000000000002AAA")
	}
	return sfstreamtest.WithUser(name, id), nil
}

// goName returns the name of the option in lower case: withhold of -hold.
func (o orgOption) goName() string { return "with" + strings.ReplaceAll(o.name, "-", "") }

// register adds the flag. add is called when it is given.
func (o orgOption) register(flags *flag.FlagSet, add func(sfstreamtest.Option)) {
	set := func(value string) error {
		option, err := o.option(value)
		if option != nil {
			add(option)
		}
		return err
	}
	if o.alone {
		flags.BoolFunc(o.name, o.usage, set)
		return
	}
	flags.Func(o.name, o.usage, set)
}
