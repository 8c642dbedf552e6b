package sfstreamtest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// manage defines the managed subscription Orders, from the oldest retained event on.
func (r *rig) manage() (id string) {
	r.tb.Helper()
	id, err := r.DefineManagedSubscription(sfstreamtest.ManagedSubscription{DeveloperName: "Orders", TopicName: orders, DefaultReplay: "EARLIEST"})
	check(r.tb, err)
	return id
}

// managed opens a stream of a managed subscription with its first request.
func (r *rig) managed(first *eventbus.ManagedFetchRequest) eventbus.ManagedStream {
	r.tb.Helper()
	stream, err := r.client.ManagedSubscribe(r.ctx())
	check(r.tb, err)
	_ = stream.Send(first) // where it fails, recv has the reason
	return stream
}

func (r *rig) order(n int) (ids [][]byte) {
	r.tb.Helper()
	for range n {
		e, err := r.Publish(orders, map[string]any{"City__c": "Lyon"})
		check(r.tb, err)
		ids = append(ids, e.ReplayID)
	}
	return ids
}

func commitOf(id string, replay []byte) *eventbus.ManagedFetchRequest {
	return &eventbus.ManagedFetchRequest{CommitReplayIdRequest: &eventbus.CommitReplayRequest{CommitRequestId: id, ReplayId: replay}}
}

var ordersFirst = &eventbus.ManagedFetchRequest{DeveloperName: "Orders", NumRequested: 100}

func recvManaged(t *testing.T, stream eventbus.ManagedStream) *eventbus.ManagedFetchResponse {
	t.Helper()
	resp, err := stream.Recv()
	check(t, err)
	return resp
}

// endOf returns the error-code trailer with which a managed stream ends, and its status.
func endOf(stream eventbus.ManagedStream) (string, codes.Code) {
	for {
		if _, err := stream.Recv(); err != nil {
			code := strings.Join(stream.Trailer().Get("error-code"), " ")
			return strings.TrimPrefix(code, "sfdc.platform.eventbus.grpc.managed.subscription."), status.Code(err)
		}
	}
}

func TestAManagedSubscriptionGoesOnAfterItsCommit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.manage()
		if len(id) != 18 || !strings.HasPrefix(id, "18x") {
			t.Errorf("id %q", id)
		}
		ids := r.order(3)
		stream := r.managed(&eventbus.ManagedFetchRequest{SubscriptionId: id, NumRequested: 10})
		if resp := recvManaged(t, stream); len(resp.Events) != 3 || resp.PendingNumRequested != 7 {
			t.Fatalf("%v", resp)
		}
		check(t, stream.Send(commitOf("one", ids[1])))
		if resp := recvManaged(t, stream); len(resp.Events) != 0 || resp.CommitResponse.CommitRequestId != "one" ||
			!bytes.Equal(resp.CommitResponse.ReplayId, ids[1]) || resp.CommitResponse.Error != nil || resp.CommitResponse.ProcessTime == 0 {
			t.Errorf("%v", resp)
		}
		check(t, stream.CloseSend())
		endOf(stream)
		stream = r.managed(&eventbus.ManagedFetchRequest{DeveloperName: "Orders", NumRequested: 10})
		if resp := recvManaged(t, stream); len(resp.Events) != 1 || !bytes.Equal(resp.Events[0].ReplayId, ids[2]) {
			t.Errorf("%v", resp)
		}
	})
}

// A commit that cannot be is answered in the stream, which goes on.
func TestCommitsFailInBand(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.manage()
		ids := r.order(3)
		stream := r.managed(&eventbus.ManagedFetchRequest{DeveloperName: "Orders", NumRequested: 2})
		recvManaged(t, stream)
		check(t, stream.Send(commitOf("ok", ids[1])))
		recvManaged(t, stream)
		for name, replay := range map[string][]byte{"missing": nil, "invalid": []byte("abc"), "not been delivered": ids[2], "older": ids[0]} {
			check(t, stream.Send(commitOf(name, replay)))
			resp := recvManaged(t, stream).CommitResponse
			if resp == nil || resp.Error == nil || resp.Error.Code != eventbus.ErrorCode_COMMIT {
				t.Errorf("%s: %v", name, resp)
			}
		}
		check(t, stream.Send(commitOf("again", ids[1])))
		if resp := recvManaged(t, stream).CommitResponse; resp.Error != nil {
			t.Errorf("the last commit again: %v", resp)
		}
		r.FailCommits(orders, 1, "not today")
		check(t, stream.Send(commitOf("failing", ids[1])))
		if resp := recvManaged(t, stream).CommitResponse; resp.Error == nil || resp.Error.Msg != "not today" {
			t.Errorf("%v", resp)
		}
		if got := r.ManagedSubscriptions()[0].Committed; !bytes.Equal(got, ids[1]) {
			t.Errorf("committed %x", got)
		}
	})
}

func TestCommitsOfATimeHaveOneAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.manage()
		ids := r.order(3)
		stream := r.managed(ordersFirst)
		recvManaged(t, stream)
		for i, id := range ids {
			check(t, stream.Send(commitOf([]string{"a", "b", "c"}[i], id)))
		}
		synctest.Wait()
		r.order(1)
		if resp := recvManaged(t, stream); len(resp.Events) != 1 || resp.CommitResponse.GetCommitRequestId() != "c" {
			t.Errorf("%v", resp)
		}
	}, sfstreamtest.WithCommitDelay(time.Second))
}

func TestTheSlotOfAManagedSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.manage()
		active := func() bool {
			code, st := endOf(r.managed(&eventbus.ManagedFetchRequest{DeveloperName: "Orders"})) // without demand it ends by itself
			return code == "already.active" && st == codes.AlreadyExists
		}
		stream := r.managed(&eventbus.ManagedFetchRequest{DeveloperName: "Orders", NumRequested: 1})
		r.await(orders, 1)
		if !active() {
			t.Error("a second stream is accepted")
		}
		check(t, stream.CloseSend())
		endOf(stream)
		r.managed(ordersFirst)
		r.await(orders, 1)
		r.Blackhole()
		_ = r.conn.Close()
		r.client.Conn = r.dial()
		began := time.Now()
		for active() {
			if time.Sleep(10 * time.Second); time.Since(began) > 20*time.Minute {
				t.Fatal("the slot does not expire")
			}
		}
		if took := time.Since(began); took < 15*time.Minute || took > 17*time.Minute {
			t.Errorf("the slot was taken for %s", took)
		}
	}, sfstreamtest.WithCommitIdle(10*time.Hour))
}

func TestAManagedStreamNeedsCommits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.manage()
		ids := r.order(1)
		stream := r.managed(ordersFirst)
		recvManaged(t, stream)
		began := time.Now()
		time.Sleep(29 * time.Minute)
		check(t, stream.Send(commitOf("last", ids[0])))
		var err error
		for err == nil {
			_, err = stream.Recv()
		}
		if took := time.Since(began); took != 59*time.Minute || status.Code(err) != codes.DeadlineExceeded ||
			status.Convert(err).Message() != "No CommitReplayRequests sent in the last 1800 seconds" {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestManagedStreamsEndForReasons(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.manage()
		for code, first := range map[string]*eventbus.ManagedFetchRequest{
			"id.or.developer.name.empty":              {NumRequested: 1},
			"subscription.id.invalid":                 {SubscriptionId: "18x1", NumRequested: 1},
			"subscription.id.not.found":               {SubscriptionId: "18x000000009999", NumRequested: 1},
			"developer.name.not.found":                {DeveloperName: "Nobody", NumRequested: 1},
			"fetch.request.events.invalid":            {DeveloperName: "Orders", NumRequested: -1},
			"fetch.request.auth.request.restricted":   {DeveloperName: "Orders", NumRequested: 1, AuthRefresh: "x"},
			"fetch.request.commit.request.restricted": {DeveloperName: "Orders", NumRequested: 1, CommitReplayIdRequest: &eventbus.CommitReplayRequest{}},
		} {
			if got, _ := endOf(r.managed(first)); got != code {
				t.Errorf("%s: %s", code, got)
			}
		}
		if got, _ := endOf(r.managed(&eventbus.ManagedFetchRequest{DeveloperName: "Orders", SubscriptionId: id})); got != "id.or.developer.name.empty" {
			t.Errorf("both: %s", got)
		}
		stream := r.managed(ordersFirst)
		r.await(orders, 1)
		check(t, stream.Send(&eventbus.ManagedFetchRequest{}))
		if got, _ := endOf(stream); got != "fetch.request.invalid" {
			t.Errorf("nothing: %s", got)
		}
	})
}

// STOP deletes what is committed, and the next RUN begins at defaultReplay.
func TestStopAndRun(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.manage()
		ids := r.order(2)
		stream := r.managed(ordersFirst)
		recvManaged(t, stream)
		check(t, stream.Send(commitOf("one", ids[1])))
		recvManaged(t, stream)
		state := func(state string) {
			_, err := r.DefineManagedSubscription(sfstreamtest.ManagedSubscription{DeveloperName: "Orders", TopicName: orders, DefaultReplay: "EARLIEST", State: state})
			check(t, err)
		}
		state("STOP")
		if code, st := endOf(stream); code != "config.stopped" || st != codes.FailedPrecondition {
			t.Errorf("%s %s", code, st)
		}
		if code, _ := endOf(r.managed(ordersFirst)); code != "config.stopped" {
			t.Errorf("while it is stopped: %s", code)
		}
		state("RUN")
		stream = r.managed(ordersFirst)
		if resp := recvManaged(t, stream); len(resp.Events) != 2 {
			t.Errorf("%v", resp)
		}
		check(t, r.RemoveManagedSubscription("Orders"))
		if code, _ := endOf(stream); code != "config.deleted" {
			t.Errorf("%s", code)
		}
		if code, _ := endOf(r.managed(ordersFirst)); code != "developer.name.not.found" {
			t.Errorf("%s", code)
		}
	})
}

// What is committed ages out: errorRecoveryReplay says where the next stream begins.
func TestCommittedIDsAgeOut(t *testing.T) {
	for _, refused := range []bool{false, true} {
		opts := []sfstreamtest.Option{}
		if refused {
			opts = append(opts, sfstreamtest.WithAgedCommitRefused())
		}
		bubble(t, func(t *testing.T, r *rig) {
			_, err := r.DefineManagedSubscription(sfstreamtest.ManagedSubscription{DeveloperName: "Orders", TopicName: orders, DefaultReplay: "EARLIEST", ErrorRecoveryReplay: "EARLIEST"})
			check(t, err)
			ids := r.order(1)
			stream := r.managed(ordersFirst)
			recvManaged(t, stream)
			check(t, stream.Send(commitOf("one", ids[0])))
			recvManaged(t, stream)
			check(t, stream.CloseSend())
			endOf(stream)
			check(t, r.TruncateReplay(orders))
			ids = r.order(2)
			if start := r.ManagedStart("Orders"); start != "EARLIEST" {
				t.Errorf("start %s", start)
			}
			stream = r.managed(ordersFirst)
			if refused {
				if _, st := endOf(stream); st != codes.InvalidArgument {
					t.Errorf("%s", st)
				}
				stream = r.managed(ordersFirst)
			}
			if resp := recvManaged(t, stream); len(resp.Events) != 2 || !bytes.Equal(resp.Events[0].ReplayId, ids[0]) {
				t.Errorf("%v", resp)
			}
		}, opts...)
	}
}

func TestTheToolingAPIKnowsManagedSubscriptions(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.manage()
		ask := func(query string) map[string]any {
			req, err := http.NewRequest(http.MethodGet, r.LoginURL()+"/services/data/v62.0/tooling/query/?q="+url.QueryEscape(query), nil)
			check(t, err)
			req.Header.Set("Authorization", "Bearer "+r.auth.Get("accesstoken")[0])
			resp, err := r.HTTPClient().Do(req)
			check(t, err)
			defer resp.Body.Close()
			var reply map[string]any
			check(t, json.NewDecoder(resp.Body).Decode(&reply))
			return reply
		}
		reply := ask("SELECT Id, DeveloperName, Metadata FROM ManagedEventSubscription WHERE DeveloperName = 'Orders'")
		records, _ := reply["records"].([]any)
		if len(records) != 1 {
			t.Fatalf("%v", reply)
		}
		record := records[0].(map[string]any)
		meta, _ := record["Metadata"].(map[string]any)
		if record["Id"] != id || meta["topicName"] != orders || meta["state"] != "RUN" {
			t.Errorf("%v", record)
		}
		if reply := ask("SELECT Id FROM ManagedEventSubscription WHERE DeveloperName = 'Nobody'"); reply["totalSize"] != 0.0 {
			t.Errorf("%v", reply)
		}
	})
}

func TestManagedSubscriptionsAreInTheLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	var ids [][]byte
	bubble(t, func(t *testing.T, r *rig) {
		r.manage()
		ids = r.order(1)
		stream := r.managed(ordersFirst)
		recvManaged(t, stream)
		check(t, stream.Send(commitOf("one", ids[0])))
		recvManaged(t, stream)
	}, sfstreamtest.WithLog(log))
	bubble(t, func(t *testing.T, r *rig) {
		if all := r.ManagedSubscriptions(); len(all) != 1 || all[0].DeveloperName != "Orders" || !bytes.Equal(all[0].Committed, ids[0]) {
			t.Errorf("%+v", all)
		}
	}, sfstreamtest.WithLog(log))
}
