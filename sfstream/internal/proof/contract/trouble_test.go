package contract

import (
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

// troubleRules prove that no trouble loses an event, whenever it comes.
func troubleRules() []rule {
	rules := []rule{
		{number: 5, words: "a server that restarts", run: serverRestart},
		{number: 5, words: "a token that expires under 20 channels costs one login", run: tokenExpires},
		{number: 5, words: "a token that expires while 20 channels are cut costs one login", run: tokenExpiresInCut},
		{number: 5, words: "tokens that expire every half hour never end a client", run: tokensExpire},
		{number: 5, words: "random trouble for a day, on a channel of orders and one of changes", run: randomTrouble},
	}
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

// hurt publishes a known sequence around some trouble, before and after the first event and with an
// unhandled one, and expects it back exactly.
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
	l.ExpectStillWorks(lab.Orders)
	expectGaps(l, 0)
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

// randomTrouble hurts a client a hundred times and compares all that came out, with what it was
// told to do being drawn from the test's seed.
func randomTrouble(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithBatchEvents(7))
	l.Start(sfstream.WithPrefetch(20))
	l.Subscribe(lab.Orders)
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
			l.Subscribe(lab.Orders)
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
	expectGaps(l, 0)
	if strings.Contains(l.Log.String(), "level=ERROR") {
		t.Error("an error was logged")
	}
}
