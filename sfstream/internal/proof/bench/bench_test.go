package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

const benchWarmup = 10_000 // events before anything is measured

// BenchmarkReceive measures whole programs: the bytes of a stream become messages in a loop that
// keeps its place in a bbolt file. They are compared with the bare grpc-go loop (nothing decoded,
// nothing kept): "x-bare" is the ratio of CPU. The server, the program and the bare loop are
// processes of their own. One op is a round of -bench.events events. .ci/bench makes a table of
// this and the others.
func BenchmarkReceive(b *testing.B) {
	addr := startBenchServer(b)
	for _, shape := range benchShapes {
		for _, consumer := range []string{"only", "change", "struct", "fields"} {
			if benchUse(shape.name, consumer) == nil {
				continue
			}
			b.Run(shape.name+"/"+consumer, func(b *testing.B) {
				args := receiveArgs{Addr: addr, Shape: shape.name, Channels: shape.channels(1), Consumer: consumer, Events: *benchEvents}
				compare(b, "bare",
					func() cost { return measure(b, "bench bare", args) },
					func() cost { return measureOurs(b, args) })
			})
		}
	}
}

// BenchmarkTenChannels compares a client of ten channels with one of one channel.
func BenchmarkTenChannels(b *testing.B) {
	addr := startBenchServer(b)
	for _, shape := range benchShapes {
		b.Run(shape.name, func(b *testing.B) {
			one := receiveArgs{Addr: addr, Shape: shape.name, Channels: shape.channels(1), Consumer: "only", Events: *benchEvents}
			ten := one
			ten.Channels = shape.channels(10)
			compare(b, "one", func() cost { return measureOurs(b, one) }, func() cost { return measureOurs(b, ten) })
		})
	}
}

type receiveArgs struct {
	Addr, Shape, Consumer, Path string
	Channels                    []string
	Events                      int
}

func measureOurs(b *testing.B, args receiveArgs) cost {
	args.Path = filepath.Join(b.TempDir(), "replay.db")
	return measure(b, "bench receive", args)
}

// benchUse is what a loop's body does, nil for what a shape has not got.
func benchUse(shape, consumer string) func(*sfstream.Message) error {
	isChange := shape != "platform"
	if shape == "grouped" && consumer != "only" {
		return nil // as of an update
	}
	switch consumer {
	case "only":
		return func(*sfstream.Message) error { return nil }
	case "change":
		if isChange {
			return useChange
		}
	case "struct":
		if isChange {
			return useAccount
		}
		return useOrder
	case "fields":
		return useFields
	}
	return nil
}

func useChange(m *sfstream.Message) error {
	change, err := m.Change()
	if err == nil && (change.Type == "" || len(change.RecordIDs) != 1 || change.Type == sfstream.ChangeUpdate && len(change.ChangedFields) != 6) {
		err = fmt.Errorf("it is %+v", change)
	}
	return err
}

func useAccount(m *sfstream.Message) error {
	account, err := sfstream.Decode[benchAccount](m)
	if err == nil && (account.Phone == "" || account.NumberOfEmployees == 0 || account.LastModifiedDate.IsZero()) {
		err = fmt.Errorf("it is %+v", account)
	}
	return err
}

func useOrder(m *sfstream.Message) error {
	_, err := sfstream.Decode[benchOrder](m)
	return err
}

func useFields(m *sfstream.Message) error {
	_, err := m.Fields()
	return err
}

// benchAccount has ten fields. An UPDATE sets six of them, a CREATE nine.
type benchAccount struct {
	Phone, Website, Industry, Rating, Description string
	NumberOfEmployees                             int
	AnnualRevenue                                 float64
	BillingAddress                                struct{ Street, City, PostalCode, Country string }
	OwnerID                                       string `sf:"OwnerId"`
	LastModifiedDate                              time.Time
}

type benchOrder struct {
	CreatedDate time.Time
	Number__c   string
	City__c     string
	Amount__c   float64
	Paid__c     bool
}

// receive is the program that is measured. It prints its cost.
func receive(args receiveArgs) error {
	bolt, err := replaystore.OpenBolt(args.Path)
	if err != nil {
		return err
	}
	defer bolt.Close()
	store := &countingStore{Store: bolt}
	client, err := benchClient(args.Addr, store, args.Channels)
	if err != nil {
		return err
	}
	defer client.Close()
	use := benchUse(args.Shape, args.Consumer)
	var started *meter
	var saves int64
	n := 0
	for msg := range client.Messages(context.Background()) {
		if err := use(msg); err != nil {
			return err
		}
		switch n++; n {
		case benchWarmup:
			started, saves = startMeter(), store.saves.Load()
		case benchWarmup + args.Events:
			c := started.read(args.Events)
			c.Saves = store.saves.Load() - saves
			return json.NewEncoder(os.Stdout).Encode(c)
		}
	}
	return client.Err()
}

type countingStore struct {
	replaystore.Store
	saves atomic.Int64
}

func (s *countingStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	s.saves.Add(1)
	return s.Store.Save(ctx, markers)
}

// benchClient is what a user's program has: a login, a file, its channels.
func benchClient(addr string, store replaystore.Store, channels []string) (*sfstream.Client, error) {
	client, err := sfstream.New(
		authenticator.Static{AccessToken: "token", InstanceURL: "https://bench.my.salesforce.com", OrgID: "00D000000000062EAA"},
		sfstream.WithPubSubEndpoint("http://"+addr), sfstream.WithHTTPClient(lab.Nowhere), sfstream.WithReplayStore(store), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		return nil, err
	}
	for _, channel := range channels {
		if err := client.Subscribe(ctx, channel); err != nil {
			return nil, err
		}
	}
	return client, nil
}

// startBenchServer starts serveBench in a process and returns its address.
func startBenchServer(b *testing.B) string {
	cmd := child.Command(b, "bench server", nil)
	addr, err := firstLine(b, cmd)
	if err != nil {
		b.Fatal(err)
	}
	return addr
}

func firstLine(tb testing.TB, cmd *exec.Cmd) (string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	child.Start(tb, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), err
}
