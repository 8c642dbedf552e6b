package sfstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/replaystore"
)

// SubscribeManaged follows a managed event subscription, by its developer name or its id (18x…, of
// 15 or 18 characters): the org keeps its position, and the client's store has no marker of it.
// What is handled is committed, at most every 100 milliseconds, and Close, [Client.Unsubscribe] and
// the end of a loop wait for the last commit. [Hooks].OnSaved and [ChannelStatus].Managed tell of
// commits.
//
// Its messages have the topic of the subscription as Channel, as the Tooling API names it, or the
// name that was given where the user may not read that. Status, hooks, errors and Unsubscribe have
// the name that was given. Where the first stream begins says the subscription's defaultReplay, and
// errorRecoveryReplay after what is committed has aged out: [From] is [ErrInvalidOption], and so is
// [Via] with CometD.
//
// SubscribeManaged returns when Salesforce sends something, or has not refused within two seconds.
// Where another client follows the subscription it waits, until ctx ends: one client can at a time,
// and the slot of a client that has lost its connection without a word stays taken for about 15
// minutes. So this is no way to high availability: a second instance that waits takes over in
// seconds only from one that was closed or killed. A name or id that the org does not know is asked
// for again for 15 seconds, because a new subscription is not known at once. Other trouble that can
// pass is retried for 30 seconds.
//
// After a reconnect Salesforce sends again what is not committed. The client knows the last 1,000
// messages and as many as [WithPrefetch] allows, and hands none of these out twice. While nothing
// has been committed, a subscription with defaultReplay LATEST misses what is published between two
// streams, or gets it later, out of order; EARLIEST closes that.
//
// Managed subscriptions are a beta feature of Salesforce, for up to 200 subscriptions in an org,
// and so is SubscribeManaged: it may change. The errors are those of [Client.Subscribe]; a
// subscription that is stopped (STOP) or deleted ends the client, as a channel does that is gone.
func (c *Client) SubscribeManaged(ctx context.Context, developerNameOrID string, opts ...SubscribeOption) error {
	var cfg subscribeConfig
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return err
		}
	}
	if err := checkManaged(developerNameOrID, cfg); err != nil {
		return err
	}
	if c.life.fence != nil {
		return fmt.Errorf("%w: SubscribeManaged: %s: the org keeps its place and lets one client follow it at a time, so no process can take it over by the client's store: follow it with a client of its own", ErrInvalidOption, developerNameOrID)
	}
	if err := c.life.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life.ctx, cancel)() // Close does not wait for the topic or the slot
	ch, err := c.roster.add(developerNameOrID, apiManaged)
	if err != nil {
		return err
	}
	ch.manage(c.topicOf(ctx, developerNameOrID))
	if err := c.roster.join(ch); err != nil {
		ch.sub.Remove()
		c.roster.end(ch, nil)
		return err
	}
	limited, cancelLimited := context.WithTimeout(ctx, subscribeTimeout)
	defer cancelLimited()
	for {
		select {
		case <-ch.sub.Accepted():
		case <-ch.done:
		case <-ctx.Done():
		case <-limited.Done():
			if isTaken(ch.status.lastError()) {
				limited, cancelLimited = context.WithTimeout(ctx, subscribeTimeout)
				defer cancelLimited()
				continue
			}
		}
		return c.awaitAccepted(limited, ch)
	}
}

var (
	managedName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,79}$`)
	managedID   = regexp.MustCompile(`^18x[A-Za-z0-9]{12}([A-Za-z0-9]{3})?$`)
)

// checkManaged refuses what cannot be a managed subscription, and options that it cannot have.
func checkManaged(nameOrID string, cfg subscribeConfig) error {
	switch {
	case !managedName.MatchString(nameOrID) && !managedID.MatchString(nameOrID):
		return fmt.Errorf("%w: managed subscription %q: want its developer name (a letter, then letters, digits and _) or its id (18x…, 15 or 18 characters)", ErrInvalidOption, nameOrID)
	case cfg.fromSet:
		return fmt.Errorf("%w: From: where managed subscription %s begins is set in the org: what was committed, else its defaultReplay", ErrInvalidOption, nameOrID)
	case cfg.via == CometD:
		return fmt.Errorf("%w: Via: managed subscription %s is served by the Pub/Sub API only", ErrInvalidOption, nameOrID)
	}
	return nil
}

// topicOf asks the Tooling API for the topic of a managed subscription. It is empty where that
// cannot be read.
func (c *Client) topicOf(ctx context.Context, nameOrID string) string {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	field := "DeveloperName"
	if managedID.MatchString(nameOrID) {
		field = "Id"
	}
	soql := "SELECT Id, Metadata FROM ManagedEventSubscription WHERE " + field + " = '" + nameOrID + "'"
	var answer managedAnswer
	err := c.getJSON(ctx, &url.URL{Path: "tooling/query/", RawQuery: url.Values{"q": {soql}}.Encode()}, &answer)
	if err == nil && len(answer.Records) == 1 {
		return answer.Records[0].Metadata.TopicName
	}
	if err == nil {
		err = errors.New("it is not there")
	}
	c.log.Info("the Tooling API does not tell the topic of the managed subscription: its messages have its name as channel",
		"channel", nameOrID, "error", err)
	return ""
}

// A managedAnswer is the Tooling API's answer to topicOf.
type managedAnswer struct {
	Records []struct {
		Metadata struct {
			TopicName string `json:"topicName"`
		}
	} `json:"records"`
}

// IsAnswer reports whether it is one.
func (a *managedAnswer) IsAnswer() bool { return a.Records != nil }

// isTaken reports whether an error says that another stream has the managed subscription.
func isTaken(err error) bool {
	var server *ServerError
	return errors.As(err, &server) && (strings.HasSuffix(server.Reason, managedReason+"already.active") || status.Code(server.err) == codes.AlreadyExists)
}

// manage makes a channel, before it joins its link, one of a managed subscription.
func (ch *channel) manage(topic string) {
	m := &managed{name: ch.sub.Name, isID: managedID.MatchString(ch.sub.Name), topic: topic, log: ch.log, keeper: ch.sub}
	ch.managed.Store(m)
	if topic == "" || mayHaveGroups(topic) {
		ch.groups = new(groups)
	}
	ch.duplicates.Keep(ch.cfg.prefetch)
	ch.sub.Keep(m.commit)
	ch.sub.Begin(replaystore.Marker{}, true)
	ch.log.Info("subscribing", "channel", m.name, "topic", topic, "start", "after what is committed")
}
