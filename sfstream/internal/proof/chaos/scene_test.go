package chaos

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// chaosChannels are all channels; a scenario has some of them.
var chaosChannels = []struct {
	name string
	via  sfstream.Transport
}{
	{"/event/One__e", sfstream.Auto},
	{"/event/Two__e", sfstream.Auto},
	{"/event/Undated__e", sfstream.Auto},
	{"/data/AccountChangeEvent", sfstream.Auto},
	{"/event/Streamed__e", sfstream.CometD},
	{"/event/UndatedToo__e", sfstream.CometD},
	{"/data/ContactChangeEvent", sfstream.CometD},
	{"/topic/Chaos", sfstream.Auto},
	{"/u/chaos", sfstream.Auto},
	{"/data/Sales__chn", sfstream.Auto}, // these two have groups
	{"/data/Streamed__chn", sfstream.CometD},
	{"/event/Managed__e", sfstream.Auto}, // these two have managed subscriptions
	{"/data/Managed__chn", sfstream.Auto},
}

// chaosMost is the most channels of a scenario.
const chaosMost = 11

// chaos is one scenario: an org, the lives of a program, and what happens to them.
type chaos struct {
	*sfstreamtest.Server
	t      *testing.T
	seed   uint64
	events int
	random *rand.Rand // of the driver
	ids    *rand.Rand // of replay ids; the model's mutex guards it
	trace  *chaosTrace
	model  *chaosModel
	net    *fragileNet
	memory *replaystore.Memory
	slow   atomic.Int64

	names     []string
	via       map[string]sfstream.Transport
	replayAll bool
	fallback  sfstream.Fallback

	live    *life
	wg      sync.WaitGroup // of everything that the scenario starts
	over    context.Context
	stop    context.CancelFunc
	lasting context.Context // of all lives
	halt    context.CancelFunc
	calm    atomic.Bool // no more delays and breaks: the end is near

	publishing sync.Mutex      // of gone, and while a channel is removed
	gone       map[string]bool // removed channels
	schemaGone atomic.Bool     // messages may be undecodable
	revoked    map[string]bool
	expect     expectedEnds
	pardoned   map[string]time.Time // when a channel was last denied
	tokenAt    time.Time            // when a token was last refused
	tokens     int                  // how many faults ask for a login

	faults                                map[string]int
	worst                                 map[string]int
	lives, kills, restarts, ends, resumes int
}

func newChaos(t *testing.T, seed uint64, events int) *chaos {
	trace := newTrace()
	c := &chaos{
		t: t, seed: seed, events: events, random: rand.New(rand.NewPCG(seed, 0)), ids: rand.New(rand.NewPCG(seed, 2)),
		trace: trace, model: newModel(trace), memory: replaystore.NewMemory(),
		via: make(map[string]sfstream.Transport), gone: make(map[string]bool), revoked: make(map[string]bool),
		pardoned: make(map[string]time.Time), faults: make(map[string]int), worst: make(map[string]int),
	}
	c.lasting, c.halt = context.WithCancel(t.Context())
	c.over, c.stop = context.WithCancel(t.Context())
	c.Server = sfstreamtest.NewServer(t, c.serverOptions()...)
	c.net = newFragileNet(c.Server, func() {
		c.model.deviate("a storm: the client has written %d times", stormWrites)
		c.halt() // also what waits by the bubble's clock, which stands still
	})
	c.replayAll = c.random.IntN(2) == 0
	c.fallback = sfstream.FallbackAll
	if c.random.IntN(2) == 0 {
		c.fallback = sfstream.FallbackNew
	}
	n := 2 + c.random.IntN(chaosMost-1)
	for _, i := range c.random.Perm(len(chaosChannels))[:n] {
		ch := chaosChannels[i]
		c.names, c.via[ch.name] = append(c.names, ch.name), ch.via
		c.define(ch.name)
		m := newChannelModel(ch.name)
		c.model.channels[ch.name] = m
		c.beginEra(m)
	}
	c.trace.add("seed %d: %d channels, replay all %v, fallback %v", seed, n, c.replayAll, c.fallback)
	return c
}

// serverOptions are what differs between orgs and releases.
func (c *chaos) serverOptions() []sfstreamtest.Option {
	r := c.random
	opts := []sfstreamtest.Option{sfstreamtest.InMemory()}
	maybe := func(o sfstreamtest.Option) {
		if r.IntN(4) == 0 {
			opts = append(opts, o)
		}
	}
	maybe(sfstreamtest.WithKeepalive(time.Duration(10+r.IntN(260)) * time.Second))
	maybe(sfstreamtest.WithIdleClose(time.Duration(5+r.IntN(120)) * time.Second))
	maybe(sfstreamtest.WithSessionTimeout(time.Duration(15+r.IntN(60)) * time.Minute))
	maybe(sfstreamtest.WithBatchEvents(1 + r.IntN(5)))
	maybe(sfstreamtest.WithOverflowError())
	maybe(sfstreamtest.WithHold(time.Duration(10+r.IntN(100)) * time.Second))
	maybe(sfstreamtest.WithLBCookieLife(time.Duration(5+r.IntN(60)) * time.Minute))
	maybe(sfstreamtest.WithReplyEvents(1 + r.IntN(5)))
	maybe(sfstreamtest.WithResubscribeError())
	maybe(sfstreamtest.WithUnknownClientAdvice())
	maybe(sfstreamtest.WithBareFilteredChannel())
	maybe(sfstreamtest.WithCometDHTTPStatus())
	maybe(sfstreamtest.WithDuplicateConnectStatus(500))
	maybe(sfstreamtest.WithClockSkew(time.Duration(r.IntN(600)-300) * time.Second))
	return append(opts, c.worldOptions()...)
}

func (c *chaos) define(channel string) {
	c.t.Helper()
	name := channel[strings.LastIndex(channel, "/")+1:]
	switch {
	case strings.HasPrefix(channel, "/topic/"):
		lab.Must(c.t, c.DefinePushTopic(sfstreamtest.PushTopic{Name: name, Query: "SELECT Id, N__c FROM Chaos__c"}))
	case strings.HasPrefix(channel, "/u/"):
		lab.Must(c.t, c.DefineGenericChannel(channel))
	case isGrouped(channel):
		lab.Must(c.t, c.defineGrouped(channel))
	case strings.HasPrefix(channel, "/data/"):
		lab.Must(c.t, c.DefineObject(strings.TrimSuffix(name, "ChangeEvent"), sfstreamtest.Field{Name: "Ordinal__c", Type: "Integer"}))
	case strings.Contains(channel, "Undated"):
		lab.Must(c.t, c.DefineEvent(channel, `{"type":"record","name":"`+name+`","fields":[{"name":"N__c","type":["null","double"],"default":null}]}`))
	default:
		lab.Must(c.t, c.DefineEvent(channel, lab.Schema(name)))
	}
	if isManaged(channel) {
		c.defineManaged(channel)
	}
}

// APIOf is the name that the API of a channel has in markers.
func (c *chaos) apiOf(channel string) string {
	if c.via[channel] == sfstream.CometD || strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/") {
		return "cometd"
	}
	if isManaged(channel) {
		return "managed"
	}
	return "pubsub"
}

func (c *chaos) key(channel string) replaystore.Key {
	return replaystore.Key{OrgID: c.Account().OrgID, API: c.apiOf(channel), Channel: channel}
}

// beginEra gives a channel replay ids that it has never had. It forgets what is retained.
func (c *chaos) beginEra(ch *channelModel) { c.beginEraBy(ch, c.RestartReplay) }

// beginEraBy is beginEra by another verb.
func (c *chaos) beginEraBy(ch *channelModel, restart func(channel string, id uint64) error) {
	for {
		era := uint64(1 + c.ids.IntN(1000))
		if _, used := ch.eras[era]; !used {
			ch.eras[era], ch.silent = ch.published(), ch.accepts
			if isGrouped(ch.name) {
				ch.anew = ch.epoch
			}
			lab.Must(c.t, restart(ch.name, era*eraSize+1+uint64(c.ids.IntN(1000))))
			return
		}
	}
}

// publish puts the next event on a channel.
func (c *chaos) publish(channel string) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	if c.gone[channel] {
		return
	}
	m := c.model
	m.mu.Lock() // nobody gets it before the model knows it
	defer m.mu.Unlock()
	ch := m.channels[channel]
	ch.beginsAtNew = c.beginsAtNew(channel)
	n := ch.published() + 1
	var e sfstreamtest.Event
	var err error
	name := channel[strings.LastIndex(channel, "/")+1:]
	switch {
	case strings.HasPrefix(channel, "/topic/"):
		e, err = c.PublishTopic(name, "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": n})
	case strings.HasPrefix(channel, "/u/"):
		var pushed sfstreamtest.PushResult
		pushed, err = c.Push(channel, strconv.Itoa(n))
		e = pushed.Event
	case isGrouped(channel):
		c.publishGroup(ch)
		return
	case strings.HasPrefix(channel, "/data/"):
		e, err = c.Change(sfstreamtest.Change{
			Object: strings.TrimSuffix(name, "ChangeEvent"), Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"},
			Set: map[string]any{"Ordinal__c": n},
		})
	default:
		e, err = c.Publish(channel, map[string]any{"N__c": float64(n)})
	}
	if err != nil {
		m.deviateLocked("publishing on %s: %v", channel, err)
		return
	}
	ch.publish(e.Number)
	m.trace.add("published %s %d", channel, n)
}

// numberIn is the number in a message's payload; ok is false for one that cannot be decoded.
func chaosNumber(m *sfstream.Message) (n int, err error) {
	if isGrouped(topicOf(m.Channel)) {
		return groupedNumber(m)
	}
	fields, err := m.Fields()
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"N__c", "Ordinal__c", "payload"} {
		switch v := fields[name].(type) {
		case float64:
			return int(v), nil
		case int64:
			return int(v), nil
		case string:
			return strconv.Atoi(v)
		}
	}
	return 0, nil
}

// publisher publishes all events, at random times.
func (c *chaos) publisher(done chan<- struct{}) {
	defer close(done)
	r := rand.New(rand.NewPCG(c.seed, 1))
	for range c.events {
		var pause time.Duration
		switch n := r.IntN(100); {
		case n < 35: // a burst
		case n < 85:
			pause = time.Duration(r.Int64N(int64(3 * time.Second)))
		case n < 98:
			pause = time.Duration(r.Int64N(int64(2 * time.Minute)))
		default:
			pause = time.Duration(r.Int64N(int64(30 * time.Minute)))
		}
		if wait(c.over, pause) != nil {
			return
		}
		c.publish(c.names[r.IntN(len(c.names))])
	}
}
