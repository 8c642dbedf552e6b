package sfstream_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
)

// A handler that fails is called again. When the policy gives up, Run ends with the
// error, and the message comes first in the next run of the program.
func ExampleOnError() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	threeTimes := func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Millisecond), 2)
	}
	err := client.Run(context.Background(), func(ctx context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		fmt.Println(fields["Number__c"])
		if fields["Number__c"] == "A-2" {
			return errors.New("the database is away")
		}
		return nil
	}, sfstream.Workers(1), sfstream.OnError(sfstream.Retry(threeTimes), sfstream.Stop))
	fmt.Println(err)
	// Output:
	// A-1
	// A-2
	// A-2
	// A-2
	// the database is away
}

// What cannot be handled is kept elsewhere, and holds nothing up.
func ExampleSkip() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	deadLetter := func(msg *sfstream.Message, err error) {
		fields, _ := msg.Fields()
		fmt.Println("put aside:", fields["Number__c"], err)
	}
	err := client.Run(ctx, func(ctx context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		if fields["Amount__c"] == 0.0 {
			return errors.New("there is nothing to pay")
		}
		fmt.Println("paid:", fields["Number__c"])
		if fields["Number__c"] == "A-3" {
			stop()
		}
		return nil
	}, sfstream.Workers(1), sfstream.OnError(sfstream.Skip(deadLetter)))
	fmt.Println(err)
	// Output:
	// put aside: A-1 there is nothing to pay
	// paid: A-2
	// paid: A-3
	// <nil>
}
