package groups

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

var (
	groupSeeds = flag.Uint64("groups.seeds", 40, "how `many` seeds TestGroups runs over each API")
	firstSeed  = flag.Uint64("groups.first", 1, "the first of them")
)

// program is a program under test against a server of ours.
type program struct {
	t     *testing.T
	rng   *rand.Rand
	log   *eventLog
	model *programModel
	store *checkedStore
	via   sfstream.Transport
	opts  []sfstream.Option
	mode  string
	also  bool // another channel is followed too

	client *sfstream.Client
	out    []*sfstream.Message // AckManual: not acked
	last   int                 // AckAuto: not handled; -1: none
}

func newProgram(t *testing.T, seed uint64, via sfstream.Transport) *program {
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(odds float64, value float64) float64 {
		if rng.Float64() < odds {
			return value
		}
		return 0
	}
	l := &eventLog{rng: rand.New(rand.NewPCG(seed, 2)), top: 100, more: make(chan struct{})}
	l.shape = serverShape{
		chunk: 1 + rng.IntN(12), perBreak: []int{0, 4, 12, 40}[rng.IntN(4)], resend: pick(0.4, 0.1), chatter: pick(0.6, 0.2),
		sharedID: rng.IntN(2) == 0, beyond: rng.IntN(2) == 0, hidden: pick(0.3, 0.2), ride: rng.IntN(2) == 0, lose: pick(0.5, 0.1), stall: pick(0.3, 0.2),
		groupSize: []int{1, 3, 8, 30}[rng.IntN(4)],
	}
	r := &program{t: t, rng: rng, log: l, via: via, last: -1}
	r.model = &programModel{log: l, handled: make(map[int]bool), given: make(map[int]bool)}
	r.store = &checkedStore{Store: lab.NewStore(t), model: r.model, drops: rng.IntN(5) == 0}
	// What rides on the reply to a call may have overtaken others: it moves no marker yet.
	r.model.lax = r.store.drops || l.shape.ride && via == sfstream.CometD
	r.mode = []string{"auto", "auto", "receive", "manual", "run", "transactions"}[rng.IntN(6)]
	prefetch := []int{1, 2, 5, 40, 200}[rng.IntN(5)]
	if r.mode == "transactions" || r.mode == "run" {
		prefetch = max(prefetch, 5)
	}
	ack := map[string]sfstream.AckPolicy{"receive": sfstream.AckOnReceive, "manual": sfstream.AckManual}[r.mode]
	r.model.any = r.mode == "run"
	r.opts = []sfstream.Option{sfstream.WithAck(ack), sfstream.WithPrefetch(prefetch), sfstream.WithTransport(via), sfstream.WithAPIVersion("62.0"),
		sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) {
			if !g.Possible { // a keepalive of before the position is told
				r.model.fault("gap: %+v", g)
			}
		}}),
		sfstream.WithLogger(slog.New(slog.NewTextHandler(traceWriter{l}, nil)))}
	if via == sfstream.PubSub {
		r.opts = append(r.opts, (&pubsubServer{log: l, seed: seed}).options())
	} else {
		r.opts = append(r.opts, sfstream.WithHTTPClient(&http.Client{Transport: &bayeuxServer{log: l, seed: seed}}))
	}
	l.logf("%+v, mode %s, prefetch %d, drops groups %v", l.shape, r.mode, prefetch, r.store.drops)
	return r
}

type traceWriter struct{ log *eventLog }

func (t traceWriter) Write(line []byte) (int, error) {
	_, text, _ := strings.Cut(string(line), "level=")
	t.log.logf("log: %s", strings.TrimSpace(text))
	return len(line), nil
}

func (r *program) must(err error) {
	if err != nil {
		r.model.fault("%v", err)
	}
}

// dateServer is an instance that is asked for the time only.
type dateServer struct{}

func (dateServer) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}, Body: http.NoBody}, nil
}

func (r *program) start() {
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		return &authenticator.Credentials{AccessToken: "SECRET", InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"}, nil
	})
	c, err := sfstream.New(auth, append([]sfstream.Option{sfstream.WithReplayStore(r.store),
		sfstream.WithHTTPClient(&http.Client{Transport: dateServer{}})}, r.opts...)...)
	lab.Must(r.t, err)
	r.client, r.out, r.last, r.also = c, nil, -1, false
	lab.Must(r.t, c.Open(r.t.Context()))
	r.subscribe()
}

func (r *program) subscribe() {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Hour)
	defer cancel()
	for {
		err := r.client.Subscribe(ctx, lab.AllChanges)
		if err == nil || ctx.Err() != nil {
			r.must(err)
			return
		}
	}
}

func (r *program) marker() replaystore.Marker {
	api := "pubsub"
	if r.via == sfstream.CometD {
		api = "cometd"
	}
	marker, err := r.store.Memory.Load(context.Background(), replaystore.Key{OrgID: "00D000000000001AAA", API: api, Channel: lab.AllChanges})
	if err != nil && !errors.Is(err, replaystore.ErrNotFound) {
		panic(err)
	}
	return marker
}

// polite ends the program and starts it again.
func (r *program) polite() {
	r.log.logf("polite end")
	r.must(r.client.Close())
	r.model.begin(r.marker(), true)
	r.start()
}

func (r *program) crash() {
	r.log.logf("crash")
	old := r.client
	r.store = r.store.crash()
	_ = old.Close()
	r.model.begin(r.marker(), false)
	r.start()
}

func (r *program) resubscribe() {
	r.log.logf("unsubscribe")
	r.must(r.client.Unsubscribe(r.t.Context(), lab.AllChanges))
	r.model.again(r.marker())
	r.out, r.last = nil, -1
	time.Sleep(time.Duration(r.rng.IntN(3)) * time.Second)
	r.subscribe()
}

// consume takes up to k messages, for some time at most.
func (r *program) consume(k int, limit time.Duration) {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	switch r.mode {
	case "run":
		r.must(ignore(r.client.Run(ctx, func(ctx context.Context, m *sfstream.Message) error {
			n := scripted.ChangeNumber(m.Raw())
			r.model.got(n)
			if r.rng.IntN(10) == 0 {
				time.Sleep(time.Second)
			}
			r.model.handle(n)
			if k--; k == 0 {
				cancel()
			}
			return nil
		}, sfstream.Workers(1)), context.DeadlineExceeded, context.Canceled))
	case "transactions":
		for tx := range r.client.Transactions(ctx, []time.Duration{0, time.Second, time.Hour}[r.rng.IntN(3)]) {
			var numbers []int
			for _, m := range tx.Messages {
				numbers = append(numbers, scripted.ChangeNumber(m.Raw()))
				r.model.got(numbers[len(numbers)-1])
			}
			if k -= len(numbers); k <= 0 && r.rng.IntN(2) == 0 {
				r.model.putBack(numbers[0])
				break
			}
			for _, n := range numbers {
				r.model.handle(n)
			}
			if k <= 0 {
				tx.Ack()
				break
			}
		}
	default:
		for ; k > 0; k-- {
			if !r.receive(ctx) {
				return
			}
		}
	}
}

func ignore(err error, targets ...error) error {
	for _, target := range targets {
		if errors.Is(err, target) {
			return nil
		}
	}
	return err
}

func (r *program) receive(ctx context.Context) bool {
	if r.mode == "auto" && r.last >= 0 {
		r.model.handle(r.last)
		r.last = -1
	}
	if r.mode == "receive" {
		r.model.mu.Lock()
		r.model.inFlight = 1
		r.model.mu.Unlock()
	}
	m, err := r.client.Receive(ctx)
	if err != nil {
		r.must(ignore(err, context.DeadlineExceeded))
		r.ackSome(1)
		return false
	}
	n := scripted.ChangeNumber(m.Raw())
	r.model.got(n)
	switch r.mode {
	case "auto":
		r.last = n
		if r.rng.IntN(5) == 0 {
			r.model.handle(n)
			r.last = -1
			m.Ack()
		}
	case "receive":
		r.model.handle(n)
		r.model.mu.Lock()
		r.model.inFlight = 0
		r.model.mu.Unlock()
	case "manual":
		r.out = append(r.out, m)
		r.ackSome(0.4)
	}
	return true
}

// ackSome acks that part of what is not acked, in any order.
func (r *program) ackSome(part float64) {
	r.rng.Shuffle(len(r.out), func(i, j int) { r.out[i], r.out[j] = r.out[j], r.out[i] })
	var left []*sfstream.Message
	for _, m := range r.out {
		if r.rng.Float64() >= part {
			left = append(left, m)
			continue
		}
		r.model.handle(scripted.ChangeNumber(m.Raw()))
		m.Ack()
	}
	r.out = left
}

func (r *program) publish() {
	for range 1 + r.rng.IntN(3) {
		n := 1
		if r.rng.IntN(4) > 0 {
			n = 1 + r.rng.IntN(r.log.shape.groupSize)
		}
		r.log.publish(n, time.Now())
	}
}

// play is one run.
func (r *program) play() {
	r.log.before = true
	for range r.rng.IntN(4) {
		if r.log.shape.stall == 0 { // behind a server that seeks they would look new
			r.publish()
		}
	}
	time.Sleep(25 * time.Minute)
	r.log.mu.Lock()
	r.log.before = false
	r.model.base = len(r.log.events)
	r.log.mu.Unlock()
	r.model.at = r.model.base - 1
	r.start()
	for range 10 + r.rng.IntN(25) {
		switch r.rng.IntN(12) {
		case 0, 1, 2, 3:
			r.publish()
		case 4, 5, 6:
			r.consume(1+r.rng.IntN(20), time.Duration(1+r.rng.IntN(100))*time.Second)
		case 7:
			time.Sleep(time.Duration(r.rng.IntN(240)) * time.Second)
		case 8:
			r.polite()
		case 9:
			time.Sleep(time.Duration(r.rng.IntN(300)) * time.Millisecond)
			r.crash()
		case 10:
			r.resubscribe()
		case 11:
			r.log.mu.Lock()
			if r.rng.IntN(4) == 0 {
				r.log.down = time.Now().Add(time.Duration(r.rng.IntN(40)) * time.Minute)
			}
			r.log.mu.Unlock()
			if r.via == sfstream.CometD && !r.also {
				r.also = true
				ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
				_ = r.client.Subscribe(ctx, "/event/Other__e")
				cancel()
			}
		}
	}
	r.log.mu.Lock()
	r.log.calm, r.log.down = true, time.Time{}
	all := len(r.log.events)
	r.log.mu.Unlock()
	r.log.logf("calm")
	for range 1000 {
		r.consume(1000, 2*time.Minute)
		r.ackSome(1)
		r.model.mu.Lock()
		done := r.model.prefixLocked() >= all
		r.model.mu.Unlock()
		if done {
			break
		}
	}
	r.consume(1000, 10*time.Minute) // nothing comes
	r.model.mu.Lock()
	if n := r.model.prefixLocked(); n != all {
		r.model.faultLocked("handled up to %d of %d", n, all)
	}
	r.model.mu.Unlock()
	r.must(r.client.Close())
	r.must(r.client.Err())
	r.model.begin(r.marker(), true)
}

// TestGroups lets programs of every kind follow a channel of groups over servers that break off,
// repeat, keep silent and chat, and ends them in every way. What they see has to be what the model
// says, event for event.
func TestGroups(t *testing.T) {
	for name, via := range map[string]sfstream.Transport{"pubsub": sfstream.PubSub, "cometd": sfstream.CometD} {
		t.Run(name, func(t *testing.T) {
			for seed := *firstSeed; seed < *firstSeed+*groupSeeds; seed++ {
				var r *program
				synctest.Test(t, func(t *testing.T) {
					r = newProgram(t, seed, via)
					r.play()
				})
				if len(r.model.faults) > 0 {
					t.Errorf("seed %d: %s", seed, strings.Join(r.model.faults[:min(3, len(r.model.faults))], "\n"))
					if *groupSeeds == 1 {
						t.Log(strings.Join(r.log.trace, "\n"))
					}
				}
			}
		})
	}
}
