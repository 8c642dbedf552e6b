package sfstreamtest

import (
	"net/http"
	"unicode/utf8"
)

// pushChannel returns the generic channel that the path of a request names.
func (s *Server) pushChannel(r *http.Request) (*topic, error) {
	if kind, _ := channelKindOf(r.PathValue("object")); kind != streamingChannels {
		return nil, notFound()
	}
	return s.channel(streamingChannels, r.PathValue("id"))
}

// pushTargets answers with the users who could be reached.
func (s *Server) pushTargets(r *http.Request) (int, any, error) {
	t, err := s.pushChannel(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"OnlineUserIds": s.online(t), "ChannelName": t.name}, nil
}

// pushable fails if the channel is a generic one that the user may at most read.
func (t *topic) pushable() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.generic && (t.readOnly || t.revoked) {
		denied := knownRESTError("INSUFFICIENT_ACCESS_OR_READONLY")
		return &denied
	}
	return nil
}

// pushed is the result of one payload.
type pushed struct {
	FanoutCount      int             `json:"fanoutCount"`
	UserOnlineStatus map[string]bool `json:"userOnlineStatus"`
}

// pushEvents pushes payloads, each to all or to some users. If one cannot be pushed, none is.
func (s *Server) pushEvents(r *http.Request) (int, any, error) {
	var req struct {
		PushEvents []struct {
			Payload string   `json:"payload"`
			UserIDs []string `json:"userIds"`
		} `json:"pushEvents"`
	}
	if err := readBody(r, &req); err != nil {
		return 0, nil, err
	}
	s.setup.Lock() // the channel is there, under its name, until the last one is pushed
	defer s.setup.Unlock()
	t, err := s.pushChannel(r)
	if err != nil {
		return 0, nil, err
	}
	if err := t.pushable(); err != nil {
		return 0, nil, err
	}
	for _, e := range req.PushEvents {
		if utf8.RuneCountInString(e.Payload) > maxPush {
			return 0, nil, tooLong("payload", e.Payload, maxPush, "payload")
		}
	}
	results := []pushed{}
	for _, e := range req.PushEvents {
		result, err := s.Push(t.name, e.Payload, e.UserIDs...)
		if err != nil {
			return 0, nil, err
		}
		results = append(results, pushed{result.FanoutCount, result.UserOnline})
	}
	return http.StatusOK, results, nil
}
