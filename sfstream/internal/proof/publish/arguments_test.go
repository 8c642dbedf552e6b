package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

func TestWhatCannotBeMeantIsRefusedBeforeAnythingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		c := b.client()
		id := "0b5f9b3c-9c1e-4d3e-8a53-0a1f6c9b7d21"
		for _, row := range []struct {
			channel string
			events  []any
			want    string
		}{
			{"/data/OrderChangeEvent", orders(1), "change the record"},
			{"/topic/Orders", orders(1), "change a record"},
			{"/event/Orders__chn", orders(1), "/event/Name__e"},
			{"Order__e", orders(1), "want /event/Name__e"},
			{"/event/Order__e?x=1", orders(1), "filter"},
			{channel, []any{[]order{{1, ""}, {2, ""}}}, "events..."},
			{channel, []any{&[]any{order{}}}, "events..."},
			{channel, []any{order{}, nil}, "event 1: it is nil"},
			{channel, []any{sfstream.Event{ID: id}}, "event 0: it is nil"},
			{channel, []any{(*order)(nil)}, "event 0: it is nil"},
			{channel, []any{sfstream.Event{ID: id + "x", Value: order{}}}, "36 characters"},
			{channel, []any{sfstream.Event{ID: "\xff", Value: order{}}}, "UTF-8"},
			{channel, []any{sfstream.Event{ID: id, Value: order{}}, order{}, &sfstream.Event{ID: id, Value: order{}}}, "events 0 and 2"},
			{"/u/x", []any{sfstream.Event{ID: id, Value: "x"}}, "generic events have no ids"},
		} {
			results, err := c.Publish(t.Context(), row.channel, row.events...)
			if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s %v: %v, want %q", row.channel, row.events, err, row.want)
			}
			if len(results) != len(row.events) || slices.ContainsFunc(results, func(r sfstream.PublishResult) bool { return r.Outcome != sfstream.NotSent || r.Err != err }) {
				t.Errorf("%s %v: %v", row.channel, row.events, results)
			}
		}
		if results, err := c.Publish(t.Context(), channel); err != nil || len(results) != 0 {
			t.Errorf("nothing to publish: %v, %v", results, err)
		}
		if b.asked+len(b.requests) > 0 {
			t.Errorf("the topic was asked for %d times, and %d requests were sent", b.asked, len(b.requests))
		}
		fresh, err := sfstream.New(authenticator.Static{AccessToken: "x", InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"})
		lab.Must(t, err)
		if _, err := fresh.Publish(t.Context(), channel, order{}); !errors.Is(err, sfstream.ErrNotOpen) {
			t.Errorf("before Open: %v", err)
		}
		if _, err := sfstream.New(authenticator.Static{}, sfstream.WithInDoubt(2)); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("a policy that is none: %v", err)
		}
	})
}

func TestAllEventsAreEncodedBeforeOneIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		c := b.client()
		results, err := c.Publish(t.Context(), channel, order{}, map[string]any{"Nomber__c": 1}, order{}, map[string]any{"Number__c": "one"})
		expectOutcomes(t, results, err, slices.Repeat([]sfstream.Outcome{sfstream.NotSent}, 4)...)
		for i, field := range map[int]string{1: "Nomber__c", 3: "Number__c"} {
			e := lab.ExpectError[*sfstream.EncodeError](t, results[i].Err)
			if e.Channel != channel || e.Index != i || e.Field != field || e.SchemaID != "schema1" {
				t.Errorf("event %d: %+v", i, e)
			}
			lab.Contains(t, err.Error(), field)
		}
		if len(b.requests) > 0 {
			t.Errorf("%d requests were sent", len(b.requests))
		}
		b.expectStillWorks(c)
	})
}

func TestAChannelThatCannotBePublishedOnIsAnError(t *testing.T) {
	for _, row := range []struct {
		change func(b *bus)
		code   sfstream.Code
		words  string
	}{
		{func(b *bus) { b.topic.CanPublish = false }, sfstream.PermissionDenied, "Create on the event"},
		{func(b *bus) {
			b.getTopic = func(int) error { return failure(context.Background(), codes.NotFound, "", "not there") }
		}, sfstream.NotFound, "spelling"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			row.change(b)
			c := b.client()
			results, err := c.Publish(t.Context(), channel, orders(2)...)
			expectOutcomes(t, results, err, sfstream.NotSent, sfstream.NotSent)
			e := lab.ExpectError[*sfstream.ServerError](t, err)
			if e.Code != row.code || !strings.Contains(e.Error(), row.words) {
				t.Errorf("the error is %v", e)
			}
			b.topic.CanPublish = true
			b.expectStillWorks(c) // a refusal is not kept
		})
	}
}

// A trouble of the questions that come first passes like any other.
func TestTheQuestionForTheTopicIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.getTopic = func(n int) error {
			if n < 4 {
				return failure(context.Background(), codes.Unavailable, "", "not now")
			}
			return nil
		}
		c := b.client()
		results, err := c.Publish(t.Context(), channel, orders(2)...)
		expectOutcomes(t, results, err, sfstream.Published, sfstream.Published)
		if b.asked != 4 {
			t.Errorf("the topic was asked for %d times", b.asked)
		}
	})
}

// What is refused for its schema is encoded anew, once.
func TestWhatIsRefusedForItsSchemaIsEncodedAnew(t *testing.T) {
	for _, whole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			c := b.client()
			b.expectStillWorks(c)
			b.schemas["schema2"] = orderSchema(`{"name":"More__c","type":["null","string"],"default":null}`)
			b.topic = &eventbus.TopicInfo{CanPublish: true, SchemaId: "schema2"}
			b.script = func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
				resp := &eventbus.PublishResponse{SchemaId: "schema2"}
				for _, e := range req.Events {
					if e.SchemaId == "schema2" {
						return nil, nil
					}
					resp.Results = append(resp.Results, refuse(e, "The schema of the event is not the current one"))
				}
				if whole {
					return nil, failure(b.last(), codes.InvalidArgument, "schema.validation.failed", "Schema validation failed.")
				}
				return resp, nil
			}
			results, err := c.Publish(t.Context(), channel, orders(3)...)
			expectOutcomes(t, results, err, sfstream.Published, sfstream.Published, sfstream.Published)
			b.expectTrue(results)
			if b.asked != 2 || len(b.requests) != 3 || b.requests[2].Events[0].Id != b.requests[1].Events[0].Id {
				t.Errorf("the topic was asked for %d times, and %d requests were sent", b.asked, len(b.requests))
			}
			b.expectStillWorks(c)
		})
	}
}

// CreatedById is a user's, or triggers of the org would not run.
func TestTheUserOfAStaticLoginIsAskedFor(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			asked := 0
			c := b.clientOf(authenticator.Static{AccessToken: "SECRET-static", InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"},
				sfstream.WithHTTPClient(&http.Client{Transport: lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
					if asked++; r.URL.Path != "/services/oauth2/userinfo" || r.Header.Get("Authorization") != "Bearer SECRET-static" {
						return nil, fmt.Errorf("%s is asked", r.URL)
					}
					if !known {
						return scripted.Body(403, "Bad_OAuth_Token"), nil
					}
					return scripted.Body(200, `{"user_id":"005000000000009AAA"}`), nil
				})}))
			results, err := c.Publish(t.Context(), channel, map[string]any{"CreatedById": user, "Number__c": 0})
			expectOutcomes(t, results, err, sfstream.Published)
			if asked != 0 {
				t.Error("the user was asked for, and the event says it")
			}
			results, err = c.Publish(t.Context(), channel, orders(2)...)
			if !known {
				expectOutcomes(t, results, err, sfstream.NotSent, sfstream.NotSent)
				e := lab.ExpectError[*sfstream.EncodeError](t, err)
				if e.Field != "CreatedById" || !strings.Contains(e.Error(), "set the field") {
					t.Errorf("the error is %v", e)
				}
				return
			}
			expectOutcomes(t, results, err, sfstream.Published, sfstream.Published)
			b.expectStillWorks(c)
			if by := b.decode(b.there[1])["CreatedById"]; asked != 1 || by != "005000000000009AAA" {
				t.Errorf("the user was asked for %d times, and is %v", asked, by)
			}
		})
	}
}

// Who the user is may be a question that the org does not answer.
func TestTheQuestionForTheUserEndsWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBus(t).clientOf(authenticator.Static{AccessToken: "SECRET-static", InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"},
			sfstream.WithHTTPClient(&http.Client{Transport: lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}))
		p, err := c.Publisher(channel)
		lab.Must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := p.Publish(ctx, order{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ended := make(chan error)
		go func() {
			_, err := p.Publish(t.Context(), order{})
			ended <- err
		}()
		synctest.Wait()
		lab.Must(t, p.Close(t.Context()))
		if err := <-ended; !errors.Is(err, sfstream.ErrClosed) {
			t.Errorf("the error is %v", err)
		}
	})
}
