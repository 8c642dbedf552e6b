package channels_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
)

// A push is for certain users, and tells who of them listens.
func ExampleGeneric_Push() {
	org, client := openOrg()
	defer org.Close()
	defer client.Close()
	ctx := context.Background()

	generic := channels.NewGeneric(client)
	orders, err := generic.Create(ctx, channels.GenericChannel{Name: "/u/orders", Description: "What waits for whom"})
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Subscribe(ctx, orders.Name, sfstream.From(sfstream.ReplayAll)); err != nil {
		log.Fatal(err)
	}

	me, nobody := org.Account().UserID, "005000000000009AAA"
	results, err := generic.Push(ctx, orders.Name,
		channels.PushEvent{Payload: "the order A-17 waits for you", UserIDs: []string{me, nobody}},
		channels.PushEvent{Payload: "all orders are there"},
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(results[0].Outcome, results[0].FanoutCount, results[0].Online[me], results[0].Online[nobody])
	fmt.Println(results[1].Outcome, results[1].FanoutCount)

	for range 2 {
		msg, err := client.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fields, err := msg.Fields()
		fmt.Println(fields["payload"], err)
	}
	// Output:
	// Published 1 true false
	// Published -1
	// the order A-17 waits for you <nil>
	// all orders are there <nil>
}
