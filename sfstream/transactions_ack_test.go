package sfstream_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// What is being put together when the program ends was never handled.
func TestARestartInTheMiddleOfATransactionLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Lab) {
		l.Start()
		l.Subscribe(labChanges)
		l.commits("a1", "a2", "b1", "b2")
		ctx, stop := NewStop(t)
		var got []string
		for tx := range l.Client.Transactions(ctx, 0) {
			got = append(got, transactionText(tx)) // b is open, and stays so
			time.AfterFunc(time.Hour, stop)
		}
		if want := []string{"a1 a2 EndNext contiguous complete"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		l.Stop()

		l.Start()
		l.Subscribe(labChanges)
		l.commits("b3", "c1", "c2")
		l.expectTransactions(time.Second, "b1 b2 b3 EndNext contiguous complete", "c1 c2 EndQuiet contiguous")
		l.Stop()

		l.Start() // break left c unhandled, the loop handled b
		l.Subscribe(labChanges)
		for tx := range l.Client.Transactions(anHour(t), time.Second) {
			if text := transactionText(tx); text != "c1 c2 EndQuiet contiguous" {
				t.Errorf("%s", text)
			}
			tx.Ack()
			break
		}
		l.commits("d1")
		l.expectTransactions(time.Second, "d1 EndQuiet contiguous")
	})
}

// A marker never passes a transaction that is not handled, whatever is saved while
// its messages are taken.
func TestACrashInTheMiddleOfATransactionLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Lab) {
		l.Start()
		l.Subscribe(labChanges)
		l.commits("a1", "b1", "b2", "b3", "c1")
		seen := 0
		for tx := range l.Client.Transactions(anHour(t), time.Minute) {
			if seen++; seen == 2 {
				time.Sleep(time.Second) // a save is due after 100 ms
				saved := l.Marker(labChanges)
				if first := string(tx.Messages[0].ReplayID); string(saved.ReplayID) == "" || string(saved.ReplayID) >= first && len(saved.ReplayID) >= len(first) {
					t.Errorf("the marker is at %x, the transaction begins at %x", saved.ReplayID, first)
				}
				break
			}
		}
		l.expectTransactions(time.Second, "b1 b2 b3 EndNext contiguous complete", "c1 EndQuiet contiguous") // after break, the same
	})
}

func TestAPanicLeavesATransactionUnhandled(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Lab) {
		l.Start()
		l.Subscribe(labChanges)
		l.commits("a1", "a2", "b1")
		func() {
			defer func() { _ = recover() }()
			for range l.Client.Transactions(anHour(t), time.Second) {
				panic("the body's")
			}
		}()
		l.expectSingle("a1", "a2", "b1") // the loop over messages gets them too
		l.Client.Close()
	})
}

// expectSingle expects single messages, of transactions.
func (l *Lab) expectSingle(want ...string) {
	l.T.Helper()
	for _, want := range want {
		m := l.Receive()
		c, err := m.Change()
		l.Must(err)
		if got := fmt.Sprint(c.TransactionKey, c.SequenceNumber); got != want {
			l.T.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTransactionsUnderTheOtherAckPolicies(t *testing.T) {
	for policy, handled := range map[sfstream.AckPolicy]bool{sfstream.AckOnReceive: true, sfstream.AckManual: false} {
		onBoth(t, func(t *testing.T, l *Lab) {
			l.Start(sfstream.WithAck(policy), sfstream.WithPrefetch(4))
			l.Subscribe(labChanges)
			l.commits("a1", "a2", "b1", "b2", "c1")
			got := l.transactions(2, time.Second)
			if want := []string{"a1 a2 EndNext contiguous complete", "b1 b2 EndNext contiguous complete"}; got[0] != want[0] || handled && !slices.Equal(got, want) {
				t.Errorf("%v: %q", policy, got)
			}
			l.Stop()
			l.Start(sfstream.WithAck(policy))
			l.Subscribe(labChanges)
			if handled { // when handed out
				l.expectTransactions(time.Second, "c1 EndQuiet contiguous")
				return
			}
			n := 0
			for tx := range l.Client.Transactions(anHour(t), time.Second) {
				if tx.Ack(); tx.Key == "c" {
					break
				}
				n++
			}
			if n != 2 {
				t.Errorf("%d transactions came again, want 2", n)
			}
		})
	}
}

// One that was handed out under AckOnReceive is handled, and makes room when its loop
// is left, also where it had taken all.
func TestATransactionLeftUnderAckOnReceiveMakesRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Lab) {
		l.Start(sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithPrefetch(2))
		l.Subscribe(labChanges)
		l.commits("a1", "a2")
		for range l.Client.Transactions(anHour(t), 0) {
			l.Pass(10 * time.Minute) // without demand the connection ends
			break
		}
		l.commits("b1")
		Within(t, time.Minute, func() { l.expectTransactions(time.Second, "b1 EndQuiet contiguous") })
	})
}
