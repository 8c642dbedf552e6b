package sfstreamtest_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// askPlain gets a page without following redirects.
func (r *rig) askPlain(url string) (resp *http.Response, body string, err error) {
	r.tb.Helper()
	client := &http.Client{
		Transport:     r.HTTPClient().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(r.tb.Context(), http.MethodGet, url, nil)
	check(r.tb, err)
	req.Header.Set("Authorization", "Bearer "+r.auth.Get("accesstoken")[0])
	if resp, err = client.Do(req); err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func TestTheOldHostOfAMovedInstance(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{{sfstreamtest.WithInstanceHosts()}, {sfstreamtest.WithInstanceHosts(), sfstreamtest.WithTLS()}, nil} {
		bubble(t, func(t *testing.T, r *rig) {
			for _, how := range []string{"301", "302", "307", "404", "gone"} {
				if how == "gone" && len(opts) == 0 {
					if err := r.LeaveInstance(how); err == nil {
						t.Error("the login host is gone")
					}
					continue
				}
				b := r.shaken()
				old := r.auth.Get("instanceurl")[0]
				check(t, r.LeaveInstance(how))
				getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
				resp, _, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`)
				rest, body, restErr := r.askPlain(old + "/services/data/v60.0/sobjects/PushTopic/1")
				reply := r.login()
				switch how {
				case "gone":
					var dns *net.DNSError
					if !errors.As(err, &dns) || !dns.IsNotFound || !errors.As(restErr, &dns) {
						t.Errorf("%s: %v, %v", how, err, restErr)
					}
				case "404":
					if resp.StatusCode != 404 || rest.StatusCode != 404 || !strings.Contains(body, "<html>") {
						t.Errorf("%s: %s, %s %s", how, resp.Status, rest.Status, body)
					}
				default:
					if want := reply["instance_url"] + "/services/data/v60.0/sobjects/PushTopic/1"; !strings.HasPrefix(rest.Status, how) || rest.Header.Get("Location") != want {
						t.Errorf("%s: %s to %s, want %s", how, rest.Status, rest.Header.Get("Location"), want)
					}
					if resp.Request.URL.Host == strings.TrimPrefix(strings.TrimPrefix(old, "https://"), "http://") {
						t.Errorf("%s: the connect was not sent elsewhere: %s", how, resp.Status)
					}
				}
				if reply["instance_url"] == old {
					t.Errorf("%s: the instance is still %s", how, old)
				}
				getTopic(t, r, orders, codes.OK, "")
				r.shaken().follow(orders, -1)
			}
			if err := r.LeaveInstance("500"); err == nil {
				t.Error("left by 500")
			}
		}, opts...)
	}
}

func TestARedirectToTheLoginPage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.RedirectToLogin(2)
		resp, _, err := r.askPlain(r.LoginURL() + "/services/data/v60.0/query?q=x")
		check(t, err)
		to := resp.Header.Get("Location")
		if resp.StatusCode != http.StatusFound || !strings.HasPrefix(to, r.LoginURL()+"/?ec=302&startURL=%2Fservices%2Fdata%2F") {
			t.Errorf("%s to %s", resp.Status, to)
		}
		b := r.cometd()
		resp, text, err := b.send(`[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]`)
		check(t, err)
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "<title>Login</title>") {
			t.Errorf("followed: %s %s", resp.Status, text)
		}
		b.handshake()
	})
}
