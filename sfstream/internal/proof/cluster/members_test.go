package cluster

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/health"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestReplicasThatStartAtOnceShare(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.startThree(w.channels(6)...)
		w.expectShares(2, 2, 2)
		if got := w.replicas[0].Status().Members; !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("members %q", got)
		}
		w.replicas[1].end()
		w.Pass(3 * time.Second)
		w.expectShares(3, 0, 3)
	})
}

func TestChannelsOfADeadReplicaAreShared(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, _, _ := w.startThree(w.channels(6)...)
		a.wire.setCut(true)
		w.Pass(13 * time.Second)
		w.expectShares(0, 3, 3)
	})
}

// A dead replica may be a member for longer than its channels are its own. Who takes these has more
// than a share then, and keeps it.
func TestChannelsOfTheLivingStayWhereTheyAre(t *testing.T) {
	for phase := range 7 { // of the beats of members and channels
		t.Run(strconv.Itoa(phase), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				all := w.channels(4)
				a, b := w.start("a", all, nil), w.start("b", all, nil)
				w.Pass(time.Minute + time.Duration(phase)*500*time.Millisecond)
				w.expectShares(2, 2)
				before := len(b.history())
				a.wire.setCut(true)
				w.Pass(time.Minute)
				w.expectShares(0, 4)
				for _, e := range b.history()[before:] {
					if e.state == cluster.StateHandingOver {
						t.Errorf("it hands over %s", e.channel)
					}
				}
			})
		})
	}
}

// A replica joins: channels move one at a time, and no message comes twice.
func TestAReplicaThatJoinsGetsItsShare(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		channels := w.channels(4)
		a := w.start("a", channels, nil)
		w.Pass(10 * time.Second)
		w.expectShares(4)
		b := w.start("b", channels, nil)
		for range 40 {
			for _, channel := range channels {
				w.PublishNext(channel, 1)
			}
			w.Pass(time.Second)
		}
		w.expectShares(2, 2)
		for _, channel := range channels {
			w.expectAll(channel, 0)
		}
		moving, got := 0, 0
		events := append(a.history(), b.history()...)
		slices.SortStableFunc(events, func(x, y event) int { return x.at.Compare(y.at) })
		for _, e := range events[slices.IndexFunc(events, func(e event) bool { return e.state == cluster.StateHandingOver }):] {
			switch e.state {
			case cluster.StateHandingOver:
				moving++
			case cluster.StateLeading:
				moving--
				got++
			}
			if moving > 1 || e.err != nil {
				t.Errorf("%d channels move at once: %+v", moving, e)
			}
		}
		if got != 2 {
			t.Errorf("%d channels have moved", got)
		}
		n := len(a.history()) + len(b.history())
		w.Pass(10 * time.Minute)
		if more := len(a.history()) + len(b.history()) - n; more > 0 {
			t.Errorf("%d changes more", more)
		}
	})
}

// Salesforce does not let a replica connect. It hands over after a minute, and does not take the
// channel back for five.
func TestALeaderWithoutASessionHandsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		b := w.start("b", []string{lab.Orders}, nil)
		w.Pass(15 * time.Second)
		w.publish(lab.Orders, 5)
		a.wire.setSessionless(true)
		w.DropConnections()
		w.PublishNext(lab.Orders, 5)
		w.Pass(55 * time.Second)
		w.expectShares(1, 0)
		w.Pass(10 * time.Second)
		w.expectShares(0, 1)
		w.expectAll(lab.Orders, 0)
		a.wire.setSessionless(false)

		b.end() // a is alone, and takes it although it was to leave it for five minutes
		w.Pass(32 * time.Second)
		w.expectShares(1, 0)
	})
}

// What a replica has handed over because it had no session stays with those who have one, although
// they have more than their share then, and is the replica's again after five minutes.
func TestAReplicaWithoutASessionIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all := w.channels(2)
		a, b := w.start("a", all, nil), w.start("b", all, nil)
		w.Pass(20 * time.Second)
		w.expectShares(1, 1)
		a.wire.setSessionless(true)
		w.DropConnections()
		w.Pass(61 * time.Second)
		w.expectShares(0, 1)
		w.Pass(15 * time.Second) // nobody has room for it
		w.expectShares(0, 2)
		a.wire.setSessionless(false)
		seen := len(b.history())
		w.Pass(4*time.Minute + 15*time.Second)
		w.expectShares(0, 2)
		for _, e := range b.history()[seen:] {
			t.Errorf("%s: %s at %s", e.channel, e.state, clock(e.at))
		}
		w.Pass(time.Minute)
		w.expectShares(1, 1)
	})
}

// Salesforce lets nobody connect: the channel goes from one to the other, and is never left for
// long.
func TestAnOutageOfSalesforceLeavesALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.startThree(lab.Orders)
		w.publish(lab.Orders, 5)
		for _, r := range w.replicas {
			r.wire.setSessionless(true)
		}
		w.DropConnections()
		w.PublishNext(lab.Orders, 5)
		w.Pass(20 * time.Minute)
		for _, r := range w.replicas {
			r.wire.setSessionless(false)
		}
		w.Pass(90 * time.Second)
		w.expectAll(lab.Orders, 0)
	})
}

// A replica that knows other channels takes no share of those it does not know.
func TestAHandOverThatNobodyWantsIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		channels := w.channels(3)
		a := w.start("a", channels[:2], nil)
		w.Pass(10 * time.Second)
		w.start("b", channels[2:], nil)
		w.Pass(4 * time.Minute)
		w.expectShares(2, 1)
		moves := 0
		for _, e := range a.history() {
			if e.state == cluster.StateHandingOver {
				moves++
			}
		}
		if moves != 1 {
			t.Errorf("%d hand-overs", moves)
		}
	})
}

func TestTwoReplicasOfOneNameAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		channels := w.channels(4)
		w.start("a", channels, nil)
		w.start("a", channels, nil)
		w.Pass(2 * time.Minute)
		w.expectShares(2, 2)
		if n := len(w.Log.Warnings("the same name")); n != 2 {
			t.Errorf("%d warnings: %s", n, w.Log)
		}
	})
}

// A restarted replica has its old name and no old rights.
func TestARestartedReplicaIsSomeoneElse(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 5)
		a.wire.setCut(true) // it is killed, as far as the engine can see
		again := w.start("a", []string{lab.Orders}, nil)
		w.Pass(8 * time.Second)
		if len(again.leads()) > 0 {
			t.Error("it leads before the lease is over")
		}
		w.Pass(4 * time.Second)
		if len(again.leads()) == 0 {
			t.Error("it does not lead after the lease")
		}
		if n := len(w.Log.Warnings("the same name")); n != 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

func TestStatusSaysWhoLeads(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		b := w.start("b", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		for _, r := range []*replica{a, b} {
			ch := r.Status().Channels[0]
			if ch.Leader != "a" || ch.RevisionAge > 4*time.Second || ch.Err != nil {
				t.Errorf("%s: %+v", r.name, ch)
			}
			if err := r.ClientStatus().Check(); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		}
		if n := len(a.ClientStatus().Channels); n != 1 {
			t.Errorf("%d channels of the leader's client", n)
		}
		if n := len(b.ClientStatus().Channels); n != 0 {
			t.Errorf("%d channels of the standby's client", n)
		}
		if _, err := health.New(b.ClientStatus); err != nil {
			t.Error(err)
		}
		b.wire.setCut(true)
		w.Pass(2 * time.Minute)
		if err := b.ClientStatus().Check(); err == nil || !strings.Contains(err.Error(), "wire") && !strings.Contains(err.Error(), "deadline") {
			t.Errorf("cut off from the engine: %v", err)
		}
		if got := b.Status(); got.Err == nil || got.Channels[0].Err == nil {
			t.Errorf("%+v", got)
		}
	})
}

// The list of members only says how to share. Where it is damaged it is written anew, and a list of
// a newer release is left as it is: either way a replica leads what nobody else does.
func TestAListThatCannotBeReadKeepsNobodyFromLeading(t *testing.T) {
	for text, kept := range map[string]bool{"": false, "\x00": false, `[]`: false, `{"version":1,"members":[{},5]}`: false, `{"version":2,"members":{}}`: true} {
		inBubble(t, func(t *testing.T, w *world) {
			all := w.channels(4)
			a := w.start("a", all, nil)
			w.Pass(20 * time.Second)
			key := w.Key(lab.APIOf(t), lab.Orders)
			key.API, key.Channel = "members", ""
			list, _ := key.MarshalText()
			w.Must(w.engine.values.Update(string(list), func(before []byte) ([]byte, error) {
				if len(before) == 0 {
					t.Error("there was no list")
				}
				return []byte(text), nil
			}))
			b := w.start("b", all, nil)
			w.Pass(2 * time.Minute)
			value, _, err := w.engine.Get(t.Context(), string(list))
			w.Must(err)
			if got := string(value) == text; got != kept {
				t.Errorf("%q: kept %v", text, got)
			}
			if !kept {
				w.expectShares(2, 2)
				if err := errors.Join(a.Status().Err, b.Status().Err); err != nil {
					t.Error(err)
				}
			} else if err := b.Status().Err; err == nil || !strings.Contains(err.Error(), "newer") {
				t.Errorf("the status of b: %v", err)
			}
			a.wire.setCut(true)
			w.Pass(45 * time.Second)
			w.expectShares(0, 4)
		})
	}
}
