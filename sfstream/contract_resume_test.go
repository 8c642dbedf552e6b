package sfstream_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// endings are the ways in which streams end that mean nothing but "again".
var endings = []string{
	"OK",
	"UNAVAILABLE",
	"UNAVAILABLE: This application is down for maintenance",
	"UNAVAILABLE: HTTP/2 server reset the stream",
	"INTERNAL",
	"INTERNAL service.unavailable",
	"UNAVAILABLE service.unavailable",
	"service.protection.triggered",
	"service.protection.stream.limit.triggered",
	"concurrent.client.limit.exceeded",
	"topic.api.unavailable",
	"subscription.fetch.replay.repeated",
	"subscription.fetch.overflow",
	"subscription.internal.error",
	"subscription.limit.exceeded",
	"INTERNAL made.up.code: a text of next year",
	"made.up.code", // status UNKNOWN
	"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED",
}

// resumeRules prove that nothing is lost once Subscribe has succeeded.
func resumeRules() []rule {
	rules := []rule{
		{number: 5, words: "a drop before any response after ReplayNew loses nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			l.follow()
			l.pass(10 * time.Second)
			l.outage(time.Minute, func() { l.publish(2, 3) })
			l.expect(2, 3)
			l.expectSubscribe(labOrders, "EARLIEST", nil)
			l.expectStillWorks(labOrders)
			if n := l.gapCount(); n != 0 {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 5, words: "many drops before any response lose nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			l.follow()
			var want []int
			for n := 2; n < 10; n++ {
				l.outage(30*time.Second, func() { l.publish(n) })
				want = append(want, n)
			}
			l.expect(want...)
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "platform events are skipped only when an hour older than the start", run: func(t *testing.T) {
			l := newLab(t)
			start := time.Now().Add(2 * time.Hour)
			l.publishDated(1, start.Add(-time.Hour-2*time.Second)) // the clock of the Date header is cut to seconds
			l.publishDated(2, start.Add(-time.Hour+time.Second))
			l.pass(time.Until(start))
			l.follow()
			l.outage(time.Minute, func() { l.publish(3) })
			l.expect(2, 3)
		}},
		{number: 5, words: "change events are skipped only when ten minutes older than the start", run: func(t *testing.T) {
			l := newLab(t)
			l.change(1)
			l.pass(3 * time.Second)
			l.change(2)
			l.pass(10*time.Minute - time.Second)
			l.start()
			l.subscribe(labAccounts)
			l.outage(time.Minute, func() { l.change(3) })
			l.expect(2, 3)
		}},
		{number: 5, words: "an event that comes on a stream of new events is never skipped, whatever its date", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			for n := range 5 {
				l.publishDated(n, time.Now().Add(-5*time.Hour)) // a publisher with the wrong time zone
			}
			l.expect(0, 1, 2, 3, 4)
		}},
		{number: 5, words: "an event that comes after a keepalive is never skipped, whatever its date", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.pass(61 * time.Second)
			l.outage(time.Minute, func() { l.publishDated(1, time.Now().Add(-5*time.Hour)) })
			l.expect(1)
			l.publishDated(2, time.Now().Add(-5*time.Hour))
			l.expect(2)
		}},
		{number: 5, words: "after a keepalive at the end of a replay nothing is skipped", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			l.follow()
			l.outage(time.Second, func() {})
			l.pass(3 * time.Minute)
			l.publishDated(2, time.Now().Add(-5*time.Hour))
			l.expect(2)
		}},
		{number: 5, words: "the last skipped event is the position, and skipping goes on after it", run: func(t *testing.T) {
			l := newLab(t)
			skipped := l.publish(numbers(1, 150)...)
			l.pass(2 * time.Hour)
			l.follow(sfstream.WithPrefetch(100))
			l.reconnect(labOrders)
			l.expectSubscribe(labOrders, "EARLIEST", nil)
			l.pass(time.Second)
			l.reconnect(labOrders)
			l.expectSubscribe(labOrders, "CUSTOM", skipped[149].ReplayID)
			l.expectQuiet(time.Second)
			l.expectStillWorks(labOrders)
			l.stop()
			l.follow()
			l.expectQuiet(5 * time.Minute) // skipped events are handled
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "a drop in the middle of skipping skips the rest", run: func(t *testing.T) {
			l := newLab(t, sfstreamtest.WithBatchEvents(10))
			l.publish(numbers(1, 500)...)
			l.pass(2 * time.Hour)
			l.follow()
			l.Refuse(true)
			l.DropConnections()
			l.publish(501)
			l.Refuse(false)
			for range 20 { // each connection lives for a moment
				time.Sleep(100 * time.Millisecond)
				l.DropConnections()
			}
			l.expect(501)
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "the first Subscribe saves its start, and a restart begins there", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			start := time.Now()
			l.follow()
			if m := l.marker(labOrders); len(m.ReplayID) > 0 || !m.Live.Equal(start) {
				t.Errorf("marker %+v, want Live %v", m, start)
			}
			l.stop()
			l.publish(2)
			l.pass(24 * time.Hour)
			l.follow()
			l.expectSubscribe(labOrders, "EARLIEST", nil)
			l.expect(2)
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "a second restart from the saved start loses nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			for n := range 3 {
				l.follow()
				l.stop()
				l.publish(2 + n)
				l.pass(time.Hour)
			}
			l.follow()
			l.expect(2, 3, 4)
		}},
		{number: 5, words: "a keepalive id is saved at once where nothing was ever delivered", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.pass(time.Minute + 50*time.Millisecond)
			first := l.marker(labOrders)
			if len(first.ReplayID) == 0 || time.Since(first.Live) > 2*time.Second {
				t.Fatalf("marker %+v", first)
			}
			l.reconnect(labOrders)
			l.expectSubscribe(labOrders, "CUSTOM", first.ReplayID)
			l.stop()
			l.publish(1)
			l.follow()
			l.expect(1)
		}},
		{number: 5, words: "a keepalive id is saved only when all before it is handled", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithAck(sfstream.AckManual))
			event := l.publish(1)[0]
			m := l.receive()
			l.pass(5 * time.Minute)
			if got := l.marker(labOrders); len(got.ReplayID) > 0 {
				t.Errorf("the marker has passed an unhandled message: %+v", got)
			}
			l.reconnect(labOrders)
			quiet := l.lastSubscribe(labOrders).ReplayID
			if bytes.Equal(quiet, event.ReplayID) {
				t.Error("the reconnect did not resume at the keepalive's id")
			}
			m.Ack()
			l.pass(time.Second)
			if got := l.marker(labOrders); !bytes.Equal(got.ReplayID, quiet) {
				t.Errorf("marker %x, want the keepalive's %x", got.ReplayID, quiet)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "a keepalive id does not pass a message that comes after it and is unhandled", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithAck(sfstream.AckManual))
			l.pass(2 * time.Minute)
			one := l.publish(1)[0]
			l.receive().Ack()
			l.pass(2 * time.Minute)
			l.publish(2)
			l.receive() // never acked
			l.pass(10 * time.Minute)
			l.publish(3)
			l.receive().Ack()
			l.pass(10 * time.Minute)
			l.stop()
			got := l.marker(labOrders)
			if bytes.Compare(got.ReplayID, one.ReplayID) < 0 {
				t.Errorf("marker %x is before number 1", got.ReplayID)
			}
			l.follow()
			l.expect(2, 3)
		}},
		{number: 5, words: "the queue survives reconnects", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			events := l.publish(numbers(1, 50)...)
			synctest.Wait()
			if n := l.client.Pending(); n != 50 {
				t.Fatalf("%d waiting", n)
			}
			l.reconnect(labOrders)
			l.expectSubscribe(labOrders, "CUSTOM", events[49].ReplayID)
			l.publish(51)
			l.expect(numbers(1, 51)...)
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "cut connections", run: func(t *testing.T) {
			hurt(t, func(l *lab) { l.DropConnections() })
		}},
		{number: 5, words: "GOAWAY", run: func(t *testing.T) { hurt(t, func(l *lab) { l.GoAway() }) }},
		{number: 5, words: "GOAWAY and then a cut", run: func(t *testing.T) {
			hurt(t, func(l *lab) { l.GoAway(); synctest.Wait(); l.DropConnections() })
		}},
		{number: 5, words: "a dead connection that is cut later", run: func(t *testing.T) {
			hurt(t, func(l *lab) { l.Blackhole(); l.publish(100); l.pass(10 * time.Minute); l.DropConnections() }, 100)
		}},
		{number: 5, words: "a long outage", run: func(t *testing.T) {
			hurt(t, func(l *lab) { l.outage(30*time.Minute, func() { l.publish(100, 101) }) }, 100, 101)
		}},
		{number: 5, words: "an expired token and a cut", run: func(t *testing.T) {
			hurt(t, func(l *lab) { l.ExpireToken(); l.DropConnections() })
		}},
		{number: 5, words: "an org that moved to another instance", run: func(t *testing.T) {
			hurt(t, func(l *lab) { l.MoveInstance(); l.EndStreams("", "service.auth.error") })
		}},
		{number: 5, words: "logins that fail for a while", run: func(t *testing.T) {
			hurt(t, func(l *lab) {
				for _, kind := range []string{"503", "html", "empty", "timeout", "rate_limit_exceeded", "redirect", "unknown_error"} {
					l.FailLogin(1, kind)
				}
				l.ExpireToken()
				l.EndStreams("", "service.auth.error")
				l.publish(100)
				l.pass(time.Hour)
			}, 100)
		}},
		{number: 5, words: "a stream that is rejected ten times", run: func(t *testing.T) {
			hurt(t, func(l *lab) {
				l.Reject("", 10, "UNAVAILABLE")
				l.EndStreams("", "UNAVAILABLE")
				l.publish(100)
				l.pass(time.Hour)
			}, 100)
		}},
		{number: 5, words: "a server that restarts", run: serverRestart},
		{number: 5, words: "a stream without demand that the server ends is resumed silently", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithPrefetch(10), sfstream.WithReconnectTimeout(time.Minute))
			l.publish(numbers(1, 30)...)
			l.pass(time.Hour) // the loop's body is slow; the server ended the stream after a minute
			if n := l.Streams(labOrders); n != 0 {
				t.Errorf("%d streams", n)
			}
			l.Reject("", 1, "UNAVAILABLE") // an hour of waiting for room is not an hour of outage
			l.expect(numbers(1, 30)...)
			l.expectStillWorks(labOrders)
		}},
		{number: 5, words: "a token that expires under 20 channels costs one login", run: func(t *testing.T) {
			twentyChannels(t, func(l *lab) { l.ExpireToken(); l.EndStreams("", "service.auth.error") }, 1)
		}},
		{number: 5, words: "a token that expires while 20 channels are cut costs one login", run: func(t *testing.T) {
			twentyChannels(t, func(l *lab) { l.ExpireToken(); l.DropConnections() }, 1)
		}},
		{number: 5, words: "tokens that expire every half hour never end a client", run: func(t *testing.T) {
			twentyChannels(t, func(l *lab) {
				for range 12 {
					l.pass(time.Second) // no request is on its way that would notice before EndStreams
					l.ExpireToken()
					l.EndStreams("", "service.auth.error")
					l.pass(30 * time.Minute)
				}
			}, 12)
		}},
		{number: 5, words: "ReplayNew may miss what comes before routing is live, ReplaySince does not", run: func(t *testing.T) {
			l := newLab(t, sfstreamtest.WithRoutingDelay(3*time.Second))
			l.follow()
			l.publish(1) // the documented loss
			l.pass(4 * time.Second)
			l.publish(2)
			l.expect(2)
			l.must(l.client.Unsubscribe(t.Context(), labOrders))
			l.pass(2 * time.Hour)
			l.subscribe(labOrders, sfstream.From(sfstream.ReplaySince(time.Now())))
			l.publish(3)
			l.expect(3)
		}},
		{number: 5, words: "random trouble for a day, on a channel of orders and one of changes", run: randomTrouble},
	}
	for _, skew := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		rules = append(rules, rule{number: 5, words: fmt.Sprintf("the start is Salesforce's time, also %v off ours", skew), run: func(t *testing.T) {
			l := newLab(t, sfstreamtest.WithClockSkew(skew))
			l.publish(1)
			l.pass(90 * time.Minute)
			l.follow()
			if m, want := l.marker(labOrders), time.Now().Add(skew); !m.Live.Equal(want) {
				t.Errorf("Live is %v, want %v", m.Live, want)
			}
			l.outage(time.Minute, func() { l.publish(2) })
			l.expect(2)
			l.stop()
			l.publish(3)
			l.follow()
			l.expect(3)
		}})
	}
	rules = append(rules, names("a stream that ends with %s", endings, func(t *testing.T, ending string) {
		hurt(t, func(l *lab) { l.EndStreams("", ending); l.publish(100) }, 100)
	}, 5)...)
	return append(rules, names("a Subscribe that is answered with %s", endings, func(t *testing.T, ending string) {
		hurt(t, func(l *lab) { l.Reject("", 2, ending); l.DropConnections(); l.publish(100) }, 100)
	}, 5)...)
}

// hurt publishes a known sequence around some trouble, before and after the
// first event and with an unhandled one, and expects it back exactly.
func hurt(t *testing.T, trouble func(l *lab), during ...int) {
	newLab(t).hurt(nil, trouble, during...)
}

func (l *lab) hurt(opts []sfstream.Option, trouble func(l *lab), during ...int) {
	l.t.Helper()
	l.publish(1)
	l.pass(2 * time.Hour)
	l.follow(opts...)

	trouble(l) // before any response
	l.expect(during...)
	l.publish(2, 3)
	l.expect(2, 3)

	trouble(l) // with a position
	l.expect(during...)
	l.publish(4)
	l.expect(4)

	l.publish(5, 6)
	synctest.Wait()
	m := l.receive() // and in the middle of a body
	trouble(l)
	m.Ack()
	l.expect(append([]int{6}, during...)...)
	l.pass(20 * time.Minute)
	l.expectStillWorks(labOrders)
	if n := l.gapCount(); n != 0 {
		l.t.Errorf("%d gaps", n)
	}
	l.stop()
	l.publish(7)
	l.follow(opts...)
	l.expect(7)
}

// serverRestart replaces the org behind an address by a new process with its log.
func serverRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "org.log")
	l := newLab(t, sfstreamtest.WithLog(path))
	r := newRelay(l.Server)
	l.publish(1)
	l.follow(sfstream.WithOrg(r), sfstream.WithReplay(sfstream.ReplayAll))
	l.expect(1)
	for n := 2; n < 8; n += 3 {
		l.publish(n)
		l.must(l.Server.Close())
		l.pass(time.Minute)
		next, err := sfstreamtest.Start(sfstreamtest.InMemory(), sfstreamtest.WithLog(path))
		l.must(err)
		t.Cleanup(func() { _ = next.Close() })
		l.Server = next
		l.publish(n + 1)
		r.now.Store(next)
		l.expect(n, n+1)
		l.publish(n + 2)
		l.expect(n + 2)
	}
	// Before the org, which nothing else of the test outlives.
	l.stop()
}

func twentyChannels(t *testing.T, trouble func(l *lab), logins int) {
	l := newLab(t)
	l.start()
	channel := func(i int) string { return fmt.Sprintf("/event/Lab%d__e", i) }
	for i := range 20 {
		l.must(l.DefineEvent(channel(i), labSchema(fmt.Sprintf("Lab%d__e", i))))
		l.subscribe(channel(i))
		l.publishOn(channel(i), i)
		l.expect(i)
	}
	if n := l.Logins(); n != 1 {
		t.Fatalf("%d logins before", n)
	}
	trouble(l)
	for i := range 20 {
		l.publishOn(channel(i), 100+i)
		l.expect(100 + i)
	}
	if n := l.Logins() - 1; n != logins {
		t.Errorf("%d logins, want %d", n, logins)
	}
}

// randomTrouble hurts a client a hundred times and compares all that came out,
// with what it was told to do being drawn from the test's seed.
func randomTrouble(t *testing.T) {
	l := newLab(t, sfstreamtest.WithBatchEvents(7))
	l.start(sfstream.WithPrefetch(20))
	l.subscribe(labOrders)
	l.subscribe(labAccounts)
	troubles := []func(){
		l.DropConnections, l.GoAway,
		func() { l.EndStreams("", "UNAVAILABLE") },
		func() { l.EndStreams("", "OK") },
		func() { l.ExpireToken(); l.EndStreams("", "service.auth.error") },
		func() { l.Duplicate("", 5); l.DropConnections() },
		func() { l.Reject("", 2, "INTERNAL"); l.DropConnections() },
		func() { l.FailLogin(1, "503"); l.ExpireToken(); l.DropConnections() },
		func() { l.pass(20 * time.Minute) },
		func() {
			l.ClearFaults()
			l.stop()
			l.start(sfstream.WithPrefetch(20))
			l.subscribe(labAccounts)
			l.subscribe(labOrders)
		},
	}
	// Not random but every pair of troubles in a row: what fails can be run again.
	var got, want [2][]int
	next := 0
	for i := range troubles {
		for j := range troubles {
			for _, trouble := range []func(){troubles[i], troubles[j]} {
				for range 3 {
					l.publish(next)
					l.change(next)
					want[0], want[1] = append(want[0], next), append(want[1], next)
					next++
				}
				trouble()
			}
			// Take some of what is there and leave some: stop puts it back.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for range 8 {
				m, err := l.client.Receive(ctx)
				if err != nil {
					break
				}
				m.Ack()
				of := 0
				if m.Channel == labAccounts {
					of = 1
				}
				got[of] = append(got[of], l.number(m))
			}
			cancel()
		}
	}
	for len(got[0])+len(got[1]) < len(want[0])+len(want[1]) {
		m := l.receive()
		m.Ack()
		of := 0
		if m.Channel == labAccounts {
			of = 1
		}
		got[of] = append(got[of], l.number(m))
	}
	l.expectQuiet(time.Hour)
	for i := range got {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("got  %v\nwant %v", got[i], want[i])
		}
	}
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	if strings.Contains(l.log.String(), "level=ERROR") {
		t.Error("an error was logged")
	}
}

var _ = replaystore.Marker{}
