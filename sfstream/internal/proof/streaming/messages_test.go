package streaming

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingMessages are about what events look like, and who gets them.
func streamingMessages() []scenario {
	return []scenario{
		{name: "platform_event_no_date", run: platformEventNoDate},
		{name: "login_event_stream", run: loginEventStream},
		{name: "cdc_gap_overflow", run: cdcGapOverflow},
		{name: "generic_targeted", run: genericTargeted},
	}
}

// expectCheckpoint expects that a program that is ended and started again gets what came after an
// event, and nothing before.
func expectCheckpoint(l *lab.Lab, channel string, last sfstreamtest.Event, putNext func(), number int) {
	l.T.Helper()
	l.Must(l.Client.Close())
	if got := string(l.Marker(channel).ReplayID); got != string(last.ReplayID) {
		l.T.Errorf("the marker is at %q, want %s", got, last.ReplayID)
	}
	putNext()
	l.Start()
	l.Subscribe(channel)
	l.ExpectSubscribe(channel, "CUSTOM", last.ReplayID)
	l.ExpectEach(map[string][]int{channel: {number}})
}

func platformEventNoDate(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Start()
	l.Subscribe(lab.Undated)
	sent := l.PublishNumbers(lab.Undated, 1, 2)
	for i, want := range sent {
		m := l.Receive()
		if n := l.Number(m); n != i+1 || string(m.ReplayID) != string(want.ReplayID) || m.ID != want.ID || !m.Date().IsZero() {
			t.Errorf("got %d with id %s and %s of %v", n, m.ReplayID, m.ID, m.Date())
		}
		m.Ack()
	}
	expectCheckpoint(l, lab.Undated, sent[1], func() { l.PublishNumbers(lab.Undated, 3) }, 3)

	// A reconnect before anything was received skips nothing that has no date.
	l.Must(l.Client.Close())
	l.Store = lab.New(t).Store
	l.Start()
	l.Subscribe(lab.Undated)
	l.DropConnections()
	l.PublishNumbers(lab.Undated, 4)
	m := l.Receive()
	for l.Number(m) != 4 {
		m.Ack() // older ones cannot be told from new ones
		m = l.Receive()
	}
	m.Ack()
	awaitForgotten(l)
	finish(l, lab.Undated)
}

func loginEventStream(t *testing.T) {
	const logins = "/event/LoginEventStream"
	l := lab.NewStreaming(t)
	l.Must(l.DefineEvent(logins, `{"type":"record","name":"LoginEventStream","namespace":"com.sforce.eventbus","fields":[
		{"name":"EventDate","type":["null","long"],"doc":"Data:DateTime:00N000000000001","default":null},
		{"name":"EventIdentifier","type":["null","string"],"default":null},
		{"name":"Username","type":["null","string"],"default":null},
		{"name":"N__c","type":["null","double"],"default":null}]}`))
	l.Start()
	l.Subscribe(logins)
	at := time.Now().UTC().Truncate(time.Millisecond)
	put := func(n int) sfstreamtest.Event {
		e, err := l.Publish(logins, map[string]any{"EventDate": at, "EventIdentifier": "e1", "Username": "ann@example.com", "N__c": float64(n)})
		l.Must(err)
		return lab.SeenBy(t, e)
	}
	last := put(1)
	m := l.Receive()
	var login struct {
		EventDate time.Time
		Username  string
		Number    int `sf:"N__c"`
	}
	l.Must(m.Decode(&login))
	if !login.EventDate.Equal(at) || login.Username != "ann@example.com" || login.Number != 1 || !m.Date().IsZero() {
		t.Errorf("got %+v of %v", login, m.Date())
	}
	m.Ack()
	expectCheckpoint(l, logins, last, func() { put(2) }, 2)
	l.PublishNumbers(logins, 3)
	l.Expect(3)
	finish(l, logins)
}

// cdcGapOverflow: a change event may have nothing but a header.
func cdcGapOverflow(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Start()
	l.Subscribe(lab.Accounts)
	var last sfstreamtest.Event
	for _, gap := range []sfstreamtest.Change{
		{Type: "GAP_UPDATE", RecordIDs: []string{"001*"}},
		{Type: "GAP_DELETE", RecordIDs: []string{"001000000000001AAA", "001000000000002AAA"}},
		{Type: "GAP_OVERFLOW", RecordIDs: []string{"000000000000000AAA"}},
	} {
		gap.Object = "Account"
		committed := time.Now().Truncate(time.Millisecond)
		e, err := l.Change(gap)
		l.Must(err)
		last = lab.SeenBy(t, e)
		m := l.Receive()
		var change struct {
			ChangeEventHeader struct {
				EntityName string   `sf:"entityName"`
				ChangeType string   `sf:"changeType"`
				RecordIDs  []string `sf:"recordIds"`
			}
			Name *string
		}
		l.Must(m.Decode(&change))
		header := change.ChangeEventHeader
		if header.EntityName != "Account" || header.ChangeType != gap.Type || !slices.Equal(header.RecordIDs, gap.RecordIDs) || change.Name != nil {
			t.Errorf("%s: got %+v", gap.Type, change)
		}
		if !m.Date().Equal(committed) || string(m.ReplayID) != string(last.ReplayID) {
			t.Errorf("%s: id %s of %v", gap.Type, m.ReplayID, m.Date())
		}
		m.Ack()
	}
	expectCheckpoint(l, lab.Accounts, last, func() { l.ChangeAccount(7) }, 7)
	l.ChangeAccount(8)
	l.Expect(8)
	l.ExpectCounts(2, 2)
	leave(l)
}

// genericTargeted: a payload for one of two users comes to that one alone.
func genericTargeted(t *testing.T) {
	const ann, other = "ann@example.com", "005000000000042AAA"
	l := lab.NewStreaming(t, sfstreamtest.WithUser(ann, other))
	account := l.Account()
	anns, err := sfstream.New(authenticator.Password{
		ConsumerKey: account.ConsumerKey, ConsumerSecret: account.ConsumerSecret,
		Username: ann, Password: account.Password, SecurityToken: account.SecurityToken,
	}, sfstream.WithOrg(l), sfstream.WithLogger(l.Log.Logger()))
	l.Must(err)
	t.Cleanup(func() { _ = anns.Close() })
	l.Must(anns.Open(t.Context()))
	l.Must(anns.Subscribe(t.Context(), lab.Generic))
	l.Start()
	l.Subscribe(lab.Generic)

	push := func(payload string, fanOut int, users ...string) {
		t.Helper()
		r, err := l.Push(lab.Generic, payload, users...)
		l.Must(err)
		if r.FanoutCount != fanOut {
			t.Errorf("%s: sent to %d", payload, r.FanoutCount)
		}
	}
	push("1", -1)
	push("2", 1, other)
	push("3", 1, account.UserID)
	push("4", 2, other, account.UserID)
	push("5", 0, "005000000000099AAA")
	push("6", -1)
	synctest.Wait()
	for client, want := range map[*sfstream.Client][]int{anns: {1, 2, 4, 6}, l.Client: {1, 3, 4, 6}} {
		for _, number := range want {
			m, err := client.Receive(t.Context())
			l.Must(err)
			if n := l.Number(m); n != number || m.Channel != lab.Generic || m.Date().IsZero() {
				t.Errorf("got %d of %s at %v, want %d", n, m.Channel, m.Date(), number)
			}
			m.Ack()
		}
		if n := client.Pending(); n > 0 {
			t.Errorf("%d messages too many", n)
		}
	}
	if n := l.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
	l.Must(anns.Close())
	push("7", 0, other) // offline
	l.ExpectCounts(2, 2)
	finish(l, lab.Generic)
}
