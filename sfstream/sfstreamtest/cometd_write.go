package sfstreamtest

import (
	"net/http"
	"time"
)

// write sends the response. The window of the session begins when it is sent.
func (x *exchange) write(w http.ResponseWriter) {
	s := x.server
	if ses := x.session; ses != nil {
		if !x.polled && !x.aborted && !x.fault.raw() {
			x.events = append(x.events, s.take(ses, nil)...)
		}
		x.rotate(ses)
	}
	defer func() {
		for _, ses := range x.touched {
			if x.aborted {
				break // no timer outlives Close
			}
			ses.restart(s.config.cometd.window)
		}
	}()
	body := x.body()
	x.breakOff()
	if x.aborted || !x.wait() {
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
	if !x.fault.NoCookies {
		for _, c := range x.cookies {
			http.SetCookie(w, c)
		}
	}
	if cut := x.fault.write(w, body, x.status, x.sleep); cut {
		panic(http.ErrAbortHandler)
	}
}

// breakOff ends the session inside of a group, if a GroupBreak asks for that. The response still
// carries the events before the end.
func (x *exchange) breakOff() {
	for i := range x.events {
		if b := x.events[i].broken; b != nil {
			x.server.endWith(x.events[i].sub.session, cometdEnd(b.Code))
		}
	}
}

// wait waits as the fault says. It returns false if the org closes first.
func (x *exchange) wait() bool {
	if x.fault.NoAnswer {
		select {
		case <-x.request.Context().Done():
		case <-x.server.bayeux.closing:
		}
		return false
	}
	return x.fault.Delay <= 0 || x.sleep(x.fault.Delay)
}

// sleep returns false if the org closes first.
func (x *exchange) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.server.bayeux.closing:
		return false
	}
}

// body returns the array of the response: events first, unless a fault says otherwise.
func (x *exchange) body() []byte {
	s := x.server
	if x.polled && len(x.events) > 0 {
		has := func(channel string) bool { return channel == "" || x.session.has(channel) }
		if f, ok := s.bayeux.faults.take("connect", has, false, true); ok {
			x.fault = f
			if f.disconnect != "" {
				x.sayGoodbye(x.session, f.disconnect)
			}
		}
	}
	size := 2 + 512*len(x.replies)
	for i := range x.events {
		size += x.events[i].size
	}
	b := append(make([]byte, 0, size), '[')
	events := func() {
		for i := range x.events {
			d := &x.events[i]
			b = d.sub.topic.appendEvent(separated(b), &d.record, d.channel, x.eventName(&d.record))
		}
	}
	replies := func() {
		for i := range x.replies {
			if !x.fault.OmitReply {
				b = x.replies[i].append(separated(b))
			}
		}
	}
	if x.fault.ReplyFirst || s.bayeux.faults.replyFirst.Load() {
		replies()
		events()
	} else {
		events()
		replies()
	}
	return append(b, ']')
}

func separated(b []byte) []byte {
	if len(b) > 1 {
		return append(b, ',')
	}
	return b
}
