package contract

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// resumeRules prove that nothing is lost once Subscribe has succeeded.
func resumeRules() []rule {
	rules := []rule{
		{number: 5, words: "a drop before any response after ReplayNew loses nothing", run: dropBeforeResponse},
		{number: 5, words: "many drops before any response lose nothing", run: dropsBeforeResponse},
		{number: 5, words: "platform events are skipped only when an hour older than the start", run: skippedEvents},
		{number: 5, words: "change events are skipped only when ten minutes older than the start", run: skippedChanges},
		{number: 5, words: "an event that comes on a stream of new events is never skipped, whatever its date", run: neverSkippedOnNew},
		// Pub/Sub API only: a connect reply names no replay id to resume after.
		{number: 5, words: "an event that comes after a keepalive is never skipped, whatever its date", run: neverSkippedAfterKeepalive, only: sfstream.PubSub},
		{number: 5, words: "after a keepalive at the end of a replay nothing is skipped", run: keepaliveEndsSkipping},
		{number: 5, words: "the last skipped event is the position, and skipping goes on after it", run: lastSkippedIsPosition},
		{number: 5, words: "a drop in the middle of skipping skips the rest", run: dropWhileSkipping},
		{number: 5, words: "the first Subscribe saves its start, and a restart begins there", run: startSaved},
		{number: 5, words: "a second restart from the saved start loses nothing", run: startSavedAgain},
		// Pub/Sub API only: a connect reply names no replay id.
		{number: 5, words: "a keepalive id is saved at once where nothing was ever delivered", run: keepaliveSavedAtOnce, only: sfstream.PubSub},
		{number: 5, words: "a keepalive id is saved only when all before it is handled", run: keepaliveSavedWhenHandled, only: sfstream.PubSub},
		{number: 5, words: "a keepalive id does not pass a message that comes after it and is unhandled", run: keepaliveBeforeUnhandled},
		{number: 5, words: "the queue survives reconnects", run: queueSurvives},
		{number: 5, words: "a server that restarts", run: serverRestart},
		{number: 5, words: "a stream without demand that the server ends is resumed silently", run: endedWithoutDemand},
		{number: 5, words: "a token that expires under 20 channels costs one login", run: tokenExpires},
		{number: 5, words: "a token that expires while 20 channels are cut costs one login", run: tokenExpiresInCut},
		{number: 5, words: "tokens that expire every half hour never end a client", run: tokensExpire},
		// Pub/Sub API only: a CometD subscribe is live when it is answered.
		{number: 5, words: "ReplayNew may miss what comes before routing is live, ReplaySince does not", run: beforeRouting, only: sfstream.PubSub},
		{number: 5, words: "random trouble for a day, on a channel of orders and one of changes", run: randomTrouble},
	}
	rules = append(rules, each(rule{number: 5, words: "the start is Salesforce's time, also %v off ours"}, []time.Duration{2 * time.Hour, -2 * time.Hour}, skewedStart)...)
	rules = append(rules, each(rule{number: 5, words: "a stream that ends with %s"}, lab.Endings, streamEnds)...)
	rules = append(rules, each(rule{number: 5, words: "a Subscribe that is answered with %s"}, lab.Endings, subscribeAnswered)...)
	for _, tt := range []struct {
		words   string
		trouble func(l *lab.Lab)
		during  []int // numbers that are published meanwhile
	}{
		{"cut connections", (*lab.Lab).DropConnections, nil},
		{"GOAWAY", (*lab.Lab).GoAway, nil},
		{"GOAWAY and then a cut", func(l *lab.Lab) { l.GoAway(); synctest.Wait(); l.DropConnections() }, nil},
		{"a dead connection that is cut later", deadThenCut, []int{100}},
		{"a long outage", func(l *lab.Lab) { l.Outage(30*time.Minute, func() { l.PublishOrders(100, 101) }) }, []int{100, 101}},
		{"an expired token and a cut", func(l *lab.Lab) { l.ExpireToken(); l.DropConnections() }, nil},
		{"an org that moved to another instance", func(l *lab.Lab) { l.MoveInstance(); l.EndStreams("", "service.auth.error") }, nil},
		{"logins that fail for a while", loginsFail, []int{100}},
		{"a stream that is rejected ten times", rejectedTenTimes, []int{100}},
	} {
		rules = append(rules, rule{number: 5, words: tt.words, run: func(t *testing.T) { hurt(t, tt.trouble, tt.during...) }})
	}
	return rules
}

func dropBeforeResponse(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow()
	l.Pass(10 * time.Second)
	l.Outage(time.Minute, func() { l.PublishOrders(2, 3) })
	l.Expect(2, 3)
	l.ExpectSubscribe(lab.LabOrders, "EARLIEST", nil)
	l.ExpectStillWorks(lab.LabOrders)
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
}

func dropsBeforeResponse(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow()
	var want []int
	for n := 2; n < 10; n++ {
		l.Outage(30*time.Second, func() { l.PublishOrders(n) })
		want = append(want, n)
	}
	l.Expect(want...)
	l.ExpectStillWorks(lab.LabOrders)
}

func skippedEvents(t *testing.T) {
	l := lab.New(t)
	start := time.Now().Add(2 * time.Hour)
	l.PublishDated(1, start.Add(-time.Hour-2*time.Second)) // the clock of the Date header is cut to seconds
	l.PublishDated(2, start.Add(-time.Hour+time.Second))
	l.Pass(time.Until(start))
	l.Follow()
	l.Outage(time.Minute, func() { l.PublishOrders(3) })
	l.Expect(2, 3)
}

func skippedChanges(t *testing.T) {
	l := lab.New(t)
	l.ChangeAccount(1)
	l.Pass(3 * time.Second)
	l.ChangeAccount(2)
	l.Pass(10*time.Minute - time.Second)
	l.Start()
	l.Subscribe(lab.Accounts)
	l.Outage(time.Minute, func() { l.ChangeAccount(3) })
	l.Expect(2, 3)
}

func neverSkippedOnNew(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for n := range 5 {
		l.PublishDated(n, time.Now().Add(-5*time.Hour)) // a publisher with the wrong time zone
	}
	l.Expect(0, 1, 2, 3, 4)
}

func neverSkippedAfterKeepalive(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Pass(61 * time.Second)
	l.Outage(time.Minute, func() { l.PublishDated(1, time.Now().Add(-5*time.Hour)) })
	l.Expect(1)
	l.PublishDated(2, time.Now().Add(-5*time.Hour))
	l.Expect(2)
}

func keepaliveEndsSkipping(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow()
	l.Outage(time.Second, func() {})
	l.Pass(3 * time.Minute)
	l.PublishDated(2, time.Now().Add(-5*time.Hour))
	l.Expect(2)
}

func lastSkippedIsPosition(t *testing.T) {
	l := lab.New(t)
	skipped := l.PublishOrders(lab.Numbers(1, 150)...)
	l.Pass(2 * time.Hour)
	l.Follow(sfstream.WithPrefetch(100))
	l.Reconnect(lab.LabOrders)
	l.ExpectSubscribe(lab.LabOrders, "EARLIEST", nil)
	l.Pass(time.Second)
	l.Reconnect(lab.LabOrders)
	l.ExpectSubscribe(lab.LabOrders, "CUSTOM", skipped[149].ReplayID)
	l.ExpectQuiet(time.Second)
	l.ExpectStillWorks(lab.LabOrders)
	l.Stop()
	l.Follow()
	l.ExpectQuiet(5 * time.Minute) // skipped events are handled
	l.ExpectStillWorks(lab.LabOrders)
}

func dropWhileSkipping(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithBatchEvents(10))
	l.PublishOrders(lab.Numbers(1, 500)...)
	l.Pass(2 * time.Hour)
	l.Follow()
	l.Refuse(true)
	l.DropConnections()
	l.PublishOrders(501)
	l.Refuse(false)
	for range 20 { // each connection lives for a moment
		time.Sleep(100 * time.Millisecond)
		l.DropConnections()
	}
	l.Expect(501)
	l.ExpectStillWorks(lab.LabOrders)
}

func startSaved(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	start := time.Now()
	l.Follow()
	if m := l.Marker(lab.LabOrders); len(m.ReplayID) > 0 || !m.Live.Equal(start) {
		t.Errorf("marker %+v, want Live %v", m, start)
	}
	l.Stop()
	l.PublishOrders(2)
	l.Pass(24 * time.Hour)
	l.Follow()
	l.ExpectSubscribe(lab.LabOrders, "EARLIEST", nil)
	l.Expect(2)
	l.ExpectStillWorks(lab.LabOrders)
}

func startSavedAgain(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	for n := range 3 {
		l.Follow()
		l.Stop()
		l.PublishOrders(2 + n)
		l.Pass(time.Hour)
	}
	l.Follow()
	l.Expect(2, 3, 4)
}

func keepaliveSavedAtOnce(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Pass(time.Minute + 50*time.Millisecond)
	first := l.Marker(lab.LabOrders)
	if len(first.ReplayID) == 0 || time.Since(first.Live) > 2*time.Second {
		t.Fatalf("marker %+v", first)
	}
	l.Reconnect(lab.LabOrders)
	l.ExpectSubscribe(lab.LabOrders, "CUSTOM", first.ReplayID)
	l.Stop()
	l.PublishOrders(1)
	l.Follow()
	l.Expect(1)
}

func keepaliveSavedWhenHandled(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithAck(sfstream.AckManual))
	event := l.PublishOrders(1)[0]
	m := l.Receive()
	l.Pass(5 * time.Minute)
	if got := l.Marker(lab.LabOrders); len(got.ReplayID) > 0 {
		t.Errorf("the marker has passed an unhandled message: %+v", got)
	}
	l.Reconnect(lab.LabOrders)
	quiet := l.LastSubscribe(lab.LabOrders).ReplayID
	if bytes.Equal(quiet, event.ReplayID) {
		t.Error("the reconnect did not resume at the keepalive's id")
	}
	m.Ack()
	l.Pass(time.Second)
	if got := l.Marker(lab.LabOrders); !bytes.Equal(got.ReplayID, quiet) {
		t.Errorf("marker %x, want the keepalive's %x", got.ReplayID, quiet)
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func keepaliveBeforeUnhandled(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithAck(sfstream.AckManual))
	l.Pass(2 * time.Minute)
	one := l.PublishOrders(1)[0]
	l.Receive().Ack()
	l.Pass(2 * time.Minute)
	l.PublishOrders(2)
	l.Receive() // never acked
	l.Pass(10 * time.Minute)
	l.PublishOrders(3)
	l.Receive().Ack()
	l.Pass(10 * time.Minute)
	l.Stop()
	got := l.Marker(lab.LabOrders)
	if bytes.Compare(got.ReplayID, one.ReplayID) < 0 {
		t.Errorf("marker %x is before number 1", got.ReplayID)
	}
	l.Follow()
	l.Expect(2, 3)
}

func queueSurvives(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	events := l.PublishOrders(lab.Numbers(1, 50)...)
	synctest.Wait()
	if n := l.Client.Pending(); n != 50 {
		t.Fatalf("%d waiting", n)
	}
	l.Reconnect(lab.LabOrders)
	l.ExpectSubscribe(lab.LabOrders, "CUSTOM", events[49].ReplayID)
	l.PublishOrders(51)
	l.Expect(lab.Numbers(1, 51)...)
	l.ExpectStillWorks(lab.LabOrders)
}

func endedWithoutDemand(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithPrefetch(10), sfstream.WithReconnectTimeout(time.Minute))
	l.PublishOrders(lab.Numbers(1, 30)...)
	l.Pass(time.Hour) // the loop's body is slow; the server ended the stream after a minute
	if n := l.Streams(lab.LabOrders); n != 0 {
		t.Errorf("%d streams", n)
	}
	l.Reject("", 1, "UNAVAILABLE") // an hour of waiting for room is not an hour of outage
	l.Expect(lab.Numbers(1, 30)...)
	l.ExpectStillWorks(lab.LabOrders)
}

func tokenExpires(t *testing.T) {
	twentyChannels(t, func(l *lab.Lab) { l.ExpireToken(); l.EndStreams("", "service.auth.error") }, 1)
}

func tokenExpiresInCut(t *testing.T) {
	twentyChannels(t, func(l *lab.Lab) { l.ExpireToken(); l.DropConnections() }, 1)
}

func tokensExpire(t *testing.T) {
	twentyChannels(t, func(l *lab.Lab) {
		for range 12 {
			l.Pass(time.Second) // no request is on its way that would notice before EndStreams
			l.ExpireToken()
			l.EndStreams("", "service.auth.error")
			l.Pass(30 * time.Minute)
		}
	}, 12)
}

func beforeRouting(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithRoutingDelay(3*time.Second))
	l.Follow()
	l.PublishOrders(1) // the documented loss
	l.Pass(4 * time.Second)
	l.PublishOrders(2)
	l.Expect(2)
	l.Must(l.Client.Unsubscribe(t.Context(), lab.LabOrders))
	l.Pass(2 * time.Hour)
	l.Subscribe(lab.LabOrders, sfstream.From(sfstream.ReplaySince(time.Now())))
	l.PublishOrders(3)
	l.Expect(3)
}

// hurt publishes a known sequence around some trouble, before and after the
// first event and with an unhandled one, and expects it back exactly.
func hurt(t *testing.T, trouble func(l *lab.Lab), during ...int) {
	startAndHurt(lab.New(t), nil, trouble, during...)
}

func startAndHurt(l *lab.Lab, opts []sfstream.Option, trouble func(l *lab.Lab), during ...int) {
	l.T.Helper()
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow(opts...)

	trouble(l) // before any response
	l.Expect(during...)
	l.PublishOrders(2, 3)
	l.Expect(2, 3)

	trouble(l) // with a position
	l.Expect(during...)
	l.PublishOrders(4)
	l.Expect(4)

	l.PublishOrders(5, 6)
	synctest.Wait()
	m := l.Receive() // and in the middle of a body
	trouble(l)
	m.Ack()
	l.Expect(append([]int{6}, during...)...)
	l.Pass(20 * time.Minute)
	l.ExpectStillWorks(lab.LabOrders)
	if n := l.GapCount(); n != 0 {
		l.T.Errorf("%d gaps", n)
	}
	l.Stop()
	l.PublishOrders(7)
	l.Follow(opts...)
	l.Expect(7)
}

func streamEnds(t *testing.T, ending string) {
	hurt(t, func(l *lab.Lab) { l.EndStreams("", ending); l.PublishOrders(100) }, 100)
}

func subscribeAnswered(t *testing.T, ending string) {
	hurt(t, func(l *lab.Lab) { l.Reject("", 2, ending); l.DropConnections(); l.PublishOrders(100) }, 100)
}

func deadThenCut(l *lab.Lab) {
	l.Blackhole()
	l.PublishOrders(100)
	l.Pass(10 * time.Minute)
	l.DropConnections()
}

func loginsFail(l *lab.Lab) {
	for _, kind := range []string{"503", "html", "empty", "timeout", "rate_limit_exceeded", "redirect", "unknown_error"} {
		l.FailLogin(1, kind)
	}
	l.ExpireToken()
	l.EndStreams("", "service.auth.error")
	l.PublishOrders(100)
	l.Pass(time.Hour)
}

func rejectedTenTimes(l *lab.Lab) {
	l.Reject("", 10, "UNAVAILABLE")
	l.EndStreams("", "UNAVAILABLE")
	l.PublishOrders(100)
	l.Pass(time.Hour)
}

func skewedStart(t *testing.T, skew time.Duration) {
	l := lab.New(t, sfstreamtest.WithClockSkew(skew))
	l.PublishOrders(1)
	l.Pass(90 * time.Minute)
	l.Follow()
	if m, want := l.Marker(lab.LabOrders), time.Now().Add(skew); !m.Live.Equal(want) {
		t.Errorf("Live is %v, want %v", m.Live, want)
	}
	l.Outage(time.Minute, func() { l.PublishOrders(2) })
	l.Expect(2)
	l.Stop()
	l.PublishOrders(3)
	l.Follow()
	l.Expect(3)
}

// serverRestart replaces the org behind an address by a new process with its log.
func serverRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "org.log")
	l := lab.New(t, sfstreamtest.WithLog(path))
	r := &relay{Server: l.Server}
	r.now.Store(l.Server)
	l.PublishOrders(1)
	l.Follow(sfstream.WithOrg(r), sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1)
	for n := 2; n < 8; n += 3 {
		l.PublishOrders(n)
		l.Must(l.Server.Close())
		l.Pass(time.Minute)
		next, err := sfstreamtest.Start(sfstreamtest.InMemory(), sfstreamtest.WithLog(path))
		l.Must(err)
		t.Cleanup(func() { _ = next.Close() })
		l.Server = next
		l.PublishOrders(n + 1)
		r.now.Store(next)
		l.Expect(n, n+1)
		l.PublishOrders(n + 2)
		l.Expect(n + 2)
	}
	// Before the org, which nothing else of the test outlives.
	l.Stop()
}

func twentyChannels(t *testing.T, trouble func(l *lab.Lab), logins int) {
	l := lab.New(t)
	l.Start()
	channels := subscribeMany(l, 20)
	for i, channel := range channels {
		l.PublishNumbers(channel, i)
		l.Expect(i)
	}
	if n := l.Logins(); n != 1 {
		t.Fatalf("%d logins before", n)
	}
	trouble(l)
	for i, channel := range channels {
		l.PublishNumbers(channel, 100+i)
		l.Expect(100 + i)
	}
	if n := l.Logins() - 1; n != logins {
		t.Errorf("%d logins, want %d", n, logins)
	}
}

// randomTrouble hurts a client a hundred times and compares all that came out,
// with what it was told to do being drawn from the test's seed.
func randomTrouble(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithBatchEvents(7))
	l.Start(sfstream.WithPrefetch(20))
	l.Subscribe(lab.LabOrders)
	l.Subscribe(lab.Accounts)
	troubles := []func(){
		l.DropConnections, l.GoAway,
		func() { l.EndStreams("", "UNAVAILABLE") },
		func() { l.EndStreams("", "OK") },
		func() { l.ExpireToken(); l.EndStreams("", "service.auth.error") },
		func() { l.Duplicate("", 5); l.DropConnections() },
		func() { l.Reject("", 2, "INTERNAL"); l.DropConnections() },
		func() { l.FailLogin(1, "503"); l.ExpireToken(); l.DropConnections() },
		func() { l.Pass(20 * time.Minute) },
		func() {
			l.ClearFaults()
			l.Stop()
			l.Start(sfstream.WithPrefetch(20))
			l.Subscribe(lab.Accounts)
			l.Subscribe(lab.LabOrders)
		},
	}
	// Not random but every pair of troubles in a row: what fails can be run again.
	var got, want [2][]int
	next := 0
	for i := range troubles {
		for j := range troubles {
			for _, trouble := range []func(){troubles[i], troubles[j]} {
				for range 3 {
					l.PublishOrders(next)
					l.ChangeAccount(next)
					want[0], want[1] = append(want[0], next), append(want[1], next)
					next++
				}
				trouble()
			}
			// Take some of what is there and leave some: stop puts it back.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for range 8 {
				m, err := l.Client.Receive(ctx)
				if err != nil {
					break
				}
				m.Ack()
				of := 0
				if m.Channel == lab.Accounts {
					of = 1
				}
				got[of] = append(got[of], l.Number(m))
			}
			cancel()
		}
	}
	for len(got[0])+len(got[1]) < len(want[0])+len(want[1]) {
		m := l.Receive()
		m.Ack()
		of := 0
		if m.Channel == lab.Accounts {
			of = 1
		}
		got[of] = append(got[of], l.Number(m))
	}
	l.ExpectQuiet(time.Hour)
	for i := range got {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("got  %v\nwant %v", got[i], want[i])
		}
	}
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	if strings.Contains(l.Log.String(), "level=ERROR") {
		t.Error("an error was logged")
	}
}
