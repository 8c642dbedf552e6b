package pubsub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// The Pub/Sub API is down. How often a client dials must not depend on how many channels it
// follows: they share the connection.
func TestDialsAreNotMultiplied(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			count := func(n int) (minute, hour int64) {
				s := lab.New(t)
				var dials atomic.Int64
				down := make(chan struct{})
				real := s.DialOptions()
				_ = real
				refused := func(ctx context.Context, addr string) (net.Conn, error) {
					dials.Add(1)
					<-time.After(50 * time.Millisecond)
					return nil, errors.New("connection refused")
				}
				_ = down
				c := s.StartFromOldest()
				for i := range n {
					s.Define(fmt.Sprintf("/event/C%d__e", i))
				}
				lab.Must(t, c.Close())
				// All channels of a program that starts while the API is down: each Subscribe tries
				// for 30 s.
				c = s.StartFromOldest(sfstream.WithPubSubDialOptions(grpc.WithContextDialer(refused)))
				for i := range n {
					go c.Subscribe(t.Context(), fmt.Sprintf("/event/C%d__e", i))
				}
				<-time.After(time.Minute)
				minute = dials.Load()
				lab.Must(t, c.Close())
				return
			}
			one, _ := count(1)
			many, _ := count(100)
			t.Logf("%d dials in 30 s with one channel, %d with 100", one, many)
			if many > 4*one {
				t.Errorf("%d dials, with one channel %d", many, one)
			}
		})
	})
}

// A login URL with a password or a token in it.
func TestLoginURLWithAPassword(t *testing.T) {
	for _, u := range []string{"https://user:hunter2@acme.my.salesforce.com", "http://user:hunter2@acme.my.salesforce.com",
		"https://acme.my.salesforce.com/?token=hunter2", "https://acme.my.salesforce.com#hunter2"} {
		s := lab.New(t)
		c, err := sfstream.New(s.Authenticator(), sfstream.WithLoginURL(u), sfstream.WithHTTPClient(s.HTTPClient()))
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err = c.Open(ctx)
			cancel()
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Error(err)
		}
	}
}

func TestLoginURLWithWhiteSpaceAround(t *testing.T) {
	if _, err := sfstream.New(lab.New(t).Authenticator(), sfstream.WithLoginURL(" https://acme.my.salesforce.com\n")); err != nil {
		t.Error(err)
	}
}
