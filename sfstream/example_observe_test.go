package sfstream_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/sfstream/sfstream-go/sfstream"
)

// Hooks tell of an outage, and of its end. Nothing is to be done about it: the client goes
// on where it was.
func ExampleHooks() {
	org := demoOrg()
	defer org.Close()
	failures, reconnects := make(chan error, 10), make(chan sfstream.Reconnect, 10) // hooks must not block
	client := follow(org, sfstream.WithHooks(sfstream.Hooks{
		OnState: func(channel string, state sfstream.State, err error) {
			if state == sfstream.StateWaiting {
				failures <- err
			}
		},
		OnReconnect: func(r sfstream.Reconnect) { reconnects <- r },
	}))
	defer client.Close()

	if err := org.AwaitStreams(context.Background(), "/event/Order__e", 1); err != nil {
		log.Fatal(err)
	}
	org.EndStreams("/event/Order__e", "UNAVAILABLE: This application is down for maintenance")
	var server *sfstream.ServerError
	if errors.As(<-failures, &server) {
		fmt.Println(server.Channel, server.Code, server.Message)
	}
	fmt.Println((<-reconnects).Channel, "is followed again")
	// Output:
	// /event/Order__e Unavailable This application is down for maintenance
	// /event/Order__e is followed again
}

// How far a program is, as for a health check.
func ExampleClient_Status() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	for range 3 { // a message is handled when the next one is asked for
		if _, err := client.Receive(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	status := client.Status()
	fmt.Println("volatile:", status.Volatile) // without WithReplayStore
	for _, c := range status.Channels {
		fmt.Println(c.Channel, c.State, "received", c.Received, "handled", c.Handled, "waiting", c.Pending)
	}
	// Output:
	// volatile: true
	// /event/Order__e live received 3 handled 2 waiting 0
}
