package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// pageRules are answers of proxies to gRPC: pages. They are no denial, no refused token and no
// missing channel: it is tried again, and the text says whose page it may be.
func pageRules() []rule {
	var rules []rule
	for _, method := range []string{"GetTopic", "Subscribe", "GetSchema"} {
		r := rule{number: 10, words: "a page of status %d in answer to " + method + " is the network's doing", only: sfstream.PubSub}
		rules = append(rules, each(r, []int{200, 302, 401, 403, 404, 407, 429, 451, 500, 502}, func(t *testing.T, status int) {
			pageInAnswer(t, status, method)
		})...)
	}
	return rules
}

func pageInAnswer(t *testing.T, status int, method string) {
	s := lab.New(t)
	proxy := newGRPCProxy(t, s.Server, 100)
	log := new(lab.Log)
	c := s.StartFromOldest(proxy.option(), sfstream.WithLogger(log.Logger()), sfstream.WithAck(sfstream.AckOnReceive),
		sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(150 * time.Millisecond) }))
	proxy.answer(htmlPage(status, method))
	failed := func() error {
		for _, ch := range c.Status().Channels {
			return ch.LastError
		}
		return nil
	}
	var err error
	if method == "GetTopic" { // the answer to Subscribe, when its time is over
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err = c.Subscribe(ctx, lab.Orders); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Subscribe: %v", err)
		}
	} else {
		lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
		s.PublishNext(lab.Orders, 1)
		for deadline := time.Now().Add(10 * time.Second); failed() == nil && time.Now().Before(deadline); {
			<-time.After(10 * time.Millisecond)
		}
		<-time.After(300 * time.Millisecond)
		err = failed()
	}
	var server *sfstream.ServerError
	if !errors.As(err, &server) || server.Code != sfstream.Unavailable {
		t.Fatalf("%v", err)
	}
	lab.Contains(t, err.Error(), fmt.Sprint("HTTP ", status), "proxy", lab.Orders)
	if text := err.Error(); strings.Contains(text, "give the user") || strings.Contains(text, "spelling") || strings.Contains(text, "instance URL") {
		t.Errorf("advice about what is not the matter: %s", text)
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "\r") {
		t.Errorf("more than a line: %q", err)
	}
	if said := err.Error() + log.String(); strings.Count(said, "you sent ") != strings.Count(said, "you sent …") {
		t.Errorf("the token is shown: %s", said)
	}
	proxy.answer(nil)
	if method == "GetTopic" {
		lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
		s.PublishNext(lab.Orders, 1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := c.Receive(ctx)
	lab.Must(t, err)
	if err := m.Decode(new(map[string]any)); err != nil {
		t.Errorf("decode: %v", err)
	}
	if s.Logins() != 1 || c.Err() != nil {
		t.Errorf("%d logins, the end is %v", s.Logins(), c.Err())
	}
	lab.Must(t, c.Close())
}
