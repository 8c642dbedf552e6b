package cluster_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Two replicas of a service, one after the other: the second one goes on where the first one was.
func ExampleRun() {
	org, err := sfstreamtest.Start() // in place of a real org
	if err != nil {
		log.Fatal(err)
	}
	defer org.Close()
	if err := org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long"},
		{"name": "Number__c", "type": "double"}]}`); err != nil {
		log.Fatal(err)
	}
	for number := range 4 {
		if _, err := org.Publish("/event/Order__e", map[string]any{"Number__c": number + 1}); err != nil {
			log.Fatal(err)
		}
	}

	register := new(replaystoretest.Register) // in place of redisstore, sqlstore, natsstore …
	newClient := func(opts ...sfstream.Option) (*sfstream.Client, error) {
		own := []sfstream.Option{sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll)}
		return sfstream.New(org.Authenticator(), append(own, opts...)...)
	}
	for _, name := range []string{"alpha", "beta"} {
		ctx, stop := context.WithCancel(context.Background())
		handled := 0
		err := cluster.Run(ctx, newClient, []string{"/event/Order__e"}, register, func(_ context.Context, msg *sfstream.Message) error {
			order, err := sfstream.Decode[struct{ Number__c float64 }](msg)
			if err != nil {
				return err
			}
			fmt.Println(name, "handles order", order.Number__c)
			if handled++; handled == 2 {
				stop()
			}
			return nil
		}, cluster.WithName(name), cluster.WithLease(time.Second))
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// alpha handles order 1
	// alpha handles order 2
	// beta handles order 3
	// beta handles order 4
}
