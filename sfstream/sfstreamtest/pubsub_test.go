package sfstreamtest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

func getTopic(t testing.TB, r *rig, name string, want codes.Code, code string) *eventbus.TopicInfo {
	t.Helper()
	var trailer metadata.MD
	info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: name}, grpc.Trailer(&trailer))
	wantFailure(t, err, trailer, want, code)
	return info
}

func getSchema(t *testing.T, r *rig, id string, want codes.Code, code string) *eventbus.SchemaInfo {
	t.Helper()
	var trailer metadata.MD
	info, err := r.client.GetSchema(r.ctx(), &eventbus.SchemaRequest{SchemaId: id}, grpc.Trailer(&trailer))
	wantFailure(t, err, trailer, want, code)
	return info
}

// TestPublishingIsForWhatAUserMayPublish proves that GetTopic and REST agree on it.
func TestPublishingIsForWhatAUserMayPublish(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const standard = "/event/LoginEventStream"
		check(t, r.DefineEvent(standard, `{"type":"record","name":"LoginEventStream","fields":[]}`))
		check(t, r.DefineChannel("/event/Sales__chn", orders))
		may := func(channel string, can bool, status int) {
			t.Helper()
			if info := getTopic(t, r, channel, codes.OK, ""); info.CanPublish != can {
				t.Errorf("%s: can_publish is %v", channel, info.CanPublish)
			}
			r.want(status, "POST", "/sobjects/"+strings.TrimPrefix(channel, "/event/"), `{}`)
		}
		may(orders, true, http.StatusCreated)
		may(standard, false, http.StatusForbidden)
		may("/event/Sales__chn", false, http.StatusNotFound)
		r.RevokePublish(orders)
		may(orders, false, http.StatusForbidden)
		if info := getTopic(t, r, orders, codes.OK, ""); !info.CanSubscribe {
			t.Error("the permission to subscribe went with it")
		}
		r.publish(1) // the org itself may
		r.Grant(orders)
		may(orders, true, http.StatusCreated)
	})
}

func TestGetTopic(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		check(t, r.DefineChannel("/event/Sales__chn", orders))
		info := getTopic(t, r, orders, codes.OK, "")
		if !info.CanSubscribe || !info.CanPublish || info.TopicName != orders || info.TenantGuid != "CORE/prod/00D000000000001EAA" || len(info.RpcId) != 36 {
			t.Errorf("platform event: %v", info)
		}
		if info := getTopic(t, r, "/data/AccountChangeEvent", codes.OK, ""); !info.CanSubscribe || info.CanPublish || info.SchemaId == "" {
			t.Errorf("changes: %v", info)
		}
		for _, channel := range []string{"/data/ChangeEvents", "/event/Sales__chn"} {
			if info := getTopic(t, r, channel, codes.OK, ""); !info.CanSubscribe || info.CanPublish || info.SchemaId != "" {
				t.Errorf("%s: %v", channel, info)
			}
		}
		getTopic(t, r, "", codes.InvalidArgument, "topic.validation.empty")
		getTopic(t, r, "/event/Unknown__e", codes.NotFound, "topic.not.found")
		getTopic(t, r, "event/Order_Event__e", codes.NotFound, "topic.not.found")
		r.FailGetTopic(1, "topic.meta.permission")
		getTopic(t, r, orders, codes.PermissionDenied, "topic.meta.permission")
		getTopic(t, r, orders, codes.OK, "")
		r.Revoke(orders)
		if info := getTopic(t, r, orders, codes.OK, ""); info.CanSubscribe {
			t.Error("can_subscribe after Revoke")
		}
		if got := r.GetTopicCalls(); got != 10 {
			t.Errorf("%d calls counted, want 10", got)
		}
	})
}

func TestGetSchema(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const id = "_CADE3qaegX3ECEW0rlbYA"
		if info := getSchema(t, r, id, codes.OK, ""); info.SchemaId != id || info.SchemaJson != schemaFile(t, "order") || len(info.RpcId) != 36 {
			t.Errorf("got %v", info)
		}
		getSchema(t, r, "", codes.InvalidArgument, "schema.validation.failed")
		getSchema(t, r, "a01VpgrsZNJdn-7KStJcxQ", codes.NotFound, "schema.not.found")
		r.FailGetSchema(2, "UNAVAILABLE")
		getSchema(t, r, id, codes.Unavailable, "")
		getSchema(t, r, id, codes.Unavailable, "")
		getSchema(t, r, id, codes.OK, "")
		r.FailGetSchema(-1, "schema.meta.permission")
		for range 3 {
			getSchema(t, r, id, codes.PermissionDenied, "schema.meta.permission")
		}
		r.ClearFaults()
		getSchema(t, r, id, codes.OK, "")
		if got := r.GetSchemaCalls(); got != 10 {
			t.Errorf("%d calls counted, want 10", got)
		}
	})
}

// See eventbus/PROTOCOL.md, "Metadata".
func TestTheHeadersOfEveryCallAreJudged(t *testing.T) {
	for name, test := range map[string]struct {
		header, value string
		want          codes.Code
		code          string
	}{
		"no token":               {"accesstoken", "", codes.Unauthenticated, "service.auth.headers.invalid"},
		"bad token":              {"accesstoken", "00D000000000001!bad", codes.Unauthenticated, "service.auth.error"},
		"no instance":            {"instanceurl", "", codes.Unauthenticated, "service.auth.headers.invalid"},
		"instance with a path":   {"instanceurl", "http://127.0.0.1:40001/services", codes.Unauthenticated, "service.auth.headers.invalid"},
		"another instance":       {"instanceurl", "https://other.my.salesforce.com", codes.Unauthenticated, "service.auth.error"},
		"no tenant":              {"tenantid", "", codes.Unauthenticated, "service.auth.headers.invalid"},
		"half a tenant":          {"tenantid", "00D0000", codes.Unauthenticated, "service.auth.headers.invalid"},
		"another tenant":         {"tenantid", "00D000000000002EAA", codes.Unauthenticated, "service.auth.error"},
		"tenant of 15":           {"tenantid", "00D000000000001", codes.OK, ""},
		"tenant in its core":     {"tenantid", "core/acme/00D000000000001EAA", codes.OK, ""},
		"the tenant of 18 as is": {"tenantid", "00D000000000001EAA", codes.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.auth.Set(test.header, test.value)
				if test.value == "" {
					r.auth.Delete(test.header)
				}
				getTopic(t, r, orders, test.want, test.code)
				getSchema(t, r, "_CADE3qaegX3ECEW0rlbYA", test.want, test.code)
				r.publish(1)
				stream, err := r.client.Subscribe(r.ctx())
				check(t, err) // Subscribe succeeds; the first Recv returns the error
				_ = stream.Send(earliest(orders, 1))
				if test.want == codes.OK {
					recv(t, stream)
				} else {
					wantEnd(t, stream, test.want, test.code)
				}
			})
		})
	}
}

// Their schema id is empty: eventbus/PROTOCOL.md, "Opening a stream".
func TestMultiEntityChannelsCarryTheirMembers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const other = "/event/NewOrderConfirmation__e"
		check(t, r.DefineEvent(other, schemaFile(t, "neworder")))
		check(t, r.DefineChannel("/event/Sales__chn", orders, other))
		stream := r.follow("/event/Sales__chn", 10)
		a := r.publish(1)[0]
		b, err := r.Publish(other, nil)
		check(t, err)
		var ids, schemas []string
		for len(ids) < 2 {
			for _, e := range recv(t, stream).Events {
				ids, schemas = append(ids, e.Event.Id), append(schemas, e.Event.SchemaId)
				if string(e.ReplayId) == string(a.ReplayID) || string(e.ReplayId) == string(b.ReplayID) {
					t.Error("the channel shares replay ids with its members")
				}
			}
		}
		if want := []string{a.ID, b.ID}; !slices.Equal(ids, want) {
			t.Errorf("got %v, want %v", ids, want)
		}
		if want := []string{a.SchemaID, b.SchemaID}; !slices.Equal(schemas, want) {
			t.Errorf("schemas %v, want %v", schemas, want)
		}
		if _, err := r.Publish("/event/Sales__chn", nil); err == nil {
			t.Error("published to a multi-entity channel")
		}
	})
}
