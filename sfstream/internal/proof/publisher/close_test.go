package publisher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// speechless is a bus that does not say what topics there are.
type speechless struct{ splitter }

func (speechless) GetTopic(ctx context.Context, _ *eventbus.TopicRequest) (*eventbus.TopicInfo, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Calls of Publish that Close ends must not connect once more: nothing would ever end that
// connection, and the bubble would not end. A call among many asks for the topic at that moment in
// one of several runs.
func TestNothingConnectsAfterClose(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c := reporting(t, speechless{})
			p, err := c.Publisher("/event/A__e")
			lab.Must(t, err)
			var calls sync.WaitGroup
			for range 15 {
				calls.Go(func() {
					if _, err := p.Publish(context.Background(), map[string]any{}); !errors.Is(err, sfstream.ErrClosed) {
						t.Error(err)
					}
				})
				calls.Go(func() {
					if _, err := c.Publish(context.Background(), "/event/A__e", map[string]any{}); !errors.Is(err, sfstream.ErrClosed) {
						t.Error(err)
					}
				})
			}
			time.Sleep(time.Second)
			lab.Must(t, c.Close())
			calls.Wait()
		})
	}
}
