package channels_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// inOrg runs a test against an org in memory, once for each API.
func inOrg(t *testing.T, test func(t *testing.T, l *lab.Lab, client *sfstream.Client)) {
	for _, api := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
		t.Run(api.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				client, err := sfstream.New(l.Authenticator(), sfstream.WithOrg(l), sfstream.WithTransport(api), sfstream.WithReplay(sfstream.ReplayAll))
				lab.Must(t, err)
				defer client.Close()
				lab.Must(t, client.Open(t.Context()))
				test(t, l, client)
			})
		})
	}
}

// next returns the names of the accounts in the next n messages, after which nothing comes.
func next(t *testing.T, client *sfstream.Client, n int) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for msg := range client.Messages(ctx) {
		var account struct{ Name string }
		if msg.Channel == "/data/Sales__chn" {
			lab.Must(t, msg.Decode(&account))
		}
		got = append(got, account.Name)
	}
	if len(got) != n {
		t.Fatalf("%d messages, want %d: %v", len(got), n, got)
	}
	return got
}

func TestADeclaredChannelCarriesWhatWasSaid(t *testing.T) {
	inOrg(t, func(t *testing.T, l *lab.Lab, client *sfstream.Client) {
		custom := channels.NewCustom(client)
		channel := channels.CustomChannel{Name: "Sales__chn", Members: []channels.Member{
			{Event: "AccountChangeEvent", Enriched: []string{"Name"}, Filter: "NumberOfEmployees > 10"},
		}}
		made, err := custom.Declare(t.Context(), channel)
		lab.Must(t, err)
		lab.Must(t, client.Subscribe(t.Context(), made.Channel()))
		change := func(id, kind string, set map[string]any) {
			_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: kind, RecordIDs: []string{id}, Set: set})
			lab.Must(t, err)
		}
		const large, small = "001000000000001AAA", "001000000000002AAA"
		change(large, "CREATE", map[string]any{"Name": "Acme", "NumberOfEmployees": 5000})
		change(small, "CREATE", map[string]any{"Name": "Ann", "NumberOfEmployees": 1})
		change(large, "UPDATE", map[string]any{"NumberOfEmployees": 6000})
		got := next(t, client, 2)
		if got[0] != "Acme" || got[1] != "Acme" { // which the second one did not change
			t.Errorf("received %v", got)
		}

		channel.Members[0].Enriched, channel.Members[0].Filter = nil, ""
		_, err = custom.Declare(t.Context(), channel)
		lab.Must(t, err)
		change(small, "UPDATE", map[string]any{"NumberOfEmployees": 2})
		if got = next(t, client, 1); got[0] != "" {
			t.Errorf("received %v", got)
		}

		channel.Type, channel.Members = channels.Data, nil
		_, err = custom.Declare(t.Context(), channel, channels.Exactly())
		lab.Must(t, err)
		change(small, "UPDATE", map[string]any{"NumberOfEmployees": 3})
		next(t, client, 0)
		list, err := custom.List(t.Context())
		lab.Must(t, err)
		if at := slices.IndexFunc(list, func(c channels.CustomChannel) bool { return c.Name == "Sales__chn" }); at < 0 || list[at].Members != nil {
			t.Errorf("listed %+v", list)
		}
		lab.Must(t, client.Unsubscribe(t.Context(), made.Channel()))
		lab.Must(t, custom.Delete(t.Context(), "Sales__chn"))
	})
}

func TestADeclaredChannelOfPlatformEvents(t *testing.T) {
	inOrg(t, func(t *testing.T, l *lab.Lab, client *sfstream.Client) {
		custom := channels.NewCustom(client)
		orders := channels.CustomChannel{Name: "Orders__chn", Members: []channels.Member{{Event: lab.Orders}, {Event: lab.Invoices}}}
		for range 2 {
			made, err := custom.Declare(t.Context(), orders, channels.Exactly())
			lab.Must(t, err)
			orders.ID = made.ID
		}
		lab.Must(t, client.Subscribe(t.Context(), "/event/Orders__chn"))
		l.PublishNext(lab.Orders, 2)
		l.PublishNext(lab.Invoices, 1)
		next(t, client, 3)
	})
}

func TestAPushReachesTheUsersThatItIsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ann, bob, nobody = "005000000000002AAA", "005000000000003AAA", "005000000000009AAA"
		l := lab.New(t, sfstreamtest.WithUser("ann@sfstream.example", ann), sfstreamtest.WithUser("bob@sfstream.example", bob))
		open := func(username string) *sfstream.Client {
			login := l.Authenticator().(authenticator.Password)
			login.Username = username
			client, err := sfstream.New(login, sfstream.WithOrg(l))
			lab.Must(t, err)
			t.Cleanup(func() { _ = client.Close() })
			lab.Must(t, client.Open(t.Context()))
			return client
		}
		anns, bobs := open("ann@sfstream.example"), open("bob@sfstream.example")
		generic := channels.NewGeneric(bobs)
		made, err := generic.Create(t.Context(), channels.GenericChannel{Name: "/u/orders", Description: "Orders"})
		lab.Must(t, err)
		again, err := channels.NewGeneric(anns).Create(t.Context(), channels.GenericChannel{Name: "/u/orders"})
		if lab.Must(t, err); again != made {
			t.Errorf("made %+v and %+v", made, again)
		}
		for _, client := range []*sfstream.Client{anns, bobs} {
			lab.Must(t, client.Subscribe(t.Context(), "/u/orders"))
		}
		results, err := generic.Push(t.Context(), "/u/orders", channels.PushEvent{Payload: "x", UserIDs: []string{ann, nobody}}, channels.PushEvent{Payload: "y"})
		lab.Must(t, err)
		want := []channels.PushResult{
			{Outcome: sfstream.Published, FanoutCount: 1, Online: map[string]bool{ann: true, nobody: false}},
			{Outcome: sfstream.Published, FanoutCount: -1, Online: map[string]bool{}},
		}
		if !reflect.DeepEqual(results, want) {
			t.Errorf("results %+v", results)
		}
		next(t, anns, 2)
		next(t, bobs, 1)
		if online, err := generic.Online(t.Context(), "/u/orders"); err != nil || !slices.Equal(online, []string{ann, bob}) {
			t.Errorf("online: %v %v", online, err)
		}
		list, err := generic.List(t.Context())
		if lab.Must(t, err); !slices.Equal(list, []channels.GenericChannel{made}) {
			t.Errorf("listed %+v", list)
		}
		lab.Must(t, generic.Delete(t.Context(), "/u/orders"))
		if _, err := generic.Find(t.Context(), "/u/orders"); !errors.Is(err, channels.ErrNotFound) {
			t.Errorf("found: %v", err)
		}
	})
}

func TestReplicasThatStartAtOnceMakeOneChannelOfAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		client, err := sfstream.New(l.Authenticator(), sfstream.WithOrg(l))
		lab.Must(t, err)
		defer client.Close()
		lab.Must(t, client.Open(t.Context()))
		generic, custom := channels.NewGeneric(client), channels.NewCustom(client)
		sales := channels.CustomChannel{Name: "Sales__chn", Label: "Sales", Members: []channels.Member{{Event: "AccountChangeEvent", Enriched: []string{"Name"}}}}

		var replicas sync.WaitGroup
		for range 8 {
			replicas.Go(func() {
				if _, err := generic.Create(t.Context(), channels.GenericChannel{Name: "/u/orders"}); err != nil {
					t.Error(err)
				}
				if _, err := generic.Push(t.Context(), "/u/orders", channels.PushEvent{Payload: "x"}); err != nil {
					t.Error(err)
				}
				if _, err := custom.Declare(t.Context(), sales); err != nil {
					t.Error(err)
				}
			})
		}
		replicas.Wait()
		sales.Label, sales.Members[0].Filter = "Other", "Name != 'x'"
		made, err := custom.Declare(t.Context(), sales)
		lab.Must(t, err)
		list, err := custom.List(t.Context())
		lab.Must(t, err)
		list = slices.DeleteFunc(list, func(c channels.CustomChannel) bool { return c.Name == "ChangeEvents" })
		if len(list) != 1 || !reflect.DeepEqual(list[0], made) || made.Label != "Other" {
			t.Errorf("listed %+v, made %+v", list, made)
		}
		if list, err := generic.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("listed %+v, %v", list, err)
		}
	})
}
