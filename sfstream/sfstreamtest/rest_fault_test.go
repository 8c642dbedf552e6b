package sfstreamtest_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestRESTFaults(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for code, status := range map[string]int{
			"INVALID_SESSION_ID": 401, "REQUEST_LIMIT_EXCEEDED": 403, "API_DISABLED_FOR_ORG": 403, "UNABLE_TO_LOCK_ROW": 400,
			"SERVER_UNAVAILABLE": 503, "UNKNOWN_EXCEPTION": 500, "OF_ITS_OWN: text": 400,
		} {
			r.FailREST(2, code)
			for range 2 {
				got, message := r.refusal(status, "/limits")
				if want, text, _ := strings.Cut(code, ": "); got != want || message == "" || text != "" && message != text {
					t.Errorf("%s: %s %q", code, got, message)
				}
			}
			r.want(http.StatusOK, "GET", "/limits", "")
		}
		r.FailREST(-1, "SERVER_UNAVAILABLE")
		r.want(http.StatusServiceUnavailable, "GET", "/limits", "")
		r.ClearFaults()
		r.want(http.StatusOK, "GET", "/limits", "")
		r.FailREST(0, "SERVER_UNAVAILABLE")
		r.want(http.StatusOK, "GET", "/limits", "")
	})
}

func TestRESTFaultsOfSomeRequests(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const events = "/sobjects/Order_Event__e"
		published := func() int { return len(r.Retained(orders)) }
		r.FailRESTRequest(sfstreamtest.RESTFault{Method: "POST", Path: events, Status: 503, RetryAfter: "7", Done: true})
		r.want(http.StatusOK, "GET", events+"/describe", "")
		resp, body, err := r.raw("POST", events, `{}`)
		check(t, err)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" || !strings.Contains(body, "<html>") || published() != 1 {
			t.Errorf("%v %s, %d published", resp, body, published())
		}
		r.FailRESTRequest(sfstreamtest.RESTFault{Done: true})
		if _, _, err := r.raw("POST", events, `{}`); err == nil || published() != 2 {
			t.Errorf("the reply was not lost: %v, %d published", err, published())
		}
		r.FailRESTRequest(sfstreamtest.RESTFault{Status: 200, Body: "<p>page", ContentType: "text/plain"})
		resp, body, err = r.raw("GET", "/limits", "")
		check(t, err)
		if resp.Header.Get("Content-Type") != "text/plain" || body != "<p>page" {
			t.Errorf("%v %s", resp, body)
		}
		r.FailRESTRequest(sfstreamtest.RESTFault{NoAnswer: true})
		r.HTTPClient().Timeout = time.Minute
		took(t, time.Minute, func() {
			var timeout interface{ Timeout() bool }
			if _, _, err := r.raw("POST", events, `{}`); !errors.As(err, &timeout) || !timeout.Timeout() || published() != 2 {
				t.Errorf("%v, %d published", err, published())
			}
		})
		r.want(http.StatusCreated, "POST", events, `{}`)
	})
}

// raw makes a request and returns the reply as it is.
func (r *rig) raw(method, path, body string) (*http.Response, string, error) {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), method, r.LoginURL()+"/services/data/v60.0"+path, strings.NewReader(body))
	check(r.tb, err)
	req.Header.Set("Authorization", "Bearer "+r.auth.Get("accesstoken")[0])
	resp, err := r.HTTPClient().Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func TestURIsHaveALimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for n, want := range map[int]int{8_000: http.StatusBadRequest, 16_250: http.StatusRequestHeaderFieldsTooLarge, 16_400: http.StatusRequestURITooLong} {
			resp, body, err := r.raw("GET", "/query?q="+url.QueryEscape(strings.Repeat("x", n)), "")
			check(t, err)
			if resp.StatusCode != want {
				t.Errorf("%d bytes: %s %s", n, resp.Status, body)
			}
		}
	})
}

func TestLimitsAreUsedUp(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.SetLimit("DailyApiRequests", 100, 50))
		check(t, r.SetLimit("Invented", 9, 9))
		left := func(name string) (int, int) {
			limit := r.want(http.StatusOK, "GET", "/limits/", "").(object)[name].(object)
			return int(limit["Max"].(float64) - limit["Remaining"].(float64)), int(limit["Max"].(float64))
		}
		used, most := left("DailyApiRequests")
		if used != 51 || most != 100 {
			t.Errorf("%d of %d requests", used, most)
		}
		resp, _, err := r.raw("GET", "/limits", "")
		check(t, err)
		if info := resp.Header.Get("Sforce-Limit-Info"); info != "api-usage=52/100" {
			t.Error(info)
		}
		r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accts", Query: "SELECT Id FROM Account"})
		b := r.shaken()
		b.follow(orders, -1)
		b.follow("/topic/Accts", -1)
		stream := r.follow(orders, 10)
		r.publish(3)
		_, err = r.PublishTopic("Accts", "created", map[string]any{"Id": "1"})
		check(t, err)
		recvIDs(t, stream, 3)
		b.connect()
		for name, want := range map[string]int{
			"DailyDeliveredPlatformEvents": 6, "HourlyPublishedPlatformEvents": 3, "DailyDurableStreamingApiEvents": 1,
			"DurableStreamingApiConcurrentClients": 1, "MonthlyPlatformEventsUsageEntitlement": 0, "Invented": 0,
		} {
			if used, _ := left(name); used != want {
				t.Errorf("%s: %d, want %d", name, used, want)
			}
		}
		time.Sleep(time.Hour)
		if used, _ := left("HourlyPublishedPlatformEvents"); used != 0 {
			t.Errorf("an hour later %d are used", used)
		}
		time.Sleep(24 * time.Hour)
		r.login()
		if used, _ := left("DailyApiRequests"); used != 1 {
			t.Errorf("a day later %d are used", used)
		}
		if r.SetLimit("DailyApiRequests", 1, 2) == nil || r.SetLimit("DailyApiRequests", -1, -1) == nil {
			t.Error("remaining is more than there is")
		}
	})
}

func TestControlReachesREST(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		must(t, r, "fault", `{"fault":"FailREST","code":"UNABLE_TO_LOCK_ROW"}`)
		must(t, r, "fault", `{"fault":"FailRESTRequest","rest":{"path":"/limits","status":503,"retryAfter":"1"}}`)
		must(t, r, "fault", `{"fault":"SetLimit","limit":{"name":"DailyApiRequests","max":10,"remaining":5}}`)
		r.want(http.StatusBadRequest, "GET", "/limits", "")
		resp, _, err := r.raw("GET", "/limits", "")
		check(t, err)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("%v", resp)
		}
		limit := r.want(http.StatusOK, "GET", "/limits", "").(object)["DailyApiRequests"].(object)
		if limit["Max"] != 10.0 || limit["Remaining"] != 4.0 {
			t.Errorf("%v", limit)
		}
		if code, reply := control(t, r, "fault", `{"fault":"SetLimit","limit":{"name":"DailyApiRequests","max":1,"remaining":5}}`); code != http.StatusBadRequest {
			t.Errorf("%d %v", code, reply)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}
