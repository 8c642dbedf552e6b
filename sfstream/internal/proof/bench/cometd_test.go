package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
)

// burst is how many PushTopic events one run receives.
const burst = 100_000

// BenchmarkCometDBurst measures a burst of 100,000 PushTopic events of about 600 bytes, in replies
// of up to 12 MB: the whole program, with a bbolt file. The server is a process of its own, and so
// are the two loops that ours is compared with in the same run: net/http and encoding/json that
// decode all ("x-bare"), and the same with the data left raw ("x-raw").
func BenchmarkCometDBurst(b *testing.B) {
	addr, err := firstLine(b, child.Command(b, "bench cometd server", nil))
	if err != nil {
		b.Fatal(err)
	}
	for version, perReply := range burstReplies {
		b.Run(fmt.Sprintf("reply=%d", perReply), func(b *testing.B) {
			var ours, bare, raw cost
			run := func(sum *cost, args burstArgs) {
				args.URL, args.Version = "http://"+addr, version
				c := measure(b, "bench cometd", args)
				sum.Events += c.Events
				sum.CPU += c.CPU
				sum.Elapsed += c.Elapsed
				sum.Allocs += c.Allocs
				sum.Peak = max(sum.Peak, c.Peak)
			}
			for b.Loop() {
				run(&bare, burstArgs{Kind: "bare"})
				run(&ours, burstArgs{Kind: "ours", Path: filepath.Join(b.TempDir(), "replay.db")})
				run(&raw, burstArgs{Kind: "raw"})
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ours.eventsPerS(), "events/s")
			b.ReportMetric(ours.cpuPerEvent(), "cpu-µs/event")
			b.ReportMetric(bare.cpuPerEvent(), "bare-cpu-µs/event")
			b.ReportMetric(ours.cpuPerEvent()/bare.cpuPerEvent(), "x-bare")
			b.ReportMetric(ours.cpuPerEvent()/raw.cpuPerEvent(), "x-raw")
			b.ReportMetric(ours.allocsPerEvent(), "allocs/event")
			b.ReportMetric(ours.Peak, "MiB-peak")
			b.ReportMetric(bare.Peak, "bare-MiB-peak")
			if ratio := ours.cpuPerEvent() / bare.cpuPerEvent(); ratio > 1 || ours.Peak > 64 {
				b.Errorf("%.2f of the bare loop's CPU, want at most 1; %.1f MiB at the peak, want at most 64", ratio, ours.Peak)
			}
		})
	}
}

// burstReplies are how many events a reply has, by the API version that is asked.
var burstReplies = map[string]int{"60.0": 20_000, "61.0": 500}

type burstArgs struct{ Kind, URL, Version, Path string }

// receiveBurst is a program that receives the burst and prints its cost.
func receiveBurst(args burstArgs) error {
	started := startMeter()
	var err error
	switch args.Kind {
	case "ours":
		err = burstOurs(args)
	case "bare":
		err = burstBare(args, func(body io.Reader) (int, error) {
			var messages []struct {
				Channel string
				Data    struct {
					Event struct {
						ReplayID    int64
						Type        string
						CreatedDate string
					}
					SObject map[string]any
				}
			}
			err := json.NewDecoder(body).Decode(&messages)
			return len(messages) - 1, err
		})
	case "raw":
		err = burstBare(args, func(body io.Reader) (int, error) {
			var messages []struct {
				Channel string
				Data    json.RawMessage
			}
			err := json.NewDecoder(body).Decode(&messages)
			return len(messages) - 1, err
		})
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(started.read(burst))
}

func burstOurs(args burstArgs) error {
	store, err := replaystore.OpenBolt(args.Path)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := sfstream.New(
		authenticator.Static{AccessToken: "token", InstanceURL: args.URL, OrgID: "00D000000000062EAA"},
		sfstream.WithAPIVersion(args.Version), sfstream.WithReplayStore(store), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, "/topic/Accounts"); err != nil {
		return err
	}
	n := 0
	for msg := range client.Messages(ctx) {
		if n++; n == burst {
			msg.Ack()
			return nil
		}
	}
	return client.Err()
}

// burstBare is as little as receives the burst: a connect after the other.
func burstBare(args burstArgs, decode func(io.Reader) (int, error)) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	post := func(body string) (*http.Response, error) {
		return client.Post(args.URL+"/cometd/"+args.Version, "application/json", strings.NewReader(body))
	}
	for _, body := range []string{
		`[{"id":"1","channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]`,
		`[{"id":"2","channel":"/meta/subscribe","clientId":"c","subscription":"/topic/Accounts"}]`,
	} {
		resp, err := post(body)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for n := 0; n < burst; {
		resp, err := post(`[{"id":"3","channel":"/meta/connect","clientId":"c","connectionType":"long-polling"}]`)
		if err != nil {
			return err
		}
		got, err := decode(resp.Body)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		n += got
	}
	return nil
}

// serveBurst is a process that answers each connect with events, and ends with stdin.
func serveBurst() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: burstHandler()}
	go func() { // ends with stdin, as the process does
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

func burstHandler() http.Handler {
	replies := make(map[string][]string) // all of a burst, prepared
	for version, perReply := range burstReplies {
		for first := 0; first < burst; first += perReply {
			replies[version] = append(replies[version], burstReply(first, perReply))
		}
	}
	connects := 0 // since the handshake; there is one client at a time
	mux := http.NewServeMux()
	mux.HandleFunc("/cometd/{version}", func(w http.ResponseWriter, r *http.Request) {
		var messages []struct{ ID, Channel, Subscription string }
		if json.NewDecoder(r.Body).Decode(&messages) != nil || len(messages) == 0 {
			http.Error(w, "no message", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		m, of := messages[0], replies[r.PathValue("version")]
		switch {
		case m.Channel == "/meta/handshake":
			connects = 0
		case m.Channel == "/meta/connect" && connects < len(of):
			connects++
			_, _ = io.WriteString(w, of[connects-1])
			return
		case m.Channel == "/meta/connect":
			<-r.Context().Done() // nothing more comes
			return
		}
		_, _ = fmt.Fprintf(w, `[{"id":%q,"channel":%q,"subscription":%q,"clientId":"c","successful":true}]`, m.ID, m.Channel, m.Subscription)
	})
	return mux
}

func burstReply(first, n int) string {
	var b strings.Builder
	b.WriteString("[")
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, `{"data":{"event":{"createdDate":"2026-01-09T10:00:01.208Z","replayId":%d,"type":"updated"},"sobject":{`+
			`"Id":"001000000000001AAA","Name":"Acme %d","Phone":"+33 4 72 00 00 00","Website":"https://www.acme.example",`+
			`"Industry":"Manufacturing","NumberOfEmployees":1200,"AnnualRevenue":12500000.0,"BillingCity":"Lyon",`+
			`"LastModifiedDate":"2026-01-09T10:00:01.000+0000","Description":%q,"Active__c":true,"Rating":null}},"channel":"/topic/Accounts"},`,
			1_000_000+i, i, strings.Repeat("text ", 40))
	}
	b.WriteString(`{"clientId":"c","channel":"/meta/connect","successful":true}]`)
	return b.String()
}
