package sfstreamtest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// faultRequest names a fault like its method, with the parameters of that method.
type faultRequest struct {
	Fault    string       `json:"fault,omitempty" about:"!its name"`
	Channel  string       `json:"channel,omitempty" about:"of which channel; left out: of all"`
	N        *int         `json:"n,omitempty" about:"how often, default 1; negative: until it is taken back; 0 takes it back"`
	On       *bool        `json:"on,omitempty" about:"default true; false takes it back"`
	Code     string       `json:"code,omitempty" about:"the error, see below"`
	Kind     string       `json:"kind,omitempty" about:"which kind"`
	Status   int          `json:"status,omitempty" about:"an HTTP status, 200 to 599"`
	Body     string       `json:"body,omitempty" about:"of the answer; default a page"`
	Text     string       `json:"text,omitempty" about:"of the error"`
	Seconds  int          `json:"seconds,omitempty" about:"how long; 0 ends it"`
	Replay   uint64       `json:"replay,omitempty" about:"the number of a replay id"`
	Accepted bool         `json:"accepted,omitempty" about:"subscriptions from old replay ids are accepted"`
	Alone    bool         `json:"alone,omitempty" about:"without the answer to the connect"`
	CometD   *CometDFault `json:"cometd,omitempty" about:"what happens to which messages, see CometDFault"`
	Group    *GroupBreak  `json:"group,omitempty" about:"where, see GroupBreak"`
	REST     *RESTFault   `json:"rest,omitempty" about:"what happens to which requests, see RESTFault"`
	Limit    *setLimit    `json:"limit,omitempty" about:"the limit and what is left of it"`
}

// setLimit has the parameters of SetLimit.
type setLimit struct {
	Name      string `json:"name"`
	Max       int    `json:"max"`
	Remaining int    `json:"remaining"`
}

func (f faultRequest) n() int {
	if f.N == nil {
		return 1
	}
	return *f.N
}

func (f faultRequest) on() bool { return isTrue(f.On) }

// takesBack reports whether the request takes the fault back.
func (f faultRequest) takesBack() bool { return f.n() == 0 || !f.on() }

func (f faultRequest) duration() time.Duration { return time.Duration(f.Seconds) * time.Second }

// controlFault is a row of the table of faults.
type controlFault struct {
	name  string
	takes string // the members besides fault; those that end in "!" are required, unless the fault is taken back
	kinds string // the words that kind can be, if not any
	about string
	do    func(*Server, faultRequest) error
}

// parameters returns the parameters of the fault, besides its name.
func (f controlFault) parameters() []parameter {
	var list []parameter
	all := parametersOf[faultRequest]()
	for word := range strings.FieldsSeq(f.takes) {
		name, required := strings.CutSuffix(word, "!")
		p := all[slices.Index(namesOf(all), name)]
		p.Required = required
		if name == "kind" && f.kinds != "" {
			p.About = strings.Join(strings.Fields(f.kinds), ", ")
		}
		list = append(list, p)
	}
	return list
}

// controlFault makes the fault happen that a request names.
func (s *Server) controlFault(m members) error {
	var named struct {
		Fault string `json:"fault"`
	}
	if err := m.into(&named); err != nil {
		return err
	}
	rows := controlFaults()
	i := slices.IndexFunc(rows, func(row controlFault) bool { return row.name == named.Fault })
	if i < 0 {
		var names []string
		for _, row := range rows {
			names = append(names, row.name)
		}
		if named.Fault == "" {
			return unknown(`the request needs "fault"`, names)
		}
		return unknown(fmt.Sprintf("there is no fault %q", named.Fault), names)
	}
	req, err := s.readFault(rows[i], m)
	if err != nil {
		return err
	}
	return rows[i].do(s, req)
}

// readFault reads a request for a fault, and checks it against the row.
func (s *Server) readFault(row controlFault, m members) (req faultRequest, err error) {
	if err := m.into(&req); err != nil {
		return req, err
	}
	takes := row.parameters()
	for i := range takes {
		takes[i].Required = takes[i].Required && !req.takesBack()
	}
	others := make(members)
	for name, text := range m {
		if name != "fault" {
			others[name] = text
		}
	}
	if err := others.check(row.name, takes); err != nil {
		return req, err
	}
	if row.kinds != "" && (req.Kind != "" || strings.Contains(row.takes, "kind!")) {
		if err := oneOf("kind", req.Kind, strings.Fields(row.kinds)...); err != nil {
			return req, err
		}
	}
	for _, channel := range req.channels() {
		if err := s.checkChannel(channel); err != nil {
			return req, err
		}
	}
	return req, req.checkNumbers()
}

// channels returns the channels that the request names.
func (f faultRequest) channels() []string {
	all := []string{f.Channel}
	if f.CometD != nil {
		all = append(all, f.CometD.Channel)
	}
	if f.Group != nil {
		all = append(all, f.Group.Channel)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

func (f faultRequest) checkNumbers() error {
	statuses := []int{f.Status}
	if f.CometD != nil {
		statuses = append(statuses, f.CometD.Status)
	}
	if f.REST != nil {
		statuses = append(statuses, f.REST.Status)
	}
	for _, status := range statuses {
		if status != 0 && (status < http.StatusOK || status > 599) {
			return fmt.Errorf("status is %d: it is 200 to 599", status)
		}
	}
	const year = 366 * 24 * 60 * 60
	if f.Seconds < 0 || f.Seconds > year {
		return fmt.Errorf("seconds is %d: it is 0 to %d", f.Seconds, year)
	}
	return nil
}

// controlFaultsInForce lists the faults that are still to happen or that last.
func (s *Server) controlFaultsInForce(context.Context, none) (faultsReply, error) {
	list := []faultRequest{} // in JSON a list, too, where there is none
	list = append(list, slices.Concat(s.faults.requests(), s.bayeux.faults.requests(), s.groups.requests(), s.eventRules.requests(), s.page.requests())...)
	for _, f := range s.restFaults.inForce() {
		list = append(list, faultRequest{Fault: "FailRESTRequest", REST: &f})
	}
	if left := s.limitLeft(); left > 0 {
		list = append(list, faultRequest{Fault: "DailyLimit", Seconds: max(1, int(left.Seconds()))})
	}
	for _, t := range s.matching("") {
		t.mu.Lock()
		if t.revoked {
			list = append(list, faultRequest{Fault: "Revoke", Channel: t.name})
		}
		if t.readOnly {
			list = append(list, faultRequest{Fault: "RevokePublish", Channel: t.name})
		}
		t.mu.Unlock()
	}
	return faultsReply{list}, nil
}

type faultsReply struct {
	Faults []faultRequest `json:"faults"`
}
