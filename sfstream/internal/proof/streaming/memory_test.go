package streaming

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// A few kB of gzip become a list of a million empty objects.
func TestAReplyOfEmptyObjectsTakesLittleMemory(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, "[{}")
	chunk := strings.Repeat(",{}", 1<<20)
	for range 2 { // 6 MB
		_, _ = io.WriteString(z, chunk)
	}
	_, _ = io.WriteString(z, "]")
	_ = z.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	}))
	defer srv.Close()
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		return &authenticator.Credentials{AccessToken: "SECRET", InstanceURL: srv.URL, OrgID: "00D000000000001AAA"}, nil
	})
	c, err := sfstream.New(auth, sfstream.WithAPIVersion("62.0"), sfstream.WithTransport(sfstream.CometD))
	lab.Must(t, err)
	defer c.Close()
	lab.Must(t, c.Open(t.Context()))
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Subscribe(ctx, "/topic/Lab") }()
	for range 40 {
		<-time.After(20 * time.Millisecond)
		runtime.ReadMemStats(&now)
		if h := now.HeapInuse - min(now.HeapInuse, before.HeapInuse); h > peak.Load() {
			peak.Store(h)
		}
	}
	cancel()
	<-done
	if p := peak.Load(); p > 64<<20 {
		t.Errorf("%d kB on the wire take %d MB", zipped.Len()>>10, p>>20)
	}
}
