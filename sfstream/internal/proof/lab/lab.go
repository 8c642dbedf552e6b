package lab

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Lab is an org, the programs that follow it, and what they have kept. A program can be ended and
// started again; most tests have one at a time.
type Lab struct {
	*sfstreamtest.Server
	T      *testing.T
	Store  *Store           // of the programs that are started from now on
	Client *sfstream.Client // of the program that was started last
	Log    *Log

	mu        sync.Mutex
	gaps      []sfstream.Gap
	published map[string]int    // by channel: how many events PublishNext has put there
	ids       map[string]string // by channel and replay id: the IDs of these events
}

// New starts an org in memory that has orders, invoices, events without a date, and accounts.
func New(t *testing.T, opts ...sfstreamtest.Option) *Lab {
	t.Helper()
	return On(t, sfstreamtest.NewServer(t, append(opts, sfstreamtest.InMemory())...))
}

// On is New for an org that runs already.
func On(t *testing.T, org *sfstreamtest.Server) *Lab {
	t.Helper()
	l := &Lab{
		Server: org, T: t, Store: NewStore(t), Log: new(Log),
		published: make(map[string]int), ids: make(map[string]string),
	}
	l.Define(Orders)
	l.Define(Invoices)
	l.Must(l.DefineEvent(Undated, `{"type":"record","name":"Undated__e","fields":[{"name":"N__c","type":["null","double"],"default":null}]}`))
	l.Must(l.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
	return l
}

// NewStreaming is New for an org that has a PushTopic and a channel of generic events too.
func NewStreaming(t *testing.T, opts ...sfstreamtest.Option) *Lab {
	t.Helper()
	l := New(t, opts...)
	l.Must(l.DefinePushTopic(sfstreamtest.PushTopic{Name: "LabTopic", Query: "SELECT Id, Name, City__c, N__c FROM Lab__c"}))
	l.Must(l.DefineGenericChannel(Generic))
	return l
}

// Must fails the test if there is an error.
func (l *Lab) Must(err error) {
	l.T.Helper()
	Must(l.T, err)
}

// NewClient makes a program that has not logged in. Tests give it what they need beyond a store, a
// log and a hook for gaps. It is closed when the test ends, if not before.
func (l *Lab) NewClient(opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	c, err := sfstream.New(l.Authenticator(), append([]sfstream.Option{
		sfstream.WithOrg(l), sfstream.WithTransport(TransportOf(l.T)), sfstream.WithReplayStore(&programStore{Store: l.Store}), sfstream.WithLogger(l.Log.Logger()),
		sfstream.WithHooks(sfstream.Hooks{OnGap: l.OnGap}),
	}, opts...)...)
	l.Must(err)
	l.Client = c
	l.T.Cleanup(func() { _ = c.Close() })
	return c
}

// Start starts a program.
func (l *Lab) Start(opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	c := l.NewClient(opts...)
	l.Must(c.Open(l.T.Context()))
	return c
}

// StartFromOldest starts a program whose channels begin at the oldest event that the org retains,
// where nothing is stored.
func (l *Lab) StartFromOldest(opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	return l.Start(append([]sfstream.Option{sfstream.WithReplay(sfstream.ReplayAll)}, opts...)...)
}

// Follow starts a program and subscribes it to the orders.
func (l *Lab) Follow(opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	c := l.Start(opts...)
	l.Subscribe(Orders)
	return c
}

// FollowFromOldest is Follow for a program of StartFromOldest. It works outside of a bubble too,
// because it does not wait for the first request to arrive.
func (l *Lab) FollowFromOldest(opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	c := l.StartFromOldest(opts...)
	l.Must(c.Subscribe(l.T.Context(), Orders))
	return c
}

// FollowTopic starts a program that follows the PushTopic, and waits until its connect is held.
func (l *Lab) FollowTopic(opts ...sfstream.Option) {
	l.T.Helper()
	l.Start(opts...)
	l.Subscribe(Topic)
}

// Subscribe subscribes the program to a channel.
func (l *Lab) Subscribe(channel string, opts ...sfstream.SubscribeOption) {
	l.T.Helper()
	l.Must(l.Client.Subscribe(l.T.Context(), channel, opts...))
	synctest.Wait() // the first request has arrived
}

// Stop ends the program in good order.
func (l *Lab) Stop() {
	l.T.Helper()
	l.Must(l.Client.Close())
}

// Restart ends a program in good order and starts it again, with FollowFromOldest.
func (l *Lab) Restart(c *sfstream.Client, opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	l.Must(c.Close())
	return l.FollowFromOldest(opts...)
}

// Crash starts a program again, with FollowFromOldest, from what is in the store at this moment:
// what the old one saves from now on never happened. It returns when the old one has ended.
func (l *Lab) Crash(c *sfstream.Client, opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	l.Store = l.Store.Snapshot()
	_ = c.Close()
	return l.FollowFromOldest(opts...)
}

// Key is the key of a channel's marker.
func (l *Lab) Key(api, channel string) replaystore.Key {
	return replaystore.Key{OrgID: l.Account().OrgID, API: api, Channel: channel}
}

// Marker is what a restarted program would begin at; the zero Marker if nothing is stored.
func (l *Lab) Marker(channel string) replaystore.Marker {
	l.T.Helper()
	m, err := l.Store.Memory.Load(context.Background(), l.Key(APIOf(l.T), channel))
	if errors.Is(err, replaystore.ErrNotFound) {
		return replaystore.Marker{}
	}
	l.Must(err)
	return m
}

// Save puts a marker into the store.
func (l *Lab) Save(key replaystore.Key, m replaystore.Marker) {
	l.T.Helper()
	l.Must(l.Store.Memory.Save(context.Background(), map[replaystore.Key]replaystore.Marker{key: m}))
}

// SavedID is the ID of the event that a channel's stored marker is at, "" for none.
func (l *Lab) SavedID(channel string) string {
	l.T.Helper()
	return l.IDOf(channel, l.Marker(channel).ReplayID)
}

// ExpectSaved expects that the stored marker of the orders is at the event with an ID.
func (l *Lab) ExpectSaved(id string) {
	l.T.Helper()
	if got := l.SavedID(Orders); got != id {
		l.T.Errorf("the stored marker is at %q, want %q", got, id)
	}
}

// Pass lets time go by, and what happens in it.
func (l *Lab) Pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
