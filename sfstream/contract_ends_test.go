package sfstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// endRules prove what ends what.
func endRules() []rule {
	rules := []rule{
		{number: 10, words: "a ctx ends its own loop, and a later loop goes on", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1, 2, 3)
			for n := 1; n <= 3; n++ {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for m := range l.client.Messages(ctx) {
					if l.number(m) != n {
						t.Errorf("number %d, want %d", l.number(m), n)
					}
					m.Ack()
					cancel()
				}
				l.must(l.client.Err())
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "the ctx of Open and Subscribe bounds the call only", run: func(t *testing.T) {
			l := newLab(t)
			c := l.new()
			ctx, cancel := context.WithCancel(t.Context())
			l.must(c.Open(ctx))
			l.must(c.Subscribe(ctx, labOrders))
			cancel()
			l.pass(time.Hour)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "a ctx that ends yields no error, also from MessagesErr", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for m, err := range l.client.MessagesErr(ctx) {
				t.Errorf("%v, %v", m, err)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "transient trouble shows in the status and the log and ends nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.EndStreams("", "service.unavailable")
			l.Reject("", 3, "service.unavailable")
			l.pass(10 * time.Second)
			s := l.client.Status().Channels[0]
			if e := expectError[*sfstream.ServerError](t, s.LastError); e.Code != sfstream.Unavailable || s.LastErrorAt.IsZero() {
				t.Errorf("status %+v", s)
			}
			contains(t, l.log.String(), "action=retry", labOrders)
			l.pass(time.Hour)
			if s := l.client.Status().Channels[0]; s.Reconnects < 1 || s.State != sfstream.StateLive {
				t.Errorf("status %+v", s)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "WithReconnectTimeout ends with a TimeoutError", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithReconnectTimeout(5 * time.Minute))
			l.publish(1)
			l.pass(time.Hour) // connected: no outage
			l.expect(1)
			l.Refuse(true)
			l.DropConnections()
			began := time.Now()
			e := expectEnd[*sfstream.TimeoutError](l)
			if took := time.Since(began); took != 5*time.Minute || e.Down != took || e.Channel != labOrders || !e.Timeout() {
				t.Errorf("after %v: %+v", took, e)
			}
			expectError[*sfstream.ServerError](t, e)
		}},
		{number: 10, words: "outages shorter than WithReconnectTimeout end nothing, however many", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithReconnectTimeout(5 * time.Minute))
			for n := range 10 {
				l.outage(3*time.Minute, func() { l.publish(n) })
				l.expect(n)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "an outage of one channel ends the client after WithReconnectTimeout", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithReconnectTimeout(5 * time.Minute))
			l.subscribe(labAccounts)
			l.Reject(labAccounts, -1, "UNAVAILABLE")
			l.EndStreams(labAccounts, "UNAVAILABLE")
			if e := expectEnd[*sfstream.TimeoutError](l); e.Channel != labAccounts {
				t.Errorf("%+v", e)
			}
		}},
		{number: 10, words: "backoff.Stop ends with a TimeoutError", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithBackOff(func() backoff.BackOff {
				return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Minute), 3)
			}))
			l.Refuse(true)
			l.DropConnections()
			began := time.Now()
			expectEnd[*sfstream.TimeoutError](l)
			if took := time.Since(began).Round(time.Second); took != 3*time.Minute {
				t.Errorf("it took %v", took)
			}
		}},
		{number: 10, words: "a custom backoff is used, one per channel, and reset by progress", run: func(t *testing.T) {
			l := newLab(t)
			var policies atomic.Int64
			l.follow(sfstream.WithBackOff(func() backoff.BackOff {
				policies.Add(1)
				return backoff.WithMaxRetries(backoff.NewConstantBackOff(10*time.Second), 3)
			}))
			l.subscribe(labAccounts)
			if n := policies.Load(); n != 2 {
				t.Errorf("%d policies for 2 channels", n)
			}
			for n := range 5 { // 15 retries in all, 3 in a row
				l.Reject(labOrders, 2, "UNAVAILABLE")
				l.EndStreams(labOrders, "UNAVAILABLE")
				l.publish(n)
				before := time.Now()
				l.expect(n)
				if took := time.Since(before).Round(time.Second); took != 30*time.Second {
					t.Errorf("it took %v", took)
				}
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "the default backoff grows to a minute and no further", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.Reject(labOrders, -1, "UNAVAILABLE")
			l.EndStreams(labOrders, "UNAVAILABLE")
			l.pass(12 * time.Hour)
			calls := l.Subscribes(labOrders)
			for i := range calls[1:] {
				if wait := calls[i+1].At.Sub(calls[i].At); wait > 61*time.Second {
					t.Errorf("a wait of %v", wait)
				}
			}
			if n := len(calls); n < 800 || n > 3000 { // 30 s on average
				t.Errorf("%d attempts in 12 hours", n)
			}
			l.ClearFaults()
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "a server that ends every stream at once is not stormed", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.Reject(labOrders, -1, "OK")
			l.EndStreams(labOrders, "OK")
			l.pass(time.Hour)
			if n := len(l.Subscribes(labOrders)); n > 300 {
				t.Errorf("%d attempts in an hour", n)
			}
			l.ClearFaults()
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "what the server says about when to come back is heeded", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.Reject(labOrders, 3, "subscription.limit.exceeded")
			l.EndStreams(labOrders, "subscription.limit.exceeded")
			l.publish(1)
			l.expect(1)
			calls := l.Subscribes(labOrders)
			if len(calls) != 5 {
				t.Fatalf("%d Subscribes", len(calls))
			}
			for i := range calls[1:] {
				if wait := calls[i+1].At.Sub(calls[i].At); wait < 10*time.Minute {
					t.Errorf("it came again after %v", wait)
				}
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "a wrong password on reconnect ends with an AuthError, after one login", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1)
			l.expect(1)
			l.FailLogin(-1, "invalid_grant")
			l.ExpireToken()
			l.EndStreams("", "service.auth.error")
			e := expectEnd[*sfstream.AuthError](l)
			contains(t, e.Error(), labOrders, l.LoginURL(), "check username, password")
			if n := l.Logins(); n != 2 {
				t.Errorf("%d logins", n)
			}
		}},
		{number: 10, words: "tokens that are refused one after the other end with an AuthError, after few logins", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			for i := range 20 {
				channel := fmt.Sprintf("/event/Lab%d__e", i)
				l.must(l.DefineEvent(channel, labSchema(fmt.Sprintf("Lab%d__e", i))))
				l.subscribe(channel)
			}
			l.Reject("", -1, "service.auth.error")
			l.EndStreams("", "service.auth.error")
			expectEnd[*sfstream.AuthError](l)
			if n := l.Logins(); n > 7 {
				t.Errorf("%d logins", n)
			}
		}},
		{number: 10, words: "a stream that delivers and then refuses the token costs few logins", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			for n := range 60 {
				l.publish(n)
				l.pass(10 * time.Second)
				l.EndStreams("", "service.auth.error")
				l.pass(10 * time.Second)
			}
			if n := l.Logins(); n > 15 {
				t.Errorf("%d logins in 20 minutes", n)
			}
			if err := l.client.Err(); err != nil {
				expectError[*sfstream.AuthError](t, err)
			}
		}},
		{number: 10, words: "permissions that go and come back cost no budget of refused tokens", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			channel := func(i int) string { return fmt.Sprintf("/event/Lab%d__e", i) }
			for i := range 8 {
				l.must(l.DefineEvent(channel(i), labSchema(fmt.Sprintf("Lab%d__e", i))))
				l.subscribe(channel(i))
			}
			for i := range 8 {
				l.Revoke(channel(i))
				l.pass(31 * time.Second)
				l.Grant(channel(i))
				l.DropConnections() // from now on all use the newest token
				l.pass(10 * time.Second)
			}
			l.ExpireToken()
			l.EndStreams("", "service.auth.error")
			for i := range 8 {
				l.expectStillWorks(channel(i))
			}
		}},
		{number: 10, words: "a malformed header ends at once: no token cures it", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.Reject(labOrders, 1, "service.auth.headers.invalid")
			l.EndStreams("", "UNAVAILABLE")
			if e := expectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
				t.Errorf("%+v", e)
			}
		}},
		{number: 10, words: "OnSubscriptionError may drop just that channel", run: func(t *testing.T) {
			l := newLab(t)
			var dropped []string
			var reason error
			l.follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
				dropped, reason = append(dropped, channel), err
				return true
			}}))
			l.subscribe(labAccounts)
			l.change(1, 2)
			l.expect(1, 2)
			l.Revoke(labAccounts)
			l.pass(15 * time.Minute)
			if !slices.Equal(dropped, []string{labAccounts}) {
				t.Errorf("dropped %q", dropped)
			}
			if e := expectError[*sfstream.ServerError](t, reason); e.Code != sfstream.PermissionDenied {
				t.Errorf("%+v", e)
			}
			if got := l.client.Subscriptions(); !slices.Equal(got, []string{labOrders}) {
				t.Errorf("subscriptions %q", got)
			}
			if err := l.client.Unsubscribe(t.Context(), labAccounts); !errors.Is(err, sfstream.ErrNotSubscribed) {
				t.Error(err)
			}
			l.expectStillWorks(labOrders)
			l.Grant(labAccounts)
			l.change(3)
			l.subscribe(labAccounts) // it may come again, and resumes
			l.expect(3)
		}},
		{number: 10, words: "OnSubscriptionError that returns false changes nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(string, error) bool { return false }}))
			l.Revoke(labOrders)
			expectEnd[*sfstream.ServerError](l)
		}},
		{number: 10, words: "OnSubscriptionError hears nothing of transient trouble, nor of a refused Subscribe", run: func(t *testing.T) {
			l := newLab(t)
			l.follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
				t.Errorf("%s: %v", channel, err)
				return false
			}}))
			if err := l.client.Subscribe(t.Context(), "/event/Nowhere__e"); err == nil {
				t.Error("accepted")
			}
			l.reconnect(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "a failed Subscribe leaves nothing, ends nothing and can be repeated", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			const late = "/event/Late__e"
			for range 3 {
				e := expectError[*sfstream.ServerError](t, l.client.Subscribe(t.Context(), late))
				if e.Code != sfstream.NotFound {
					t.Errorf("%+v", e)
				}
			}
			if got := l.client.Subscriptions(); !slices.Equal(got, []string{labOrders}) {
				t.Errorf("subscriptions %q", got)
			}
			if n := len(l.client.Status().Channels); n != 1 {
				t.Errorf("status has %d channels", n)
			}
			if m := l.marker(late); !m.Live.IsZero() {
				t.Errorf("marker %+v", m)
			}
			l.must(l.DefineEvent(late, labSchema("Late__e")))
			l.subscribe(late)
			l.expectStillWorks(late)
			l.expectStillWorks(labOrders)
			if n := l.Logins(); n != 1 {
				t.Errorf("%d logins", n)
			}
		}},
		{number: 10, words: "a failed Subscribe with From leaves the marker alone", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2)
			l.stop()
			want := l.marker(labOrders)
			l.start()
			l.Revoke(labOrders)
			if err := l.client.Subscribe(t.Context(), labOrders, sfstream.From(sfstream.ReplayAll)); err == nil {
				t.Error("accepted")
			}
			l.stop()
			if got := l.marker(labOrders); string(got.ReplayID) != string(want.ReplayID) {
				t.Errorf("marker %+v, want %+v", got, want)
			}
		}},
		{number: 10, words: "Subscribe retries what passes for 30 seconds", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			failSubscribe(t, l.Server, -1, "UNAVAILABLE")
			began := time.Now()
			err := l.client.Subscribe(t.Context(), labOrders)
			if took := time.Since(began); took != 30*time.Second {
				t.Errorf("it took %v", took)
			}
			if e := expectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			contains(t, err.Error(), labOrders)
			l.ClearFaults()
			failSubscribe(t, l.Server, 3, "UNAVAILABLE")
			l.subscribe(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "Subscribe ends with its ctx", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			failSubscribe(t, l.Server, -1, "UNAVAILABLE")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			if err := l.client.Subscribe(ctx, labOrders); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			l.ClearFaults()
			l.subscribe(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "Subscribe retries a login that fails for a moment", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.ExpireToken()
			l.FailLogin(4, "503")
			l.EndStreams("", "service.auth.error")
			synctest.Wait() // the token is dropped now, and the first login has failed
			l.must(l.client.Subscribe(t.Context(), labAccounts))
			synctest.Wait()
			l.change(1)
			l.expect(1)
		}},
		{number: 10, words: "Subscribe with a token that expired logs in once", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			l.ExpireToken()
			l.subscribe(labOrders)
			if n := l.Logins(); n != 2 {
				t.Errorf("%d logins", n)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "Subscribe whose new token is refused too fails, after one login", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			failSubscribe(t, l.Server, -1, "service.auth.error")
			e := expectError[*sfstream.ServerError](t, l.client.Subscribe(t.Context(), labOrders))
			if e.Code != sfstream.Unauthenticated {
				t.Errorf("%+v", e)
			}
			if n := l.Logins(); n != 2 {
				t.Errorf("%d logins", n)
			}
			l.ClearFaults()
			l.subscribe(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "a Subscribe whose ctx ends as it is accepted works or leaves nothing", run: func(t *testing.T) {
			l := newLab(t)
			var cancel atomic.Pointer[context.CancelFunc]
			l.start(sfstream.WithPubSubDialOptions(grpc.WithStreamInterceptor(
				func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
					s, err := stream(ctx, desc, cc, method, opts...)
					if stop := cancel.Load(); stop != nil {
						(*stop)() // the request is about to be sent
					}
					return s, err
				})))
			for range 50 {
				ctx, stop := context.WithCancel(t.Context())
				cancel.Store(&stop)
				err := l.client.Subscribe(ctx, labOrders)
				cancel.Store(nil)
				if err != nil {
					if !errors.Is(err, context.Canceled) || len(l.client.Subscriptions()) > 0 {
						t.Fatalf("%v; subscriptions %q", err, l.client.Subscriptions())
					}
					l.subscribe(labOrders)
				}
				synctest.Wait()
				l.expectStillWorks(labOrders)
				l.must(l.client.Unsubscribe(t.Context(), labOrders))
			}
		}},
		{number: 10, words: "what the stream rejects after GetTopic's yes is a matter of the link", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			l.Reject(labOrders, 1, "subscription.topic.cannot.subscribe")
			l.subscribe(labOrders) // accepted: GetTopic says so
			l.publish(1)
			l.expect(1) // and the first No may pass
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "before Open the loop ends at once with ErrNotOpen", run: func(t *testing.T) {
			l := newLab(t)
			c := l.new()
			for m := range c.Messages(t.Context()) {
				t.Errorf("%v", m)
			}
			if err := c.Err(); !errors.Is(err, sfstream.ErrNotOpen) {
				t.Error(err)
			}
			if err := c.Subscribe(t.Context(), labOrders); !errors.Is(err, sfstream.ErrNotOpen) {
				t.Error(err)
			}
			if _, err := c.Receive(t.Context()); !errors.Is(err, sfstream.ErrNotOpen) {
				t.Error(err)
			}
			var errs []error
			for m, err := range c.MessagesErr(t.Context()) {
				if m != nil {
					t.Errorf("%v", m)
				}
				errs = append(errs, err)
			}
			if len(errs) != 1 || !errors.Is(errs[0], sfstream.ErrNotOpen) {
				t.Errorf("%v", errs)
			}
			l.must(c.Open(t.Context()))
			l.subscribe(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "Open makes one attempt, and can be repeated", run: func(t *testing.T) {
			l := newLab(t)
			l.FailLogin(1, "503")
			c := l.new()
			expectError[*sfstream.AuthError](t, c.Open(t.Context()))
			if n := l.Logins(); n != 1 {
				t.Errorf("%d logins", n)
			}
			l.must(c.Open(t.Context()))
			l.must(c.Open(t.Context()))
			if n := l.Logins(); n != 2 {
				t.Errorf("%d logins", n)
			}
			l.subscribe(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 10, words: "messages queued before a terminal error are handed out, then MessagesErr yields it once", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1, 2, 3)
			synctest.Wait()
			if transportOf(t) == sfstream.CometD {
				l.Reject(labOrders, 1, "400::Query fields {Gone__c} do not exist on the topic entity")
			} else {
				l.Reject(labOrders, 1, "subscription.fetch.topic.mismatch")
			}
			l.EndStreams(labOrders, "UNAVAILABLE")
			l.pass(time.Minute)
			if l.client.Err() == nil {
				t.Fatal("the client has not ended")
			}
			var got []int
			var errs []error
			for m, err := range l.client.MessagesErr(t.Context()) {
				if err != nil {
					errs = append(errs, err)
					continue
				}
				got = append(got, l.number(m))
			}
			if !slices.Equal(got, []int{1, 2, 3}) || len(errs) != 1 {
				t.Errorf("got %v and %v", got, errs)
			}
			expectError[*sfstream.ServerError](t, errs[0])
			if err := l.client.Close(); !errors.Is(err, errs[0]) {
				t.Errorf("Close returned %v", err)
			}
			l.follow()
			l.expectStillWorks(labOrders) // 1 to 3 were handled
		}},
		{number: 10, words: "Err is nil after Close", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.stop()
			l.must(l.client.Err())
			if _, err := l.client.Receive(t.Context()); !errors.Is(err, sfstream.ErrClosed) {
				t.Error(err)
			}
			if err := l.client.Subscribe(t.Context(), labAccounts); !errors.Is(err, sfstream.ErrClosed) {
				t.Error(err)
			}
			for m, err := range l.client.MessagesErr(t.Context()) {
				t.Errorf("%v, %v", m, err)
			}
		}},
		{number: 10, words: "time in which other trouble kept it from asking does not make a denial final", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1)
			l.expect(1)
			l.Reject(labOrders, 2, "topic.meta.permission")
			l.EndStreams(labOrders, "UNAVAILABLE")
			l.pass(10 * time.Second) // denied, also after a new login
			l.Reject(labOrders, 1, "subscription.limit.exceeded")
			l.pass(5 * time.Minute)
			l.Reject(labOrders, 1, "topic.meta.permission") // the first answer after the limit
			l.publish(2)
			l.pass(10 * time.Minute)
			l.must(l.client.Err())
			l.expect(2)
		}},
	}
	denials := []string{"subscription.topic.cannot.subscribe", "topic.not.found", "topic.meta.permission", "service.tenant.license", "UNIMPLEMENTED", "PERMISSION_DENIED", "NOT_FOUND"}
	rules = append(rules, names("an accepted channel that is answered %s is tried for ten minutes, with one login", denials, func(t *testing.T, code string) {
		l := newLab(t)
		l.follow()
		l.publish(1)
		l.expect(1)
		l.Reject(labOrders, -1, code)
		l.EndStreams(labOrders, "UNAVAILABLE")
		l.publish(2)
		l.pass(9 * time.Minute)
		l.must(l.client.Err())
		l.ClearFaults()
		l.expect(2) // it came back

		began, logins := time.Now(), l.Logins()
		l.Reject(labOrders, -1, code)
		l.EndStreams(labOrders, code)
		e := expectEnd[*sfstream.ServerError](l)
		if e.Code != sfstream.PermissionDenied && e.Code != sfstream.NotFound || e.Channel != labOrders {
			t.Errorf("%+v", e)
		}
		if took := time.Since(began); took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("it took %v", took)
		}
		if n := l.Logins() - logins; n != 1 {
			t.Errorf("%d logins", n)
		}
	}, 10)...)
	return rules
}

// credentialsOf is an authenticator that logs in for real and gives what it is
// told to.
func credentialsOf(auth authenticator.Authenticator, change func(*authenticator.Credentials)) authenticator.Authenticator {
	return authFunc(func(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
		c, err := auth.Authenticate(ctx, login)
		if err == nil {
			change(c)
		}
		return c, err
	})
}
