package sfstreamtest_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestOnLoopback(t *testing.T) {
	for name, do := range map[string]func(*testing.T, *rig){"DropConnections": dropConnections, "Refuse": refuse} {
		t.Run(name, func(t *testing.T) { do(t, newRig(t)) })
	}
}

func TestTLS(t *testing.T) {
	r := newRig(t, sfstreamtest.WithTLS())
	if !strings.HasPrefix(r.LoginURL(), "https://127.0.0.1:") || strings.Contains(r.PubSubEndpoint(), "/") {
		t.Errorf("addresses %s and %s", r.LoginURL(), r.PubSubEndpoint())
	}
	events := r.publish(1)
	if got := recvIDs(t, r.open(earliest(orders, 1)), 1); got[0] != events[0].ID {
		t.Errorf("got %v", got)
	}
	dropConnections(t, r)
	if _, err := http.Get(r.LoginURL()); err == nil {
		t.Error("a stranger trusts the certificate")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(r.CertPEM()) {
		t.Fatal("CertPEM has no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(strings.Replace(r.LoginURL(), "127.0.0.1", "localhost", 1))
	check(t, err)
	resp.Body.Close()
}

func TestAddressesCanBeChosen(t *testing.T) {
	first, err := sfstreamtest.Start()
	check(t, err)
	httpAddr := strings.TrimPrefix(first.LoginURL(), "http://")
	grpcAddr := strings.TrimPrefix(first.PubSubEndpoint(), "http://")
	check(t, first.Close())
	r := newRig(t, sfstreamtest.WithHTTPAddr(httpAddr), sfstreamtest.WithPubSubAddr(grpcAddr))
	if r.LoginURL() != first.LoginURL() || r.PubSubEndpoint() != first.PubSubEndpoint() {
		t.Errorf("listens on %s and %s", r.LoginURL(), r.PubSubEndpoint())
	}
	if _, err := sfstreamtest.Start(sfstreamtest.WithHTTPAddr(httpAddr)); err == nil {
		t.Error("a second org on the same address")
	}
}

func TestNonsenseOptionsAreErrors(t *testing.T) {
	for name, opt := range map[string]sfstreamtest.Option{
		"keepalive": sfstreamtest.WithKeepalive(0), "idle": sfstreamtest.WithIdleClose(-1), "retention": sfstreamtest.WithRetention(0),
		"routing": sfstreamtest.WithRoutingDelay(-1), "credit": sfstreamtest.WithCreditCap(0), "batch": sfstreamtest.WithBatchBytes(0),
		"session": sfstreamtest.WithSessionTimeout(0), "streams": sfstreamtest.WithMaxStreams(0),
	} {
		if s, err := sfstreamtest.Start(opt); err == nil {
			t.Errorf("%s: started", name)
			check(t, s.Close())
		}
	}
}

// This test calls all methods at once, for the race detector. After that every event must come once
// and in order.
func TestConcurrentVerbs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const writers, each = 4, 200
		stream := r.follow(orders, 100)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if _, err := r.PublishRaw(orders, sfstreamtest.RawEvent{ID: fmt.Sprintf("%d/%03d", w, i)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			for range each {
				r.Streams("")
				r.Outstanding(orders)
				r.FailGetSchema(1, "UNAVAILABLE")
				r.ClearFaults()
				if err := r.DefineEvent("/event/Other__e", schemaFile(t, "order")); err != nil {
					t.Error(err)
				}
			}
		})
		last := make([]string, writers)
		var replay []byte
		for n := 0; n < writers*each; {
			resp := recv(t, stream)
			for _, e := range resp.Events {
				w := e.Event.Id[0] - '0'
				if e.Event.Id <= last[w] || bytes.Compare(e.ReplayId, replay) <= 0 {
					t.Errorf("%s after %s", e.Event.Id, last[w])
				}
				last[w], replay = e.Event.Id, e.ReplayId
			}
			n += len(resp.Events)
			if len(resp.Events) > 0 {
				check(t, stream.Send(&eventbus.FetchRequest{NumRequested: int32(len(resp.Events))}))
			}
		}
		wg.Wait()
	})
}
