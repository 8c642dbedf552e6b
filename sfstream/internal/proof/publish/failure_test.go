package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// TestAFailedRequestIsWhatItsErrorSays has the first request fail in each way that is known of
// servers. Where it may pass, three events are published by the next one.
func TestAFailedRequestIsWhatItsErrorSays(t *testing.T) {
	const (
		again   = "again"   // it was refused, and the next request is not
		login   = "login"   // after a new login
		doubt   = "doubt"   // it may have been carried out
		refused = "refused" // for good
	)
	for _, row := range []struct {
		code   codes.Code
		reason string
		text   string
		want   string
	}{
		{codes.Internal, "service.unavailable", "The service is unavailable.", doubt},
		{codes.Unavailable, "service.unavailable", "The service is unavailable.", doubt},
		{codes.Unauthenticated, "service.auth.error", "An authentication exception occurred.", login},
		{codes.Unauthenticated, "", "who are you", login},
		{codes.InvalidArgument, "service.auth.headers.invalid", "blank", refused},
		{codes.ResourceExhausted, "service.protection.triggered", "too many connections", again},
		{codes.ResourceExhausted, "service.protection.stream.limit.triggered", "too many requests", again},
		{codes.ResourceExhausted, "concurrent.client.limit.exceeded", "too many clients", again},
		{codes.PermissionDenied, "service.tenant.license", "no license", refused},
		{codes.NotFound, "topic.not.found", "The topic is not found.", refused},
		{codes.NotFound, "topic.meta.permission", "no access", refused},
		{codes.PermissionDenied, "topic.meta.permission", "no access", refused},
		{codes.Unavailable, "topic.api.unavailable", "lookup is down", again},
		{codes.Unavailable, "schema.api.unavailable", "lookup is down", again},
		{codes.InvalidArgument, "topic.validation.empty", "blank topic", refused},
		{codes.PermissionDenied, "schema.meta.permission", "no access", refused},
		{codes.InvalidArgument, "schema.validation.failed", "Schema validation failed.", refused},
		{codes.InvalidArgument, "publish.event.count.invalid", "no events", refused},
		{codes.InvalidArgument, "publish.topic.mismatch", "topic changed", refused},
		{codes.InvalidArgument, "publish.topic.validation.empty", "blank topic", refused},
		{codes.InvalidArgument, "", "an argument", refused},
		{codes.Unimplemented, "", "unknown service", refused},
		{codes.Unavailable, "", "upstream connect error or disconnect/reset before headers. reset reason: remote reset", doubt},
		{codes.Unavailable, "", "This application is down for maintenance", doubt},
		{codes.Internal, "", "Received RST_STREAM with code 0", doubt},
		{codes.Internal, "something.new", "a fault", doubt},
		{codes.Unknown, "", "a proxy's page", doubt},
		{codes.Canceled, "publish.stream.sweeper.timeout", "idle", doubt},
		{codes.DeadlineExceeded, "", "no answer", doubt},
		{codes.ResourceExhausted, "", "quota", again},
	} {
		for _, policy := range []sfstream.DoubtPolicy{sfstream.Resend, sfstream.Report} {
			t.Run(fmt.Sprint(row.code, row.reason, policy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBus(t)
					b.script = func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
						if n > 1 {
							return nil, nil
						}
						if row.want == doubt {
							b.publish(req) // it is carried out, and the answer is lost
						}
						return nil, failure(b.last(), row.code, row.reason, row.text)
					}
					c := b.client(sfstream.WithInDoubt(policy))
					results, err := c.Publish(t.Context(), channel, orders(3)...)
					outcome, requests, logins := sfstream.Published, 2, 1
					switch {
					case row.want == refused:
						outcome, requests = sfstream.Refused, 1
					case row.want == doubt && policy == sfstream.Report:
						outcome, requests = sfstream.InDoubt, 1
					case row.want == login:
						logins = 2
					}
					expectOutcomes(t, results, err, slices.Repeat([]sfstream.Outcome{outcome}, 3)...)
					b.expectTrue(results)
					if len(b.requests) != requests || b.logins != logins {
						t.Errorf("%d requests and %d logins, want %d and %d", len(b.requests), b.logins, requests, logins)
					}
					if outcome != sfstream.Published {
						e := lab.ExpectError[*sfstream.ServerError](t, err)
						lab.Contains(t, e.Error(), channel, row.text, "rpc-1")
					}
					for i, e := range b.requests[len(b.requests)-1].Events {
						if e.Id != b.requests[0].Events[i].Id {
							t.Errorf("event %d was sent again with another id", i)
						}
					}
					b.expectStillWorks(c)
				})
			})
		}
	}
}

// A broken connection leaves in doubt what was on it, and nothing else.
func TestABrokenConnectionLeavesItsRequestInDoubt(t *testing.T) {
	for _, policy := range []sfstream.DoubtPolicy{sfstream.Resend, sfstream.Report} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			b.script = func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
				if n == 2 {
					b.publish(req)
					b.cut()
				}
				return nil, nil
			}
			c := b.client(sfstream.WithInDoubt(policy))
			results, err := c.Publish(t.Context(), channel, orders(500)...)
			want := slices.Repeat([]sfstream.Outcome{sfstream.Published}, 500)
			if policy == sfstream.Report {
				copy(want[200:400], slices.Repeat([]sfstream.Outcome{sfstream.InDoubt}, 200))
			}
			expectOutcomes(t, results, err, want...)
			b.expectTrue(results)
			b.expectStillWorks(c)
		})
	}
}

func TestRefusedEventsAloneAreSentAgain(t *testing.T) {
	for _, row := range []struct {
		text    string
		refusal sfstream.Code
		times   int // that it is said; 0: for ever
		want    sfstream.Outcome
		tries   int
	}{
		{"LIMIT_EXCEEDED: the hourly limit", sfstream.LimitExceeded, 7, sfstream.Published, 8},
		{"Publishing failed because a service was temporarily unavailable. Try again later.", sfstream.Unavailable, 7, sfstream.Published, 8},
		{"nobody knows these words", sfstream.Internal, 2, sfstream.Published, 3},
		{"nobody knows these words", sfstream.Internal, 0, sfstream.Refused, 3},
		{"The event exceeds the maximum size", sfstream.Invalid, 0, sfstream.Refused, 1},
		{"no permission to create", sfstream.PermissionDenied, 0, sfstream.Refused, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			b.script = func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
				if row.times > 0 && n > row.times {
					return nil, nil
				}
				resp := &eventbus.PublishResponse{SchemaId: "schema1"}
				for _, e := range req.Events {
					if number := b.decode(e)["Number__c"].(float64); number >= 100 && number < 103 {
						resp.Results = append(resp.Results, refuse(e, row.text))
						continue
					}
					resp.Results = append(resp.Results, b.publish(&eventbus.PublishRequest{Events: []*eventbus.ProducerEvent{e}}).Results...)
				}
				return resp, nil
			}
			c := b.client()
			results, err := c.Publish(t.Context(), channel, orders(200)...)
			want := slices.Repeat([]sfstream.Outcome{sfstream.Published}, 200)
			want[100], want[101], want[102] = row.want, row.want, row.want
			expectOutcomes(t, results, err, want...)
			b.expectTrue(results)
			sizes := b.batches()
			if len(sizes) != row.tries || slices.ContainsFunc(sizes[1:], func(n int) bool { return n != 3 }) {
				t.Errorf("requests had %v events, want %d with 3 after the first one", sizes, row.tries)
			}
			if row.want == sfstream.Refused {
				e := lab.ExpectError[*sfstream.ServerError](t, results[101].Err)
				if e.Code != row.refusal || len(lab.ExpectError[*sfstream.PublishError](t, err).Unwrap()) != 3 {
					t.Errorf("event 101 has %v, of %v", e, err)
				}
			}
			b.expectStillWorks(c)
		})
	}
}

// Salesforce resets what is larger than it takes, and says nothing else.
func TestARequestThatIsResetAgainAndAgainIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.script = func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
			for _, e := range req.Events {
				if b.decode(e)["Number__c"].(float64) == 150 {
					return nil, status.Error(codes.Unavailable, "upstream connect error or disconnect/reset before headers. reset reason: remote reset")
				}
			}
			return nil, nil
		}
		c := b.client()
		results, err := c.Publish(t.Context(), channel, orders(300)...)
		want := slices.Repeat([]sfstream.Outcome{sfstream.Published}, 300)
		want[150] = sfstream.InDoubt
		expectOutcomes(t, results, err, want...)
		if sizes := b.batches(); len(sizes) > 30 {
			t.Errorf("it took %d requests: %v", len(sizes), sizes)
		}
		b.expectStillWorks(c)
	})
}

// What is known when a context ends is told: the first request is answered, the second is under
// way.
func TestTheEndOfACallLeavesTrueResults(t *testing.T) {
	for _, how := range []string{"deadline", "cancel", "close"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			b.script = func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
				if n == 2 {
					b.publish(req)
					<-b.last().Done()
					time.Sleep(time.Second) // no answer comes at the last moment
				}
				return nil, nil
			}
			c := b.client()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			wrapped := context.DeadlineExceeded
			switch how {
			case "cancel":
				time.AfterFunc(time.Second, cancel)
				wrapped = context.Canceled
			case "close":
				time.AfterFunc(time.Second, func() { _ = c.Close() })
				wrapped = sfstream.ErrClosed
			}
			results, err := c.Publish(ctx, channel, orders(500)...)
			want := slices.Repeat([]sfstream.Outcome{sfstream.Published}, 500)
			copy(want[200:], slices.Repeat([]sfstream.Outcome{sfstream.InDoubt}, 200))
			copy(want[400:], slices.Repeat([]sfstream.Outcome{sfstream.NotSent}, 100))
			expectOutcomes(t, results, err, want...)
			b.expectTrue(results)
			if !errors.Is(err, wrapped) || !errors.Is(results[300].Err, wrapped) || !errors.Is(results[450].Err, wrapped) {
				t.Errorf("the errors are %v, %v and %v", err, results[300].Err, results[450].Err)
			}
			if how != "close" {
				b.expectStillWorks(c)
			} else if _, err := c.Publish(t.Context(), channel, orders(1)...); !errors.Is(err, sfstream.ErrClosed) {
				t.Errorf("a closed client publishes: %v", err)
			}
		})
	}
}

// A call that waits to send again ends with its context.
func TestALimitIsWaitedForWithinTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.script = func(int, *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
			return nil, failure(b.last(), codes.ResourceExhausted, "service.protection.triggered", "too many")
		}
		c := b.client()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		results, err := c.Publish(ctx, channel, orders(2)...)
		expectOutcomes(t, results, err, sfstream.Refused, sfstream.Refused)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour || len(b.requests) > 250 || len(b.requests) < 60 {
			t.Errorf("after %v and %d requests: %v", time.Since(began), len(b.requests), err)
		}
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.LimitExceeded || !strings.Contains(err.Error(), "too many") {
			t.Errorf("the error is %v", err)
		}
		b.expectStillWorks(c)
	})
}

// Nobody listens: nothing has left, so nothing is in doubt.
func TestWhatCannotConnectIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		c := b.client()
		b.expectStillWorks(c)
		_ = b.listen.Close()
		b.cut()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		results, err := c.Publish(ctx, channel, orders(2)...)
		expectOutcomes(t, results, err, sfstream.NotSent, sfstream.NotSent)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

// While a call waits for a limit its token may expire more than once.
func TestEachTokenOfACallMayExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.script = func(n int, _ *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
			switch {
			case n > 8:
				return nil, nil
			case n%2 == 1:
				return nil, failure(b.last(), codes.Unauthenticated, "service.auth.error", "expired")
			}
			return nil, failure(b.last(), codes.ResourceExhausted, "service.protection.triggered", "too many")
		}
		c := b.client(sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(30 * time.Minute) }))
		results, err := c.Publish(t.Context(), channel, orders(2)...)
		expectOutcomes(t, results, err, sfstream.Published, sfstream.Published)
	})
}
