package sfstream_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := sfstreamtest.NewServer(t, sfstreamtest.InMemory())
		if err := org.DefineEvent("/event/Order__e", `{"type":"record","name":"Order__e","namespace":"com.sforce.eventbus","fields":[{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"},{"name":"N__c","type":["null","double"],"default":null}]}`); err != nil {
			t.Fatal(err)
		}
		c, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		if err := c.Open(ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			if _, err := org.Publish("/event/Order__e", map[string]any{"N__c": float64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Subscribe(ctx, "/event/Order__e"); err != nil {
			t.Fatal(err)
		}
		n := 0
		for m := range c.Messages(ctx) {
			if n == 0 {
				b, err := m.MarshalJSON()
				fmt.Println(string(b), err)
			}
			if n++; n == 300 {
				m.Ack()
				break
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
