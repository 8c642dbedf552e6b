package sfstreamtest

import "time"

func (s *Server) controlPushTopic(req PushTopic) (defineReply, error) {
	return defineReply{Channel: "/topic/" + req.Name}, s.DefinePushTopic(req)
}

type genericRequest struct {
	Channel string `json:"channel"`
}

func (s *Server) controlGeneric(req genericRequest) (defineReply, error) {
	return defineReply{Channel: req.Channel}, s.DefineGenericChannel(req.Channel)
}

// topicRequest publishes an event of a PushTopic, count times.
type topicRequest struct {
	Name    string         `json:"name"`
	Type    string         `json:"type"` // default created
	Sobject map[string]any `json:"sobject"`
	Count   int            `json:"count"`
}

func (s *Server) controlTopic(req topicRequest) (publishReply, error) {
	return publishTimes(req.Count, func() (Event, error) {
		return s.PublishTopic(req.Name, or(req.Type, "created"), req.Sobject)
	})
}

// pushRequest pushes a payload to a generic channel, count times.
type pushRequest struct {
	Channel string   `json:"channel"`
	Payload string   `json:"payload"`
	UserIDs []string `json:"userIds"`
	Count   int      `json:"count"`
}

// pushReply has, for the last push, what the REST API returns for each push.
type pushReply struct {
	publishReply
	FanoutCount      int             `json:"fanoutCount"`
	UserOnlineStatus map[string]bool `json:"userOnlineStatus"`
}

func (s *Server) controlPush(req pushRequest) (reply pushReply, err error) {
	reply.publishReply, err = publishTimes(req.Count, func() (Event, error) {
		result, err := s.Push(req.Channel, req.Payload, req.UserIDs...)
		reply.FanoutCount, reply.UserOnlineStatus = result.FanoutCount, result.UserOnline
		return result.Event, err
	})
	return reply, err
}

// controlCometD injects the faults of CometD; it returns false if none of them has the name in
// req.Fault.
func (s *Server) controlCometD(req faultRequest, n int, on bool) bool {
	switch req.Fault {
	case "FailCometD":
		if req.CometD != nil {
			s.FailCometD(*req.CometD)
		}
	case "UnknownClient":
		s.UnknownClient(n)
	case "LegacyUnknownClient":
		s.LegacyUnknownClient(n)
	case "LoseResponse":
		s.LoseResponse(n)
	case "TruncateResponse":
		s.TruncateResponse(n)
	case "EmptyReply":
		s.EmptyReply(n)
	case "OmitConnectReply":
		s.OmitConnectReply(n)
	case "ConnectReplyFirst":
		s.ConnectReplyFirst(on)
	case "HTMLError":
		s.HTMLError(n, req.Status)
	case "Busy503As401":
		s.Busy503As401(n)
	case "ConcurrentLimit":
		s.ConcurrentLimit(n)
	case "HandshakeAdviceLoop":
		s.HandshakeAdviceLoop(n)
	case "DailyLimit":
		s.DailyLimit(time.Duration(req.Seconds) * time.Second)
	case "DisconnectSessions":
		s.DisconnectSessions(req.Channel, req.Alone)
	case "DisconnectWithEvents":
		s.DisconnectWithEvents(n, req.Alone)
	case "PassingError":
		s.PassingError(req.Kind, n, req.Code)
	case "CreateDenied":
		s.CreateDenied(n)
	case "RESTError":
		s.RESTError(n, req.Code)
	case "SilenceDisconnect":
		s.SilenceDisconnect(on)
	case "RotateLBCookie":
		s.RotateLBCookie()
	default:
		return false
	}
	return true
}
