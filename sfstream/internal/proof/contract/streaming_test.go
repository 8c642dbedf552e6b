package contract

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingRules are the rules that the Streaming API needs in words of its own, because all its
// channels share a session.
func streamingRules() []rule {
	return []rule{
		{number: 5, words: "adding and removing channels leaves the session of the others as it is", run: channelsComeAndGo, only: sfstream.CometD},
		{number: 5, words: "a channel that comes back at once is followed without a gap", run: channelComesBack, only: sfstream.CometD},
		{number: 8, words: "a session at the bound polls no more, and one reply may pass it", run: sessionBound, only: sfstream.CometD},
		{number: 8, words: "a channel that is full holds up the others for half a minute at most", run: fullChannel, only: sfstream.CometD},
		{number: 8, words: "a session that waits for room for hours is resumed silently", run: parkedSession, only: sfstream.CometD},
		{number: 10, words: "a channel that is refused on a reconnect disturbs no other", run: refusedChannel, only: sfstream.CometD},
		{number: 10, words: "a channel that is refused for good ends the client, or only itself", run: refusedForGood, only: sfstream.CometD},
		{number: 10, words: "one session has one backoff", run: oneBackOff, only: sfstream.CometD},
		{number: 10, words: "progress resets the backoff of the session", run: backOffBeginsAnew, only: sfstream.CometD},
		{number: 10, words: "channels that are denied together cost one login", run: deniedTogether, only: sfstream.CometD},
		{number: 11, words: "Close says goodbye and leaves no session behind", run: closeSaysGoodbye, only: sfstream.CometD},
		{number: 11, words: "Close during a held poll takes no 300 ms of real time", run: closeIsQuick, only: sfstream.CometD, realTime: true},
	}
}

func channelsComeAndGo(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	for round := range 10 {
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
		s.PublishNext(lab.Orders, 1)
		s.PublishNext(lab.Invoices, 1)
		var got []string
		for range 2 {
			m := receive(t, c)
			m.Ack()
			got = append(got, m.Channel+" "+m.ID)
		}
		slices.Sort(got)
		number := strconv.Itoa(round + 1)
		if !slices.Equal(got, []string{lab.Invoices + " " + number, lab.Orders + " " + number}) {
			t.Fatalf("round %d: %v", round, got)
		}
		lab.Must(t, c.Unsubscribe(t.Context(), lab.Invoices))
		<-time.After(5 * time.Minute) // so that nothing of it is under way any more
		synctest.Wait()
	}
	if n := s.Handshakes(); n != 1 {
		t.Errorf("%d handshakes", n)
	}
	if n := len(s.Subscribes(lab.Orders)); n != 1 {
		t.Errorf("the other channel was subscribed %d times", n)
	}
}

func channelComesBack(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	next := map[string]int{lab.Orders: 1, lab.Invoices: 1}
	for range 50 {
		s.PublishNext(lab.Invoices, 2)
		s.PublishNext(lab.Orders, 1)
		lab.Must(t, c.Unsubscribe(t.Context(), lab.Invoices))
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
		for range 3 {
			m := receive(t, c)
			if m.ID != strconv.Itoa(next[m.Channel]) {
				t.Fatalf("%s: got %s, want %d", m.Channel, m.ID, next[m.Channel])
			}
			next[m.Channel]++
			m.Ack()
		}
	}
	lab.ExpectQuiet(t, c, time.Second)
}

func sessionBound(t *testing.T) {
	const prefetch, reply = 20, 50
	s := lab.New(t, sfstreamtest.WithReplyEvents(reply))
	s.PublishNext(lab.Orders, 1000)
	c := s.FollowFromOldest(sfstream.WithPrefetch(prefetch))
	var got []string
	for m := range c.Messages(t.Context()) {
		synctest.Wait()
		if held := c.Pending(); held > prefetch+reply {
			t.Fatalf("%d wait", held)
		}
		if got = append(got, m.ID); len(got) == 1000 {
			m.Ack()
			break
		}
	}
	lab.ExpectIDs(t, got, lab.IDs(1, 1000))
	if n := s.Handshakes(); n != 1 {
		t.Errorf("%d handshakes", n)
	}
}

func fullChannel(t *testing.T) {
	s := lab.New(t, sfstreamtest.WithReplyEvents(5))
	c := s.FollowFromOldest(sfstream.WithPrefetch(5), sfstream.WithAck(sfstream.AckManual))
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	synctest.Wait()
	s.PublishNext(lab.Orders, 30)
	var unacked []*sfstream.Message
	for range 5 {
		m := receive(t, c)
		unacked = append(unacked, m)
	}
	for i := range 20 {
		s.PublishNext(lab.Invoices, 1)
		published := time.Now()
		for {
			m := receive(t, c)
			if m.Channel == lab.Orders { // one reply may pass the bound
				unacked = append(unacked, m)
				continue
			}
			if took := time.Since(published); took > 35*time.Second {
				t.Errorf("invoice %d came after %v", i, took)
			}
			m.Ack()
			break
		}
		<-time.After(time.Minute)
	}
	if n := s.Handshakes(); n > 3 {
		t.Errorf("%d handshakes", n)
	}
	for i := 0; i < 30; i++ {
		if i == len(unacked) {
			m := receive(t, c)
			unacked = append(unacked, m)
		}
		if unacked[i].ID != strconv.Itoa(i+1) {
			t.Fatalf("got %s, want %d", unacked[i].ID, i+1)
		}
		unacked[i].Ack()
	}
	lab.ExpectQuiet(t, c, time.Second)
}

func parkedSession(t *testing.T) {
	s := lab.New(t, sfstreamtest.WithReplyEvents(10))
	c := s.FollowFromOldest(sfstream.WithPrefetch(10))
	s.PublishNext(lab.Orders, 100)
	var got []string
	for m := range c.Messages(t.Context()) {
		if len(got)%40 == 0 {
			<-time.After(3 * time.Hour)
			synctest.Wait()
			if n, state := s.Sessions(), c.Status().Channels[0].State; n != 0 || state != sfstream.StateParked {
				t.Errorf("%d sessions, %s", n, state)
			}
		}
		if got = append(got, m.ID); len(got) == 100 {
			m.Ack()
			break
		}
	}
	lab.ExpectIDs(t, got, lab.IDs(1, 100))
	if w := s.Log.Warnings(""); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
	if n := s.Handshakes(); n > 4+3 { // the token has expired each time
		t.Errorf("%d handshakes", n)
	}
	lab.ExpectQuiet(t, c, time.Second)
}

func refusedChannel(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	synctest.Wait()
	for _, refusal := range []string{"503::Server is too busy. Please try your request again later.", "403::Subscription limit exceeded for this topic", "subscription.topic.cannot.subscribe"} {
		synctest.Wait() // a connect is held: the drop is one of the session
		handshakes := s.Handshakes()
		s.Reject(lab.Orders, 3, refusal)
		s.DropConnections()
		before := s.Published(lab.Orders)
		s.PublishNext(lab.Orders, 1)
		for range 5 {
			s.PublishNext(lab.Invoices, 1)
			published := time.Now()
			m := receive(t, c)
			if took := time.Since(published); m.Channel != lab.Invoices || took > time.Second {
				t.Errorf("%s: %s after %v", refusal, m.Channel, took)
			}
			m.Ack()
		}
		m := receive(t, c)
		if m.Channel != lab.Orders || m.ID != strconv.Itoa(before+1) {
			t.Errorf("%s: %s %s", refusal, m.Channel, m.ID)
		}
		m.Ack()
		if n := s.Handshakes() - handshakes; n > 2 { // one more for a login that may help a denied channel
			t.Errorf("%s: %d handshakes", refusal, n)
		}
	}
}

func refusedForGood(t *testing.T) {
	for _, drop := range []bool{false, true} {
		s := lab.New(t)
		var dropped []string
		c := s.FollowFromOldest(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
			dropped = append(dropped, channel)
			return drop
		}}))
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
		synctest.Wait()
		s.Reject(lab.Invoices, 1, "400::Query fields {Gone__c} do not exist on the topic entity")
		s.DropConnections()
		<-time.After(time.Minute)
		synctest.Wait()
		if !slices.Equal(dropped, []string{lab.Invoices}) {
			t.Errorf("dropped %v", dropped)
		}
		if !drop {
			if lab.ExpectError[*sfstream.ServerError](t, c.Err()).Channel != lab.Invoices {
				t.Error(c.Err())
			}
			continue
		}
		lab.Must(t, c.Err())
		if got := c.Subscriptions(); !slices.Equal(got, []string{lab.Orders}) {
			t.Errorf("subscriptions %v", got)
		}
		s.PublishNext(lab.Orders, 1)
		lab.ExpectID(t, c, "1")
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	}
}

// oneBackOff: what 20 channels share fails once for all of them.
func oneBackOff(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	for i := range 20 {
		channel := "/event/Channel" + strconv.Itoa(i) + "__e"
		s.Define(channel)
		lab.Must(t, c.Subscribe(t.Context(), channel))
	}
	synctest.Wait()
	before := s.Handshakes()
	s.ConcurrentLimit(5)
	s.DropConnections()
	began := time.Now()
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "1")
	took, n := time.Since(began), s.Handshakes()-before
	if n != 6 || took < 5*time.Minute {
		t.Errorf("%d handshakes in %v", n, took)
	}
	if n := s.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func backOffBeginsAnew(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithBackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(10*time.Second), 3)
	}))
	for n := range 5 { // 15 retries in all, 3 in a row
		synctest.Wait() // a connect is held, which the drop ends
		s.ConcurrentLimit(2)
		s.DropConnections()
		s.PublishNext(lab.Orders, 1)
		lab.ExpectID(t, c, strconv.Itoa(n+1))
		<-time.After(5 * time.Minute)
	}
}

func closeSaysGoodbye(t *testing.T) {
	s := lab.New(t)
	for i := range 5 {
		c := s.FollowFromOldest()
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
		<-time.After(time.Minute)
		synctest.Wait()
		if n := s.OpenConnects(); n != 1 {
			t.Errorf("%d connects are held", n)
		}
		lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
		if sessions, goodbyes := s.Sessions(), s.Disconnects(); sessions != 0 || goodbyes != i+1 {
			t.Errorf("%d sessions, %d disconnects", sessions, goodbyes)
		}
	}
	if n := s.DuplicateConnects(); n != 0 {
		t.Errorf("%d duplicate connects", n)
	}
}

func closeIsQuick(t *testing.T) {
	s := newLoopbackScene(t)
	for range 5 {
		c := s.FollowFromOldest()
		for s.OpenConnects() == 0 {
			time.Sleep(time.Millisecond) // real time, another goroutine of the server
		}
		began := time.Now()
		lab.Must(t, c.Close())
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		if n := s.Sessions(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	}
}

func deniedTogether(t *testing.T) {
	const channels = 20
	l := lab.NewStreaming(t)
	l.Start()
	for i := range channels {
		channel := fmt.Sprintf("/u/lab/%d", i)
		l.Must(l.DefineGenericChannel(channel))
		l.Subscribe(channel)
	}
	l.Pass(5 * time.Minute)
	handshakes, logins := l.Handshakes(), l.Logins()
	for i := range channels {
		l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Channel: fmt.Sprintf("/u/lab/%d", i), Times: -1, Error: "403::No access on channel"})
	}
	l.UnknownClient(1)
	l.Pass(5 * time.Minute)
	if h, n := l.Handshakes()-handshakes, l.Logins()-logins; h > 3 || n != 1 {
		t.Errorf("%d handshakes, %d logins", h, n)
	}
	l.ClearFaults()
	l.PublishNumbers("/u/lab/7", 1)
	l.ExpectEach(map[string][]int{"/u/lab/7": {1}})
}
