package sfstreamtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// BenchmarkCometDBurst reads a backlog of PushTopic events of 600 bytes without looking at them. No
// benchmark of a client can be faster.
func BenchmarkCometDBurst(b *testing.B) {
	r := newRig(b)
	check(b, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accts", Query: "SELECT Id, Name FROM Account"}))
	sobject := map[string]any{"Id": "001", "Name": json.RawMessage(`"` + strings.Repeat("x", 460) + `"`)}
	const events = 100_000
	for range events {
		if _, err := r.PublishTopic("Accts", "created", sobject); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		c := r.shaken()
		total, n := drain(b, c, subscribeMessage(accounts, -2))
		for n < events {
			size, more := drain(b, c, connectMessage())
			total, n = total+size, n+more
		}
		b.SetBytes(int64(total))
		c.post(object{"channel": "/meta/disconnect"})
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}

// drain posts a message and counts the events that come back.
func drain(b *testing.B, c *bayeux, m object) (size, events int) {
	b.Helper()
	m["clientId"] = c.clientID
	body, err := json.Marshal([]object{m})
	check(b, err)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, c.url, bytes.NewReader(body))
	check(b, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	check(b, err)
	defer resp.Body.Close()
	if size = int(resp.ContentLength); size > 13<<20 {
		b.Errorf("a response of %d bytes", size)
	}
	text, err := io.ReadAll(resp.Body)
	check(b, err)
	return size, bytes.Count(text, []byte(`{"data":`))
}
