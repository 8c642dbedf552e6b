package main

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/near"
)

// channelFacts are the facts of a finding about a channel.
type channelFacts struct {
	Channel      string `json:"channel"`
	API          string `json:"api"` // pubsub or cometd
	CanSubscribe bool   `json:"canSubscribe"`
	CanPublish   bool   `json:"canPublish"` // by the Pub/Sub API
	SchemaID     string `json:"schemaId,omitempty"`
}

// checkChannels examines the channels, all at once.
func checkChannels(ctx context.Context, p *patient) []finding {
	if len(p.channels) == 0 {
		return nil
	}
	p.progress.trying("get an answer about %s", strings.Join(p.channels, ", "))
	list := make([]finding, len(p.channels))
	var wg sync.WaitGroup
	for i, channel := range p.channels {
		wg.Go(func() { list[i] = p.checkChannel(ctx, channel) })
	}
	wg.Wait()
	return list
}

func (p *patient) checkChannel(ctx context.Context, channel string) finding {
	streaming := strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/")
	switch {
	case p.creds == nil:
		return found(channel, untried, "there is no login")
	case p.bus.refused && streaming && isJWT(p.creds.AccessToken):
		return found(channel, untried, "the Streaming API takes no JWT either")
	case streaming:
		return p.checkStreaming(ctx, channel)
	case !p.bus.reached:
		return found(channel, untried, "gRPC does not get through to the Pub/Sub API, which serves it")
	case p.bus.refused:
		return found(channel, untried, "the Pub/Sub API, which serves it, does not take the login")
	}
	info, err := p.topic(ctx, channel)
	switch st := status.Convert(err); st.Code() {
	case codes.OK:
	case codes.NotFound:
		return p.missing(ctx, channel)
	case codes.PermissionDenied:
		return p.denied(channel)
	default:
		return found(channel, wrong, "the Pub/Sub API says %s: %s", st.Code(), saidBy(err)).
			fix("try again; if it stays, Salesforce may be in trouble (status.salesforce.com)")
	}
	if !info.CanSubscribe {
		return p.denied(channel)
	}
	facts := channelFacts{Channel: channel, API: "pubsub", CanSubscribe: true, CanPublish: info.CanPublish, SchemaID: info.SchemaId}
	publish := "and publish"
	if !info.CanPublish {
		publish = "and not publish"
	}
	schema := "the schema is " + info.SchemaId
	if info.SchemaId == "" {
		schema = "each kind of event has a schema of its own"
	}
	return found(channel, fine, "the Pub/Sub API serves it; the user may subscribe %s; %s", publish, schema).with(facts)
}

// user names the user who is logged in.
func (p *patient) user() string {
	if p.org.username == "" {
		return "the user"
	}
	return "the user " + p.org.username
}

// denied says that the user may not subscribe, and what permission is missing.
func (p *patient) denied(channel string) finding {
	f := found(channel, wrong, "%s may not subscribe to it", p.user())
	const where = "Setup, Permission Sets, one that the user has, Object Settings"
	name := channel[strings.LastIndex(channel, "/")+1:]
	switch object := changedObject(name); {
	case strings.HasPrefix(channel, "/topic/"):
		return f.fix("give the user Read on PushTopic and on the object and the fields of its query: %s", where)
	case strings.HasPrefix(channel, "/u/"):
		return f.fix("give the user Read on Streaming Channels: %s", where)
	case channel == everyChange:
		return f.fix("give the user View All Data and View All Users, or follow the channels of single objects")
	case strings.HasPrefix(channel, "/data/") && object != "":
		return f.fix("give the user View All on %s (of User: View All Users): %s", object, where)
	}
	return f.fix("give the user Read on %s: %s", name, where)
}

// changedObject returns the object of whose changes a name of an event tells: Account of
// AccountChangeEvent, Order__c of Order__ChangeEvent; empty if it is no such name.
func changedObject(name string) string {
	object, ok := strings.CutSuffix(name, "ChangeEvent")
	switch {
	case !ok || object == "":
		return ""
	case strings.HasSuffix(object, "__"):
		return object + "c"
	}
	return object
}

// missing says why a channel of the Pub/Sub API does not exist.
func (p *patient) missing(ctx context.Context, channel string) finding {
	prefix, name := "/event/", strings.TrimPrefix(channel, "/event/")
	if rest, ok := strings.CutPrefix(channel, "/data/"); ok {
		prefix, name = "/data/", rest
	}
	if strings.HasSuffix(name, "__chn") {
		other := map[string]string{"/event/": "/data/", "/data/": "/event/"}[prefix]
		if names, err := p.names(ctx, other, name); err == nil && slices.Contains(names, name) {
			return found(channel, wrong, "the org has %s, and not this one", other+name).fix("did you mean %s?", other+name)
		}
		f := found(channel, wrong, "the org has no channel %s", name)
		return f.fix("%s", cmp.Or(p.near(ctx, prefix, name), "check the name, letter by letter; \"SELECT DeveloperName FROM PlatformEventChannel\" lists them by the Tooling API"))
	}
	if prefix == "/event/" {
		f := found(channel, wrong, "the org has no platform event %s, or %s may not see it", name, p.user())
		return f.fix("%s", cmp.Or(p.near(ctx, prefix, name), "check the name, letter by letter (Setup, Platform Events; the API name ends in __e), and that the user has Read on it"))
	}
	object := changedObject(name)
	if object == "" {
		return found(channel, wrong, "there is no such channel").
			fix("the changes of an object are on /data/AccountChangeEvent, or /data/Order__ChangeEvent for Order__c; those of all objects on %s", everyChange)
	}
	switch known, err := p.hasObject(ctx, object); {
	case err != nil:
		return found(channel, wrong, "there is no such channel: either the org has no object %s, or Change Data Capture is not switched on for it", object).
			fix("select %s in Setup, Change Data Capture", object)
	case known:
		return found(channel, wrong, "Change Data Capture is not switched on for %s", object).
			fix("select %s in Setup, Change Data Capture (or add it to a custom channel, and follow that)", object)
	}
	f := found(channel, wrong, "the org has no object %s, or %s may not see it", object, p.user())
	return f.fix("%s", cmp.Or(p.near(ctx, prefix, name), "check the name, letter by letter (Setup, Object Manager), and that the user may see the object"))
}

// hasObject reports whether the user can see an object.
func (p *patient) hasObject(ctx context.Context, object string) (bool, error) {
	var described struct{ Name string }
	err := p.get(ctx, "sobjects/"+url.PathEscape(object)+"/describe", &described)
	if e, ok := errors.AsType[*sfstream.ServerError](err); ok && (e.Reason == "NOT_FOUND" || e.Reason == "INVALID_TYPE") {
		return false, nil
	}
	return err == nil, err
}

// near returns an advice with the name that was probably meant, or with all names if they are few;
// empty if it knows none.
func (p *patient) near(ctx context.Context, prefix, name string) string {
	names, err := p.names(ctx, prefix, name)
	if err != nil {
		return "" // it is a help only
	}
	const few = 5
	if best := near.Word(name, names, 1); best != "" {
		return "did you mean " + prefix + best + "?"
	}
	if len(names) == 0 || len(names) > few {
		return ""
	}
	return "the org has " + prefix + strings.Join(names, ", "+prefix)
}

// names returns the names that channels with a prefix can have, custom ones and those like name.
func (p *patient) names(ctx context.Context, prefix, name string) (names []string, err error) {
	if strings.HasSuffix(name, "__chn") {
		var channels struct {
			Records []struct{ DeveloperName, ChannelType string }
		}
		err := p.get(ctx, "tooling/query/?q="+url.QueryEscape("SELECT DeveloperName, ChannelType FROM PlatformEventChannel"), &channels)
		for _, c := range channels.Records {
			if strings.EqualFold("/"+c.ChannelType+"/", prefix) {
				names = append(names, c.DeveloperName+"__chn")
			}
		}
		return names, err
	}
	suffix := "__e"
	if prefix == "/data/" {
		suffix = "ChangeEvent"
	}
	var all struct{ SObjects []struct{ Name string } }
	err = p.get(ctx, "sobjects/", &all)
	for _, o := range all.SObjects {
		if strings.HasSuffix(o.Name, suffix) {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return names, err
}

// subscribeTime bounds how long the Streaming API may take to accept a channel: a handshake, a
// subscribe and what the client repeats of them.
const subscribeTime = 8 * time.Second

// checkStreaming subscribes to a channel of the Streaming API, because nothing else tells whether
// the user may, and unsubscribes.
func (p *patient) checkStreaming(ctx context.Context, channel string) finding {
	ctx, cancel := context.WithTimeout(ctx, subscribeTime)
	defer cancel()
	err := p.client.Subscribe(ctx, channel)
	if err == nil {
		_ = p.client.Unsubscribe(ctx, channel) // Close ends what that cannot
		return found(channel, fine, "the Streaming API serves it; the user may subscribe").
			with(channelFacts{Channel: channel, API: "cometd", CanSubscribe: true})
	}
	e, ok := errors.AsType[*sfstream.ServerError](err)
	if !ok {
		what, _ := explain(err)
		return found(channel, wrong, "the Streaming API: %s", what).
			fix("a proxy must let requests of the Streaming API to %s wait for two minutes", p.creds.InstanceURL)
	}
	said := cmp.Or(e.Message, e.Reason)
	switch e.Code {
	case sfstream.NotFound, sfstream.PermissionDenied:
		return p.refusedStreaming(ctx, channel, e.Code == sfstream.NotFound)
	case sfstream.LimitExceeded:
		if p.org.exhausted {
			return found(channel, untried, "a quota is used up: %s", said)
		}
		return found(channel, wrong, "a limit is reached: %s", said).
			fix("wait, or end clients of the Streaming API that nobody needs; its limits are in Setup, Company Information")
	case sfstream.Unauthenticated:
		if p.bus.refused || p.org.noREST == noLoginByREST {
			return found(channel, untried, "no API takes the login")
		}
		return found(channel, wrong, "the Streaming API does not take the login: %s", said).
			fix("sessions must not be locked to an IP address (Setup, Session Settings)")
	}
	return found(channel, wrong, "the Streaming API says: %s", said).
		fix("a proxy must let requests of the Streaming API to %s wait for two minutes", p.creds.InstanceURL)
}

// refusedStreaming says why the Streaming API refuses a channel. Its errors hardly tell a channel
// that does not exist from one that the user may not see: the records of channels do.
func (p *patient) refusedStreaming(ctx context.Context, channel string, missing bool) finding {
	bare, _, _ := strings.Cut(channel, "?")
	kind, name, soql := "PushTopic", strings.TrimPrefix(bare, "/topic/"), "SELECT Name, IsActive FROM PushTopic"
	if strings.HasPrefix(channel, "/u/") {
		kind, name, soql = "StreamingChannel", bare, "SELECT Name FROM StreamingChannel"
	}
	var channels struct {
		Records []struct {
			Name     string
			IsActive *bool
		}
	}
	err := p.query(ctx, soql, &channels)
	var names []string
	for _, c := range channels.Records {
		names = append(names, c.Name)
		switch active := c.IsActive == nil || *c.IsActive; {
		case c.Name == name && !active:
			return found(channel, wrong, "the PushTopic %s is not active", name).fix("set its field IsActive, by REST or in the Developer Console")
		case c.Name == name:
			return p.denied(channel)
		}
	}
	if err != nil && !missing {
		return p.denied(channel)
	}
	f := found(channel, wrong, "the org has no %s %s, or %s may not see it", kind, name, p.user())
	if best := near.Word(name, names, 1); best != "" {
		return f.fix("did you mean %s?", strings.TrimSuffix(bare, name)+best)
	}
	return f.fix("check the name, letter by letter: \"%s\" lists them", soql)
}
