package client

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// What is being put together when the program ends was never handled.
func TestARestartInTheMiddleOfATransactionLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		commits(l, "a1", "a2", "b1", "b2")
		ctx, stop := lab.NewStop(t)
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
		l.Subscribe(allChanges)
		commits(l, "b3", "c1", "c2")
		expectTransactions(l, time.Second, "b1 b2 b3 EndNext contiguous complete", "c1 c2 EndQuiet contiguous")
		l.Stop()

		l.Start() // break left c unhandled, the loop handled b
		l.Subscribe(allChanges)
		for tx := range l.Client.Transactions(anHour(t), time.Second) {
			if text := transactionText(tx); text != "c1 c2 EndQuiet contiguous" {
				t.Errorf("%s", text)
			}
			tx.Ack()
			break
		}
		commits(l, "d1")
		expectTransactions(l, time.Second, "d1 EndQuiet contiguous")
	})
}

// A marker never passes a transaction that is not handled, whatever is saved while its messages are
// taken.
func TestACrashInTheMiddleOfATransactionLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		commits(l, "a1", "b1", "b2", "b3", "c1")
		seen := 0
		for tx := range l.Client.Transactions(anHour(t), time.Minute) {
			if seen++; seen == 2 {
				time.Sleep(time.Second) // a save is due after 100 ms
				saved := l.Marker(allChanges)
				if first := string(tx.Messages[0].ReplayID); string(saved.ReplayID) == "" || string(saved.ReplayID) >= first && len(saved.ReplayID) >= len(first) {
					t.Errorf("the marker is at %x, the transaction begins at %x", saved.ReplayID, first)
				}
				break
			}
		}
		expectTransactions(l, time.Second, "b1 b2 b3 EndNext contiguous complete", "c1 EndQuiet contiguous") // after break, the same
	})
}

func TestAPanicLeavesATransactionUnhandled(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		commits(l, "a1", "a2", "b1")
		func() {
			defer func() { _ = recover() }()
			for range l.Client.Transactions(anHour(t), time.Second) {
				panic("the body's")
			}
		}()
		expectSingle(l, "a1", "a2", "b1") // the loop over messages gets them too
		l.Client.Close()
	})
}

// expectSingle expects single messages, of transactions.
func expectSingle(l *lab.Lab, want ...string) {
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
		onBoth(t, func(t *testing.T, l *lab.Lab) {
			l.Start(sfstream.WithAck(policy), sfstream.WithPrefetch(4))
			l.Subscribe(allChanges)
			commits(l, "a1", "a2", "b1", "b2", "c1")
			got := transactions(l, 2, time.Second)
			if want := []string{"a1 a2 EndNext contiguous complete", "b1 b2 EndNext contiguous complete"}; got[0] != want[0] || handled && !slices.Equal(got, want) {
				t.Errorf("%v: %q", policy, got)
			}
			l.Stop()
			l.Start(sfstream.WithAck(policy))
			l.Subscribe(allChanges)
			if handled { // when handed out
				expectTransactions(l, time.Second, "c1 EndQuiet contiguous")
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

// One that was handed out under AckOnReceive is handled, and makes room when its loop is left, also
// where it had taken all.
func TestATransactionLeftUnderAckOnReceiveMakesRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start(sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithPrefetch(2))
		l.Subscribe(allChanges)
		commits(l, "a1", "a2")
		for range l.Client.Transactions(anHour(t), 0) {
			l.Pass(10 * time.Minute) // without demand the connection ends
			break
		}
		commits(l, "b1")
		lab.Within(t, time.Minute, func() { expectTransactions(l, time.Second, "b1 EndQuiet contiguous") })
	})
}
