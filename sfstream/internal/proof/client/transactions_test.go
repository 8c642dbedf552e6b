package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const allChanges = "/data/ChangeEvents"

// onBoth runs a test over each API, in a bubble.
func onBoth(t *testing.T, run func(t *testing.T, l *lab.Lab)) {
	t.Helper()
	for _, transport := range []string{"pubsub", "cometd"} {
		t.Run(transport+"/", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, lab.New(t)) })
		})
	}
}

// commits publishes changes: "a1" is number 1 of transaction a, "a1!" a gap.
func commits(l *lab.Lab, changes ...string) {
	l.T.Helper()
	for _, c := range changes {
		change := sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{aRecord}, TransactionKey: c[:1], SequenceNumber: int(c[1] - '0')}
		if strings.HasSuffix(c, "!") {
			change.Type = "GAP_UPDATE"
		}
		_, err := l.Change(change)
		l.Must(err)
	}
}

// transactionText is a transaction as the tests write it: "a1 a2 EndNext complete".
func transactionText(tx *sfstream.Transaction) string {
	var b strings.Builder
	for i, c := range tx.Changes {
		if c == nil {
			fmt.Fprintf(&b, "%s ", tx.Messages[i].Channel)
			continue
		}
		fmt.Fprintf(&b, "%s%d ", c.TransactionKey, c.SequenceNumber)
	}
	fmt.Fprint(&b, tx.End)
	if tx.Contiguous() {
		b.WriteString(" contiguous")
	}
	if tx.Complete() {
		b.WriteString(" complete")
	}
	return b.String()
}

// transactions takes n transactions and leaves the loop, the last one unhandled.
func transactions(l *lab.Lab, n int, quiet time.Duration) (got []string) {
	l.T.Helper()
	for tx := range l.Client.Transactions(anHour(l.T), quiet) {
		if len(tx.Messages) != len(tx.Changes) {
			l.T.Errorf("%d messages, %d changes", len(tx.Messages), len(tx.Changes))
		}
		if got = append(got, transactionText(tx)); len(got) == n {
			break
		}
	}
	return got
}

// anHour is how long a test waits for what does not come.
func anHour(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

func expectTransactions(l *lab.Lab, quiet time.Duration, want ...string) {
	l.T.Helper()
	if got := transactions(l, len(want), quiet); !slices.Equal(got, want) {
		l.T.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTransactionsAreGroupedByTheirKey(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		commits(l, "a1", "a2", "a3", "b1", "c2", "c3", "d1", "d3", "e2", "e1", "f1", "f1!", "f2", "g1", "h2!", "i1")
		expectTransactions(l, time.Minute,
			"a1 a2 a3 EndNext contiguous complete",
			"b1 EndNext contiguous complete",
			"c2 c3 EndNext", // the first one is missing
			"d1 d3 EndNext", // one is missing
			"e2 e1 EndNext contiguous complete",
			"f1 EndGap contiguous", // a gap of the same transaction
			"f1 EndGap",
			"f2 EndNext",
			"g1 EndGap contiguous",
			"h2 EndGap",
			"i1 EndQuiet contiguous", // more might have come
		)
	})
}

func TestTransactionsOfSeveralChannelsStayApart(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		l.Subscribe(lab.Accounts)
		l.Subscribe(lab.Orders)
		commits(l, "a1", "a2")
		l.PublishOrders(1)
		commits(l, "b1")
		got := transactions(l, 5, time.Second)
		slices.Sort(got)
		want := []string{lab.Orders + " EndNext", "a1 a2 EndNext contiguous complete", "a1 a2 EndNext contiguous complete", "b1 EndQuiet contiguous", "b1 EndQuiet contiguous"}
		if !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

func TestATransactionWaitsForItsQuiet(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		start := time.Now()
		for i, change := range []string{"a1", "a2", "a3"} {
			time.AfterFunc(time.Duration(i)*800*time.Millisecond, func() { commits(l, change) })
		}
		expectTransactions(l, time.Second, "a1 a2 a3 EndQuiet contiguous")
		if took := time.Since(start); took < 2600*time.Millisecond || took > 2700*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		// Without a limit it waits for the next one.
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for tx := range l.Client.Transactions(ctx, 0) {
			t.Errorf("%s", transactionText(tx))
		}
		l.Must(l.Client.Err())
		commits(l, "b1")
		expectTransactions(l, 0, "a1 a2 a3 EndNext contiguous complete")
	})
}

func TestTheTimeOfTheBodyIsNoQuiet(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		commits(l, "a1", "b1")
		var got []string
		for tx := range l.Client.Transactions(anHour(t), time.Second) {
			if got = append(got, transactionText(tx)); len(got) == 2 {
				break
			}
			time.AfterFunc(10*time.Second+500*time.Millisecond, func() { commits(l, "b2") })
			time.Sleep(10 * time.Second)
		}
		if want := []string{"a1 EndNext contiguous complete", "b1 b2 EndQuiet contiguous"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

func TestALargeTransactionComesInParts(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start(sfstream.WithPrefetch(3))
		l.Subscribe(allChanges)
		var all []string
		for i := 1; i <= 9; i++ {
			all = append(all, fmt.Sprint("a", i))
		}
		for i, change := range append(all, "b1") { // one by one: a reply of the Streaming API may pass the bound
			time.AfterFunc(time.Duration(i)*time.Second, func() { commits(l, change) })
		}
		var got []string
		for tx := range l.Client.Transactions(anHour(t), time.Minute) {
			if tx.Key == "b" {
				break
			}
			if tx.Complete() || len(got) > 9 {
				t.Fatalf("%v, then %s", got, transactionText(tx))
			}
			for _, c := range tx.Changes {
				got = append(got, fmt.Sprint(c.TransactionKey, c.SequenceNumber))
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("%q", got)
		}
	})
}

func TestUnsubscribeForgetsAnOpenTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Start()
		l.Subscribe(allChanges)
		l.Subscribe(lab.Orders)
		commits(l, "a1", "a2")
		time.AfterFunc(time.Second, func() {
			l.Must(l.Client.Unsubscribe(context.WithoutCancel(t.Context()), allChanges))
			l.PublishOrders(1)
		})
		expectTransactions(l, 10*time.Second, lab.Orders+" EndNext")
		if n := l.Client.Pending(); n != 1 { // break put the order back
			t.Errorf("%d messages wait", n)
		}
	})
}

func TestTransactionsEndWithTheClient(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		for range l.NewClient().Transactions(t.Context(), time.Second) {
			t.Error("a transaction before Open")
		}
		l.Start()
		l.Subscribe(allChanges)
		commits(l, "a1")
		time.AfterFunc(time.Second, func() { _ = l.Client.Close() })
		for range l.Client.Transactions(anHour(t), time.Hour) {
			t.Error("an open transaction was handed out")
		}
		l.Must(l.Client.Err())
		l.Start()
		l.Subscribe(allChanges)
		expectTransactions(l, time.Second, "a1 EndQuiet contiguous")
	})
}

func TestATransactionOfAProgramsOwn(t *testing.T) {
	var tx sfstream.Transaction
	if tx.Ack(); tx.Contiguous() || tx.Complete() || sfstream.TransactionEnd(9).String() != "TransactionEnd(?)" {
		t.Error("nothing is complete")
	}
}

const aRecord = "001000000000001AAA"
