package sfstreamtest_test

import (
	"net/http"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestControlSpeaksCometD(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		must(t, r, "definePushTopic", `{"Name":"Accts","Query":"SELECT Id, Name FROM Account","NotifyForFields":"All"}`)
		must(t, r, "defineGenericChannel", `{"channel":"/u/ops"}`)
		b := r.shaken()
		b.follow(accounts, -1)
		b.follow("/u/ops", -1)
		reply := must(t, r, "topic", `{"name":"Accts","type":"created","sobject":{"Id":"1","N":1.50},"count":2}`)
		pushed := must(t, r, "push", `{"channel":"/u/ops","payload":"hi","userIds":["`+r.Account().UserID+`"]}`)
		if pushed["fanoutCount"] != 1.0 || len(pushed["numbers"].([]any)) != 1 {
			t.Errorf("%v", pushed)
		}
		events, _ := b.connect()
		ids := numbers(t, events)
		if len(ids) != 3 || float64(ids[0]) != reply["numbers"].([]any)[0] {
			t.Errorf("got %v, want %v", ids, reply)
		}
		if got := sobjects(t, events[:1])[0]; got != `created {"Id":"1","N":1.50}` {
			t.Errorf("got %s", got)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlFaultsOnCometD(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		must(t, r, "fault", `{"fault":"RestartReplay","channel":"`+orders+`","replay":77}`)
		must(t, r, "fault", `{"fault":"FailCometD","cometd":{"kind":"subscribe","error":"403::x"}}`)
		b := r.shaken()
		_, m := b.subscribe(orders, -1)
		wantError(t, m, "403::x")
		if e := r.publish(1)[0]; e.Number != 77 {
			t.Errorf("number %d", e.Number)
		}
		if code, reply := control(t, r, "fault", `{"fault":"Nonsense"}`); code != http.StatusBadRequest {
			t.Errorf("%d %v", code, reply)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}
