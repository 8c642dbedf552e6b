package sfstreamtest

import (
	"fmt"
	"strings"
)

const messageKinds = "handshake connect subscribe unsubscribe disconnect"

// controlFaults returns the table of faults.
func controlFaults() []controlFault {
	return []controlFault{
		// Logins and tokens.
		{"FailLogin", "n kind!", "", `Fails logins: "error/description" as the token endpoint says it, such as "invalid_grant/user is locked", a code of a SOAP fault, or html, 503, empty, timeout, redirect.`,
			func(s *Server, f faultRequest) error { s.FailLogin(f.n(), f.Kind); return nil }},
		{"FailAuthorize", "n kind!", "", `Refuses authorizations at the browser: "error/description", such as "access_denied/end-user denied authorization".`,
			func(s *Server, f faultRequest) error { s.FailAuthorize(f.n(), f.Kind); return nil }},
		{"LockUser", "on", "", "Fails all logins: the user is locked.",
			func(s *Server, f faultRequest) error { s.lockUser(f.on()); return nil }},
		{"ExpireToken", "", "", "Makes all access tokens invalid. Open streams live on.",
			func(s *Server, _ faultRequest) error { s.ExpireToken(); return nil }},

		// The network and the org's place in it.
		{"Refuse", "on", "", "Refuses new connections.",
			func(s *Server, f faultRequest) error { s.Refuse(f.on()); return nil }},
		{"DropConnections", "", "", "Cuts all connections.",
			func(s *Server, _ faultRequest) error { s.DropConnections(); return nil }},
		{"Blackhole", "", "", "Makes the connections that are open go dead, without a word to either side.",
			func(s *Server, _ faultRequest) error { s.Blackhole(); return nil }},
		{"GoAway", "", "", "Sends GOAWAY on the connections of the Pub/Sub API.",
			func(s *Server, _ faultRequest) error { s.GoAway(); return nil }},
		{"ProxyPage", "n status! body", "", "Puts a proxy before the Pub/Sub API, which answers calls with a page.",
			func(s *Server, f faultRequest) error { s.ProxyPage(f.n(), f.Status, f.Body); return nil }},
		{"MoveInstance", "", "", "Moves the org to its next URL; tokens become invalid.",
			func(s *Server, _ faultRequest) error {
				if !s.canMove() {
					return errOneURL
				}
				s.MoveInstance()
				return nil
			}},
		{"LeaveInstance", "kind!", "301 302 307 404 gone", "Moves the org, and the old URL redirects, has a page, or is gone.",
			func(s *Server, f faultRequest) error { return s.LeaveInstance(f.Kind) }},
		{"RedirectToLogin", "n", "", "Redirects requests of REST and the Streaming API to the login page.",
			func(s *Server, f faultRequest) error { s.RedirectToLogin(f.n()); return nil }},

		// Channels, of both APIs.
		{"Reject", "channel n code!", "", "Fails subscribes.",
			func(s *Server, f faultRequest) error { s.Reject(f.Channel, f.n(), f.Code); return nil }},
		{"EndStreams", "channel code", "", "Ends the open streams and sessions; without a code, or with OK, without an error.",
			func(s *Server, f faultRequest) error { s.EndStreams(f.Channel, f.Code); return nil }},
		{"Revoke", "channel", "", "Takes away the permission to subscribe, and ends the streams.",
			func(s *Server, f faultRequest) error { s.Revoke(f.Channel); return nil }},
		{"RevokePublish", "channel", "", "Takes away the permission to publish.",
			func(s *Server, f faultRequest) error { s.RevokePublish(f.Channel); return nil }},
		{"Grant", "channel", "", "Gives both permissions back.",
			func(s *Server, f faultRequest) error { s.Grant(f.Channel); return nil }},
		{"Remove", "channel!", "", "Deletes the channel.",
			func(s *Server, f faultRequest) error { return s.Remove(f.Channel) }},
		{"TruncateReplay", "channel", "", "Makes all that is retained age out now.",
			func(s *Server, f faultRequest) error { return s.TruncateReplay(f.Channel) }},
		{"RestartReplay", "channel! replay!", "", "Forgets what is retained, and the next event has this replay id.",
			func(s *Server, f faultRequest) error { return s.RestartReplay(f.Channel, f.Replay) }},
		{"ResetReplay", "channel! replay! accepted", "", "Begins the replay ids anew, as sandboxes do after an update.",
			func(s *Server, f faultRequest) error { return s.ResetReplay(f.Channel, f.Replay, f.Accepted) }},
		{"PassPositions", "channel! n", "", "Skips n replay ids, at most 10000, which no event gets.",
			func(s *Server, f faultRequest) error {
				if f.n() < 1 || f.n() > maxCount {
					return fmt.Errorf("n is %d: it is 1 to %d", f.n(), maxCount)
				}
				return s.PassPositions(f.Channel, f.n())
			}},
		{"SeekBacklog", "channel n seconds!", "", "Lets subscribers that begin before the end of a channel wait until the org has sought through it.",
			func(s *Server, f faultRequest) error { s.SeekBacklog(f.Channel, f.n(), f.duration()); return nil }},
		{"CutGroups", "n", "", "Ends each response after n events of a group with one replay id; negative: at random; 0: no more. ClearFaults leaves it.",
			func(s *Server, f faultRequest) error { s.CutGroups(f.n()); return nil }},
		{"BreakGroups", "group! on", "", "Ends streams inside of groups.",
			func(s *Server, f faultRequest) error {
				if f.Group == nil || !f.on() {
					s.groups.clear()
					return nil
				}
				s.BreakGroups(*f.Group)
				return nil
			}},
		{"RepeatReplayID", "channel n", "", "Gives events the replay id of the one before.",
			func(s *Server, f faultRequest) error { s.RepeatReplayID(f.Channel, f.n()); return nil }},
		{"ClearFaults", "", "", "Takes back all faults that are still to happen or that last. What was revoked, removed or truncated does not come back.",
			func(s *Server, _ faultRequest) error { s.ClearFaults(); return nil }},

		// The Pub/Sub API.
		{"FailGetTopic", "n code!", "", "Fails GetTopic.",
			func(s *Server, f faultRequest) error { s.FailGetTopic(f.n(), f.Code); return nil }},
		{"FailGetSchema", "n code!", "", "Fails GetSchema.",
			func(s *Server, f faultRequest) error { s.FailGetSchema(f.n(), f.Code); return nil }},
		{"FailPublish", "channel n code!", "", "Fails requests that publish, before anything of them is published.",
			func(s *Server, f faultRequest) error { s.FailPublish(f.Channel, f.n(), f.Code); return nil }},
		{"LosePublish", "channel n", "", "Carries out requests that publish, and cuts the connection in place of the answer.",
			func(s *Server, f faultRequest) error { s.LosePublish(f.Channel, f.n()); return nil }},
		{"DelayPublish", "channel n seconds!", "", "Carries out requests that publish, and answers later.",
			func(s *Server, f faultRequest) error { s.DelayPublish(f.Channel, f.n(), f.duration()); return nil }},
		{"FailEvents", "channel n! text", "", "Refuses every n-th event that clients publish, each with an error of its own.",
			(*Server).controlFailEvents},
		{"EndPublishStreams", "channel code", "", "Ends the open streams on which clients publish; without a code, or with OK, without an error.",
			func(s *Server, f faultRequest) error { s.EndPublishStreams(f.Channel, f.Code); return nil }},
		{"Duplicate", "channel n", "", "Makes the next subscribe after a replay id send the n events up to it again.",
			func(s *Server, f faultRequest) error { s.Duplicate(f.Channel, f.n()); return nil }},
		{"SilenceKeepalive", "on", "", "Stops the keepalives of quiet streams.",
			func(s *Server, f faultRequest) error { s.SilenceKeepalive(f.on()); return nil }},
		{"LagKeepalive", "channel n", "", "Lets keepalives name a position before events that were sent.",
			func(s *Server, f faultRequest) error { s.LagKeepalive(f.Channel, f.n()); return nil }},
		{"HoldKeepaliveID", "on", "", "Lets keepalives name the newest event, and no later position.",
			func(s *Server, f faultRequest) error { s.HoldKeepaliveID(f.on()); return nil }},
		{"FailCommits", "channel n body", "", "Fails commits of managed subscriptions, in band, with the text in body. Their streams go on.",
			func(s *Server, f faultRequest) error { s.FailCommits(f.Channel, f.n(), f.Body); return nil }},
		{"StripTrailers", "on", "", "Leaves error-code and rpc-id out of failures, as some proxies do.",
			func(s *Server, f faultRequest) error { s.StripTrailers(f.on()); return nil }},

		// The Streaming API.
		{"FailCometD", "cometd! on", "", "Makes messages go wrong, in any way.",
			func(s *Server, f faultRequest) error {
				if f.CometD == nil || !f.on() {
					s.bayeux.faults.remove("FailCometD")
					return nil
				}
				if f.CometD.Kind != "" {
					if err := oneOf("cometd.kind", f.CometD.Kind, strings.Fields(messageKinds)...); err != nil {
						return err
					}
				}
				s.FailCometD(*f.CometD)
				return nil
			}},
		{"UnknownClient", "n", "", "Forgets the session at a connect: 403::Unknown client.",
			func(s *Server, f faultRequest) error { s.UnknownClient(f.n()); return nil }},
		{"LegacyUnknownClient", "n", "", "The same in the words of older servers: code 402.",
			func(s *Server, f faultRequest) error { s.LegacyUnknownClient(f.n()); return nil }},
		{"LoseResponse", "n", "", "Cuts the connection in place of connect replies with events.",
			func(s *Server, f faultRequest) error { s.LoseResponse(f.n()); return nil }},
		{"TruncateResponse", "n", "", "Sends the first half of connect replies with events.",
			func(s *Server, f faultRequest) error { s.TruncateResponse(f.n()); return nil }},
		{"EmptyReply", "n", "", "Sends an empty body in place of connect replies with events.",
			func(s *Server, f faultRequest) error { s.EmptyReply(f.n()); return nil }},
		{"OmitConnectReply", "n", "", "Sends events without the reply to the connect.",
			func(s *Server, f faultRequest) error { s.OmitConnectReply(f.n()); return nil }},
		{"ConnectReplyFirst", "on", "", "Puts replies before events.",
			func(s *Server, f faultRequest) error { s.ConnectReplyFirst(f.on()); return nil }},
		{"HTMLError", "n status!", "", "Answers connects with a proxy's page.",
			func(s *Server, f faultRequest) error { s.HTMLError(f.n(), f.Status); return nil }},
		{"Busy503As401", "n", "", "Answers connects with 401 although the server is busy.",
			func(s *Server, f faultRequest) error { s.Busy503As401(f.n()); return nil }},
		{"ConcurrentLimit", "n", "", "Denies handshakes: too many clients.",
			func(s *Server, f faultRequest) error { s.ConcurrentLimit(f.n()); return nil }},
		{"HandshakeAdviceLoop", "n", "", "Answers the first connect after a handshake with the advice to shake hands.",
			func(s *Server, f faultRequest) error { s.HandshakeAdviceLoop(f.n()); return nil }},
		{"DailyLimit", "seconds!", "", "Uses up the org's events for a while: nothing is delivered, and subscribes fail.",
			func(s *Server, f faultRequest) error { s.DailyLimit(f.duration()); return nil }},
		{"DisconnectSessions", "channel alone", "", "Ends sessions by a /meta/disconnect of the server.",
			func(s *Server, f faultRequest) error { s.DisconnectSessions(f.Channel, f.Alone); return nil }},
		{"DisconnectWithEvents", "n alone", "", "Puts the /meta/disconnect into connect replies with events.",
			func(s *Server, f faultRequest) error { s.DisconnectWithEvents(f.n(), f.Alone); return nil }},
		{"PassingError", "kind n code", messageKinds, `Fails messages (default: connects) with an error that passes, such as "500::Internal error", and advice none.`,
			func(s *Server, f faultRequest) error { s.PassingError(f.Kind, f.n(), f.Code); return nil }},
		{"CreateDenied", "n", "", "Answers handshakes with create_denied.",
			func(s *Server, f faultRequest) error { s.CreateDenied(f.n()); return nil }},
		{"RESTError", "n code!", "", "Answers requests of the Streaming API with an error of the REST API, such as API_DISABLED_FOR_ORG.",
			func(s *Server, f faultRequest) error { s.RESTError(f.n(), f.Code); return nil }},
		{"SilenceDisconnect", "on", "", "Leaves disconnects of clients without a reply.",
			func(s *Server, f faultRequest) error { s.SilenceDisconnect(f.on()); return nil }},
		{"RotateLBCookie", "", "", "Gives each session another cookie of the load balancer.",
			func(s *Server, _ faultRequest) error { s.RotateLBCookie(); return nil }},

		// The REST API.
		{"FailREST", "n code!", "", `Fails requests with an error: "CODE" or "CODE: message", such as UNABLE_TO_LOCK_ROW.`,
			func(s *Server, f faultRequest) error { s.FailREST(f.n(), f.Code); return nil }},
		{"FailRESTRequest", "rest! on", "", "Makes requests go wrong, in any way.",
			func(s *Server, f faultRequest) error {
				if f.REST == nil || !f.on() {
					s.restFaults.clear()
					return nil
				}
				s.FailRESTRequest(*f.REST)
				return nil
			}},
		{"FailRecords", "kind n code!", "", `Fails records and events, of the object that kind names, such as Order__e, that requests write: "CODE" or "CODE: message", such as LIMIT_EXCEEDED or PLATFORM_EVENT_PUBLISHING_UNAVAILABLE.`,
			func(s *Server, f faultRequest) error { s.FailRecords(f.Kind, f.n(), f.Code); return nil }},
		{"HideEventUUIDs", "on", "", "Replies to published events hold no UUID, as those of standard-volume events.",
			func(s *Server, f faultRequest) error { s.HideEventUUIDs(f.on()); return nil }},
		{"SkipEmptyUpdates", "on", "", "Updates that change nothing leave no trace: no change event, no other LastModifiedDate.",
			func(s *Server, f faultRequest) error { s.SkipEmptyUpdates(f.on()); return nil }},
		{"RefuseCollections", "on", "", "A record that is not of its object's form fails the whole request of composite/sobjects.",
			func(s *Server, f faultRequest) error { s.RefuseCollections(f.on()); return nil }},
		{"SetLimit", "limit!", "", "Sets a limit of the org, as /limits tells it, such as DailyApiRequests.",
			func(s *Server, f faultRequest) error { return s.SetLimit(f.Limit.Name, f.Limit.Max, f.Limit.Remaining) }},
	}
}
