package sfstreamtest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// mountControl adds the control requests, for programs in other processes.
func (s *Server) mountControl(mux *http.ServeMux) {
	mux.HandleFunc("POST /control/define", control(s.controlDefine))
	mux.HandleFunc("POST /control/publish", control(s.controlPublish))
	mux.HandleFunc("POST /control/fault", control(s.controlFault))
	mux.HandleFunc("POST /control/definePushTopic", control(s.controlPushTopic))
	mux.HandleFunc("POST /control/defineGenericChannel", control(s.controlGeneric))
	mux.HandleFunc("POST /control/topic", control(s.controlTopic))
	mux.HandleFunc("POST /control/push", control(s.controlPush))
}

// control answers a JSON request with JSON; errors are {"error": text} with status 400.
func control[Req, Resp any](do func(Req) (Resp, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		dec := json.NewDecoder(r.Body)
		dec.UseNumber() // int64 stays exact
		dec.DisallowUnknownFields()
		err := dec.Decode(&req)
		if err == nil {
			var resp Resp
			if resp, err = do(req); err == nil {
				writeJSON(w, http.StatusOK, resp)
				return
			}
		}
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
}

// defineRequest defines a channel with its schema, as an object or as text; or a custom channel
// with its members, each a name or a Member; or an object with its fields.
type defineRequest struct {
	Channel string          `json:"channel"`
	Schema  json.RawMessage `json:"schema"`
	Members []Member        `json:"members"`
	Object  string          `json:"object"`
	Fields  []Field         `json:"fields"`
}

type defineReply struct {
	Channel  string `json:"channel"`
	SchemaID string `json:"schemaId"`
}

func (s *Server) controlDefine(req defineRequest) (defineReply, error) {
	var err error
	switch {
	case req.Object != "":
		req.Channel = changeChannel(req.Object)
		err = s.DefineObject(req.Object, req.Fields...)
	case req.Members != nil:
		err = s.DefineMembers(req.Channel, req.Members...)
	default:
		text := string(req.Schema)
		if strings.HasPrefix(text, `"`) {
			if err := json.Unmarshal(req.Schema, &text); err != nil {
				return defineReply{}, err
			}
		}
		err = s.DefineEvent(req.Channel, text)
	}
	if err != nil {
		return defineReply{}, err
	}
	reply := defineReply{Channel: req.Channel}
	if _, sc, err := s.publishable(req.Channel); err == nil {
		reply.SchemaID = sc.id
	}
	return reply, nil
}

// publishRequest publishes a payload on a channel, count times, or a change of the object whose
// channel it is.
type publishRequest struct {
	Channel string         `json:"channel"`
	Payload map[string]any `json:"payload"`
	Change  *Change        `json:"change"`
	Count   int            `json:"count"`
}

type publishReply struct {
	IDs      []string `json:"ids"` // replay ids in lower-case hex
	EventIDs []string `json:"eventIds"`
	Numbers  []uint64 `json:"numbers"` // replay ids as CometD has them
}

// publishTimes publishes count times, at least once.
func publishTimes(count int, publish func() (Event, error)) (publishReply, error) {
	reply := publishReply{IDs: []string{}, EventIDs: []string{}, Numbers: []uint64{}}
	for range max(count, 1) {
		ev, err := publish()
		if err != nil {
			return reply, err
		}
		reply.IDs = append(reply.IDs, hex.EncodeToString(ev.ReplayID))
		reply.EventIDs = append(reply.EventIDs, ev.ID)
		reply.Numbers = append(reply.Numbers, ev.Number)
	}
	return reply, nil
}

func (s *Server) controlPublish(req publishRequest) (publishReply, error) {
	publish := func() (Event, error) { return s.Publish(req.Channel, req.Payload) }
	if c := req.Change; c != nil {
		if c.Object == "" {
			c.Object = changedObject(req.Channel)
		} else if req.Channel != "" && req.Channel != changeChannel(c.Object) {
			return publishReply{}, fmt.Errorf("changes of %s are on %s, not on %s", c.Object, changeChannel(c.Object), req.Channel)
		}
		publish = func() (Event, error) { return s.Change(*c) }
	}
	return publishTimes(req.Count, publish)
}

// changedObject returns the object of a channel; it is the inverse of changeChannel.
func changedObject(channel string) string {
	name := strings.TrimPrefix(channel, "/data/")
	if custom, ok := strings.CutSuffix(name, "__ChangeEvent"); ok {
		return custom + "__c"
	}
	return strings.TrimSuffix(name, "ChangeEvent")
}

// faultRequest names a fault like its method, with the parameters of that method.
type faultRequest struct {
	Fault    string `json:"fault"`
	Channel  string `json:"channel"`
	N        *int   `json:"n"` // default 1
	Code     string `json:"code"`
	Kind     string `json:"kind"`
	On       *bool  `json:"on"` // default true
	Status   int    `json:"status"`
	Body     string `json:"body"`
	Seconds  int    `json:"seconds"`
	Replay   uint64 `json:"replay"`
	Accepted bool   `json:"accepted"`
	Alone    bool   `json:"alone"`

	CometD *CometDFault `json:"cometd"`
	Group  *GroupBreak  `json:"group"`

	restFaultRequest
}

func (s *Server) controlFault(req faultRequest) (struct{}, error) {
	n, on := 1, true
	if req.N != nil {
		n = *req.N
	}
	if req.On != nil {
		on = *req.On
	}
	var err error
	switch req.Fault {
	case "ExpireToken":
		s.ExpireToken()
	case "MoveInstance":
		s.MoveInstance()
	case "LockUser":
		s.LockUser()
	case "DropConnections":
		s.DropConnections()
	case "Blackhole":
		s.Blackhole()
	case "GoAway":
		s.GoAway()
	case "ClearFaults":
		s.ClearFaults()
	case "EndStreams":
		s.EndStreams(req.Channel, req.Code)
	case "Reject":
		s.Reject(req.Channel, n, req.Code)
	case "FailGetTopic":
		s.FailGetTopic(n, req.Code)
	case "FailGetSchema":
		s.FailGetSchema(n, req.Code)
	case "FailLogin":
		s.FailLogin(n, req.Kind)
	case "FailAuthorize":
		s.FailAuthorize(n, req.Kind)
	case "TruncateReplay":
		err = s.TruncateReplay(req.Channel)
	case "Duplicate":
		s.Duplicate(req.Channel, n)
	case "SilenceKeepalive":
		s.SilenceKeepalive(on)
	case "StripTrailers":
		s.StripTrailers(on)
	case "Refuse":
		s.Refuse(on)
	case "Revoke":
		s.Revoke(req.Channel)
	case "Grant":
		s.Grant(req.Channel)
	case "Remove":
		err = s.Remove(req.Channel)
	case "RestartReplay":
		err = s.RestartReplay(req.Channel, req.Replay)
	default:
		known := s.controlCometD(req, n, on)
		if !known {
			known, err = s.controlWorld(req, n, on)
		}
		if !known {
			known, err = s.controlREST(req, n)
		}
		if !known {
			err = fmt.Errorf("there is no fault %q", req.Fault)
		}
	}
	return struct{}{}, err
}
