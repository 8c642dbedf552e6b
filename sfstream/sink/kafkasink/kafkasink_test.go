package kafkasink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/kafkasink"
	"github.com/sfstream/sfstream-go/sfstream/sink/sinktest"
)

const topic = "events"

// newCluster starts three brokers in this process, with topics of three partitions.
func newCluster(t *testing.T, topics ...string) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func newSink(t *testing.T, cluster *kfake.Cluster, topic string, opts ...kgo.Opt) *kafkasink.Sink {
	t.Helper()
	queue, err := kafkasink.New(topic, append([]kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond })}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(queue.Close)
	return queue
}

// read returns what the cluster has of the topics, each partition in order.
func read(ctx context.Context, t *testing.T, cluster *kfake.Cluster, topics ...string) (records []*kgo.Record) {
	t.Helper()
	var want int64
	for _, topic := range topics {
		for _, partition := range cluster.PartitionInfos(topic) {
			want += partition.HighWatermark
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for int64(len(records)) < want && ctx.Err() == nil {
		records = append(records, client.PollFetches(ctx).Records()...)
	}
	if err := ctx.Err(); err != nil {
		t.Fatalf("read %d records of %d: %v", len(records), want, err)
	}
	return records
}

func id(r *kgo.Record) string { return header(r, "sfstream-id") }

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// network dials for a client and breaks its connections.
type network struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.conns {
		conn.Close()
	}
	n.conns = nil
}

// Connections break, leaders move, and brokers refuse batches or time out having stored them.
func TestNothingIsLostOrOvertaken(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Queue {
		cluster := newCluster(t, topic)
		faults := []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
			kerr.RequestTimedOut, kerr.UnknownServerError, kerr.TopicAuthorizationFailed,
		}
		var broken network
		return sinktest.Queue{
			Sink: newSink(t, cluster, topic, kgo.Dialer(broken.dial)),
			Read: func(ctx context.Context) (entries []sinktest.Entry, err error) {
				for _, r := range read(ctx, t, cluster, topic) {
					entries = append(entries, sinktest.Entry{ID: id(r), Value: r.Value})
				}
				return entries, nil
			},
			Cut: func() {
				switch n := rand.IntN(len(faults) + 2); {
				case n < len(faults):
					cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: faults[n], Partitions: []int32{rand.Int32N(3)}})
				case n == len(faults):
					cluster.ShufflePartitionLeaders()
				default:
					broken.cut()
				}
			},
		}
	})
}

// some makes records: of keys a, b and c by turns, with values of so many bytes.
func some(n, size int) []sink.Record {
	records := make([]sink.Record, n)
	for i := range records {
		records[i] = sink.Record{ID: fmt.Sprint(i), Key: string('a' + rune(i%3)), Entity: "Account",
			ContentType: "application/json", Value: []byte(strings.Repeat("v", size))}
	}
	return records
}

// ids are those of each partition, in order.
func ids(t *testing.T, cluster *kfake.Cluster, topics ...string) map[int32][]string {
	t.Helper()
	found := make(map[int32][]string)
	for _, r := range read(t.Context(), t, cluster, topics...) {
		found[r.Partition] = append(found[r.Partition], id(r))
	}
	return found
}

// The brokers refuse one batch with an error after which the client goes on with what is behind it.
func TestNothingGoesOutBehindABatchThatIsRefused(t *testing.T) {
	cluster := newCluster(t)
	must(t, cluster.CreateTopic(topic, 1, nil))
	queue := newSink(t, cluster, topic, kgo.ProducerBatchMaxBytes(10_000), kgo.ProducerLinger(0))
	for range 10 { // at first the topic is not known
		before := ids(t, cluster, topic)[0]
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
		err := queue.Send(t.Context(), some(300, 1000))
		var partial *sink.PartialError
		if !errors.As(err, &partial) || !errors.Is(err, kerr.TopicAuthorizationFailed) || len(partial.Failed) != 300 {
			t.Fatalf("Send: %v", err)
		}
		if after := ids(t, cluster, topic)[0]; len(after) != len(before) {
			t.Errorf("the topic has %v behind what was refused", after[len(before):])
		}
		must(t, queue.Send(t.Context(), some(30, 1000)))
	}
	if got := ids(t, cluster, topic)[0]; len(got) != 300 {
		t.Errorf("the topic has %d records, want 300", len(got))
	}
}

// A client whose buffer has no room for a record would have some for a smaller one behind it.
func TestNothingGoesOutBehindARecordThatIsTooLargeForABuffer(t *testing.T) {
	cluster := newCluster(t)
	must(t, cluster.CreateTopic(topic, 1, nil))
	queue := newSink(t, cluster, topic, kgo.MaxBufferedBytes(10_000))
	must(t, queue.Send(t.Context(), some(1, 1)))
	records := some(20, 100)
	for i := range records {
		records[i].Key, records[i].ID = "one", string('a'+rune(i))
	}
	records[5].Value = make([]byte, 9900)
	must(t, queue.Send(t.Context(), records))
	if got := strings.Join(ids(t, cluster, topic)[0][1:], ""); got != "abcdefghijklmnopqrst" {
		t.Errorf("the topic has %s", got)
	}
}

// The topics of one key are different partitions, which may fail each for itself.
func TestAKeyHasNoTwoTopicsAtOnce(t *testing.T) {
	cluster := newCluster(t, "created", "updated")
	queue := newSink(t, cluster, "{change}")
	records := some(30, 10)
	for i := range records {
		records[i].Change = []string{"created", "updated"}[i%2]
	}
	must(t, queue.Send(t.Context(), records))
	for i := range records {
		records[i].ID = "again " + records[i].ID
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Topic: "created", Count: 3})
	if err := queue.Send(t.Context(), records); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("Send: %v", err)
	}
	for _, r := range read(t.Context(), t, cluster, "created", "updated") {
		// Record 1 is the first one of its key, and 3 is behind 0, which is not stored.
		if strings.HasPrefix(id(r), "again ") && id(r) != "again 1" {
			t.Errorf("%s of key %s is stored, and one before it is not", id(r), r.Key)
		}
	}
}

// One partition refuses, the others have stored theirs.
func TestAPartialErrorNamesWhatIsNotAcked(t *testing.T) {
	cluster := newCluster(t, topic)
	queue := newSink(t, cluster, topic)
	must(t, queue.Send(t.Context(), some(1, 1)))
	all := len(ids(t, cluster, topic))
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Partitions: []int32{0}, Count: 1})
	records := some(30, 10)
	for i := range records {
		records[i].Key, records[i].ID = fmt.Sprint("key ", i), fmt.Sprint("record ", i)
	}
	var partial *sink.PartialError
	if err := queue.Send(t.Context(), records); !errors.As(err, &partial) || len(partial.Failed) == 0 || len(partial.Failed) == 30 {
		t.Fatalf("Send: %v", err)
	}
	var stored []string
	for _, partition := range ids(t, cluster, topic) {
		stored = append(stored, partition...)
	}
	for i, r := range records {
		if _, failed := partial.Failed[i]; failed == slices.Contains(stored, r.ID) {
			t.Errorf("%s: failed is %v", r.ID, failed)
		}
	}
	if len(stored) != all+30-len(partial.Failed) {
		t.Errorf("%d records are stored, %d failed", len(stored), len(partial.Failed))
	}
}

func TestWhatIsStoredAlthoughTheReplyIsAnErrorIsStoredOnce(t *testing.T) {
	cluster := newCluster(t, topic)
	queue := newSink(t, cluster, topic)
	for _, err := range []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err})
		must(t, queue.Send(t.Context(), some(9, 10)))
	}
	total := 0
	for _, partition := range ids(t, cluster, topic) {
		total += len(partition)
	}
	if total != 27 {
		t.Errorf("%d records are stored, want 27", total)
	}
}

// The topic takes less than the client sends; one record is larger than it takes at all.
func TestOnlyARecordThatIsRefusedAloneIsPermanent(t *testing.T) {
	for name, limit := range map[string]int32{"refused by the brokers": 1_000_000, "refused by the client": 4000} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			must(t, cluster.CreateTopic(topic, 1, map[string]string{"max.message.bytes": "4000"}))
			queue := newSink(t, cluster, topic, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(limit))
			records := some(40, 300)
			records[20].Value = make([]byte, 5000)
			var partial *sink.PartialError
			if err := queue.Send(t.Context(), records); !errors.As(err, &partial) {
				t.Fatalf("Send: %v", err)
			}
			if len(partial.Failed) != 20 {
				t.Errorf("%d records failed, want the last 20", len(partial.Failed))
			}
			for i, err := range partial.Failed {
				if permanent := (*backoff.PermanentError)(nil); errors.As(err, &permanent) != (i == 20) {
					t.Errorf("record %d: %v", i, err)
				}
			}
			must(t, queue.Send(t.Context(), records[21:]))
			got := ids(t, cluster, topic)[0]
			var want []string
			for i := range 40 {
				if i != 20 {
					want = append(want, fmt.Sprint(i))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the topic has %v", got)
			}
		})
	}
}

// What a Send leaves behind when its ctx ends may be stored later, and never out of order.
func TestASendEndsWithItsContextWhereTheBrokersAreSilent(t *testing.T) {
	cluster := newCluster(t, topic)
	queue := newSink(t, cluster, topic)
	must(t, queue.Send(t.Context(), []sink.Record{{ID: "first"}}))
	var once sync.Once // the brokers of all partitions are silent
	silent, resume := make(chan struct{}), make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		once.Do(func() { close(silent) })
		cluster.SleepControl(func() { <-resume })
		return nil, nil, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-silent
		cancel()
	}()
	records := some(9, 10)
	var partial *sink.PartialError
	if err := queue.Send(ctx, records); !errors.As(err, &partial) || !errors.Is(err, context.Canceled) {
		t.Fatalf("Send: %v", err)
	}
	close(resume)
	must(t, queue.Send(t.Context(), records))
	for partition, got := range ids(t, cluster, topic) {
		seen := make(map[string]bool)
		last := ""
		for _, id := range got {
			if id != "first" && !seen[id] && id < last {
				t.Errorf("partition %d has %v", partition, got)
			}
			seen[id] = true
			if id != "first" {
				last = max(last, id)
			}
		}
	}
}

func TestRecordsAreAsKafkaReadersExpect(t *testing.T) {
	cluster := newCluster(t, "salesforce.account", "salesforce.order__e")
	queue := newSink(t, cluster, "salesforce.{entity}")
	must(t, queue.Ping(t.Context()))
	must(t, queue.Send(t.Context(), []sink.Record{
		{ID: "1", Key: "001xx", Entity: "Account", ContentType: "application/cloudevents+json", Value: []byte("{}")},
		{ID: "2", Key: "/event/Order__e", Entity: "Order__e", ContentType: "avro/binary", // an event without fields
			Headers: []sink.Header{{Name: "id", Value: "2"}, {Name: "datacontenttype", Value: "avro/binary"}}},
	}))
	got := read(t.Context(), t, cluster, "salesforce.account", "salesforce.order__e")
	slices.SortFunc(got, func(a, b *kgo.Record) int { return strings.Compare(id(a), id(b)) })
	var texts []string
	for _, r := range got {
		texts = append(texts, fmt.Sprintf("%s %s %q %v %q", r.Topic, r.Key, r.Value, r.Value == nil, r.Headers))
	}
	want := []string{
		`salesforce.account 001xx "{}" false [{"sfstream-id" "1"} {"content-type" "application/cloudevents+json"}]`,
		`salesforce.order__e /event/Order__e "" false [{"sfstream-id" "2"} {"ce_id" "2"} {"content-type" "avro/binary"}]`,
	}
	if !slices.Equal(texts, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
}

func TestNewRefusesWhatLosesOrder(t *testing.T) {
	for want, opt := range map[string]kgo.Opt{
		"kgo.DisableIdempotentWrite": kgo.DisableIdempotentWrite(),
		"kgo.TransactionalID":        kgo.TransactionalID("t"),
		"acks=all":                   kgo.RequiredAcks(kgo.LeaderAck()),
	} {
		_, err := kafkasink.New(topic, kgo.SeedBrokers("127.0.0.1:1"), opt)
		if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrInvalidOption with %q", err, want)
		}
	}
	if _, err := kafkasink.New("{nothing}"); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("a wrong template: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
