package interop

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

const lab = "/topic/Lab"

// TestServers runs our client against Bayeux servers that others wrote: whatever happens to the
// connection, all that was published comes, once, in order.
func TestServers(t *testing.T) {
	scenarios := map[string]func(*testing.T, *org){
		"live":                                   live,
		"five drops of a held connect":           fiveDrops,
		"a restart with the session lost":        restart,
		"an unknown client":                      func(t *testing.T, o *org) { unknownClient(t, o, object{}) },
		"an unknown client, told handshake":      func(t *testing.T, o *org) { unknownClient(t, o, object{"advice": "handshake"}) },
		"an unknown client, told none":           func(t *testing.T, o *org) { unknownClient(t, o, object{"advice": "none"}) },
		"a token that expires, Salesforce's way": func(t *testing.T, o *org) { expire(t, o, "salesforce") },
		"a token that expires, 401::":            func(t *testing.T, o *org) { expire(t, o, "plain") },
		"a token that expires, HTTP 401":         func(t *testing.T, o *org) { expire(t, o, "http") },
		"503 for a while":                        busy,
		"a black hole":                           blackHole,
		"channels that come and go":              comeAndGo,
		"replay from the oldest":                 replayAll,
		"a stale replay id":                      staleID,
		"Close during a held connect":            closeDuringPoll,
	}
	for _, server := range []string{"cometd", "faye"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			for name, run := range scenarios {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					run(t, startOrg(t, server+".js"))
				})
			}
		})
	}
}

// program is a user's program: it follows channels and keeps what it gets.
type program struct {
	t      *testing.T
	client *sfstream.Client
}

func start(t *testing.T, o *org, store replaystore.Store, opts ...sfstream.Option) *program {
	t.Helper()
	client, err := sfstream.New(authenticator.Password{ConsumerKey: "key", ConsumerSecret: "secret", Username: "user", Password: "password"},
		append([]sfstream.Option{
			sfstream.WithLoginURL(o.url), sfstream.WithReplayStore(store), sfstream.WithLogger(slog.New(slog.NewTextHandler(o.wire, nil))),
			sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(50 * time.Millisecond) }),
		}, opts...)...)
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	check(t, client.Open(t.Context()))
	return &program{t, client}
}

func (p *program) subscribe(channel string, opts ...sfstream.SubscribeOption) {
	p.t.Helper()
	check(p.t, p.client.Subscribe(p.t.Context(), channel, opts...))
}

// expect receives the numbers from first to last, and nothing else.
func (p *program) expect(first, last int) {
	p.t.Helper()
	for want := first; want <= last; want++ {
		ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
		m, err := p.client.Receive(ctx)
		cancel()
		if err != nil {
			p.t.Fatalf("waiting for %d: %v; %+v", want, err, p.client.Status())
		}
		p.is(m, want)
		m.Ack()
	}
}

func (p *program) is(m *sfstream.Message, want int) {
	p.t.Helper()
	fields, err := m.Fields()
	check(p.t, err)
	if fields["N"] != int64(want) {
		p.t.Fatalf("got %v, want %d", fields["N"], want)
	}
}

// quiet expects that nothing comes for as long as a connect is held.
func (p *program) quiet() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 1600*time.Millisecond)
	defer cancel()
	if m, err := p.client.Receive(ctx); err == nil {
		p.t.Fatalf("%s came again", m.Raw())
	}
}

func following(t *testing.T, o *org) *program {
	p := start(t, o, replaystore.NewMemory())
	p.subscribe(lab)
	o.await("held", func(n int) bool { return n == 1 })
	return p
}

func live(t *testing.T, o *org) {
	p := following(t, o)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	published := make(chan struct{})
	go func() {
		defer close(published)
		for range 200 {
			<-tick.C
			o.publish(lab, 1)
		}
	}()
	p.expect(1, 200)
	<-published
	p.quiet()
	if n := o.count("duplicates"); n != 0 {
		t.Errorf("%d connects beside another one", n)
	}
	if n := o.count("handshakes"); n != 1 {
		t.Errorf("%d handshakes", n)
	}
}

func fiveDrops(t *testing.T, o *org) {
	p := following(t, o)
	o.publish(lab, 5)
	p.expect(1, 5)
	for range 5 {
		first := o.published + 1
		o.await("held", func(n int) bool { return n == 1 })
		if n := o.control("drop", object{})["dropped"]; n != 1.0 {
			t.Errorf("dropped %v", n)
		}
		o.publish(lab, 20)
		p.expect(first, first+19)
	}
	p.quiet()
	if n := o.count("logins"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func restart(t *testing.T, o *org) {
	store := replaystore.NewMemory()
	p := start(t, o, store)
	p.subscribe(lab)
	o.await("held", func(n int) bool { return n == 1 })
	for range 3 {
		first := o.published + 1
		o.publish(lab, 10)
		p.expect(first, first+5)
		o.control("forget", object{})
		check(t, p.client.Close())
		o.publish(lab, 10)
		p = start(t, o, store)
		p.subscribe(lab)
		p.expect(first+6, first+19)
	}
	p.quiet()
}

func unknownClient(t *testing.T, o *org, how object) {
	p := following(t, o)
	for range 3 {
		first := o.published + 1
		o.publish(lab, 3)
		o.control("forget", how)
		o.publish(lab, 3)
		p.expect(first, first+5)
		o.await("held", func(n int) bool { return n == 1 })
	}
	p.quiet()
	if n := o.count("logins"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func expire(t *testing.T, o *org, style string) {
	p := following(t, o)
	for round := range 3 {
		first := o.published + 1
		o.control("expire", object{"style": style})
		o.publish(lab, 10)
		p.expect(first, first+9)
		o.await("logins", func(n int) bool { return n == round+2 })
		o.await("held", func(n int) bool { return n == 1 })
	}
	p.quiet()
}

func busy(t *testing.T, o *org) {
	p := following(t, o)
	o.control("busy", object{"ms": 2000})
	o.publish(lab, 10)
	p.expect(1, 10)
	p.quiet()
	if n := o.count("logins"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func blackHole(t *testing.T, o *org) {
	p := following(t, o)
	o.control("blackhole", object{"ms": 500})
	o.publish(lab, 10)
	began := time.Now()
	p.expect(1, 10)
	if took := time.Since(began); took > 25*time.Second { // what the server advised, and a margin
		t.Errorf("it took %v", took)
	}
	p.quiet()
}

func comeAndGo(t *testing.T, o *org) {
	p := following(t, o)
	const other = "/topic/Other"
	got := map[string]int{lab: 0, other: 0}
	want := map[string]int{}
	numbers := map[string][]int{}
	for range 20 {
		p.subscribe(other)
		for _, channel := range []string{lab, other} {
			o.publish(channel, 2)
			numbers[channel] = append(numbers[channel], o.published-1, o.published)
			want[channel] += 2
		}
		for got[lab] < want[lab] || got[other] < want[other] {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			m, err := p.client.Receive(ctx)
			cancel()
			check(t, err)
			if got[m.Channel] == len(numbers[m.Channel]) {
				t.Fatalf("%s: one too many: %s", m.Channel, m.Raw())
			}
			p.is(m, numbers[m.Channel][got[m.Channel]])
			got[m.Channel]++
			m.Ack()
		}
		check(t, p.client.Unsubscribe(t.Context(), other))
	}
	if channels := p.client.Subscriptions(); !slices.Equal(channels, []string{lab}) {
		t.Errorf("%v", channels)
	}
}

func replayAll(t *testing.T, o *org) {
	o.publish(lab, 50)
	p := start(t, o, replaystore.NewMemory(), sfstream.WithReplay(sfstream.ReplayAll))
	p.subscribe(lab)
	o.publish(lab, 50)
	p.expect(1, 100)
	p.quiet()
}

func staleID(t *testing.T, o *org) {
	o.publish(lab, 3)
	p := start(t, o, replaystore.NewMemory())
	stale := sfstream.From(sfstream.ReplayAfter([]byte(strconv.Itoa(1 << 40))))
	var replay *sfstream.ReplayError
	if err := p.client.Subscribe(t.Context(), lab, stale); !errors.As(err, &replay) {
		t.Fatalf("%v, want a *ReplayError", err)
	}
	check(t, p.client.Err())
	check(t, p.client.Close())
	p = start(t, o, replaystore.NewMemory(), sfstream.WithReplayFallback(sfstream.FallbackAll))
	p.subscribe(lab, stale)
	p.expect(1, 3)
}

func closeDuringPoll(t *testing.T, o *org) {
	p := following(t, o)
	began := time.Now()
	check(t, p.client.Close())
	if took := time.Since(began); took > 300*time.Millisecond {
		t.Errorf("Close took %v", took)
	}
	o.await("sessions", func(n int) bool { return n == 0 })
	if n := o.count("disconnects"); n != 1 {
		t.Errorf("%d disconnects", n)
	}
}
