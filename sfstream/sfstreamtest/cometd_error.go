package sfstreamtest

import (
	"slices"
	"strings"
)

// cometdError returns the CometD error of a subscription for a code of the Pub/Sub API, see Reject.
// A code that is a CometD error is returned as it is.
func cometdError(code, name string, at start) (text, reason string) {
	if verbatim(code) {
		return code, ""
	}
	head, _, _ := strings.Cut(code, ": ")
	for word := range strings.FieldsSeq(head) {
		word = strings.TrimPrefix(word, codePrefix)
		switch {
		case word == "topic.not.found":
			return "400::The channel you requested to subscribe to does not exist {" + name + "}", ""
		case word == "subscription.fetch.replayid.corrupted", word == "subscription.fetch.replayid.validation.failed":
			return invalidReplay(or(at.text, "-1")), ""
		case word == "subscription.limit.exceeded":
			return dailyLimit, ""
		case strings.HasPrefix(word, "service.auth."):
			return authInvalid, ""
		case strings.Contains(word, "permission"), word == "subscription.topic.cannot.subscribe", word == "service.tenant.license":
			bare, _, _ := strings.Cut(name, "?")
			return noPermission(bare), ""
		case word == "concurrent.client.limit.exceeded":
			return "403::Subscription limit exceeded for this topic", ""
		}
	}
	if code == "" || code == "OK" {
		return unknownClient, ""
	}
	return serverBusy, serverBusy
}

// verbatim reports whether a code is a CometD error: three digits and a colon.
func verbatim(code string) bool {
	return len(code) > 3 && code[3] == ':' && !slices.ContainsFunc([]byte(code[:3]), func(c byte) bool { return c < '0' || c > '9' })
}

// cometdEnd returns how sessions end if EndStreams ends their channel with a code.
func cometdEnd(code string) farewell {
	text, _ := cometdError(code, "", start{})
	switch {
	case strings.HasPrefix(text, "401:"):
		return farewell{error: text, advice: adviceNone}
	case verbatim(code), text == dailyLimit:
		return farewell{error: text, advice: adviceHandshake}
	}
	return farewell{error: unknownClient, advice: adviceHandshake}
}
