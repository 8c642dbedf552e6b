package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// What the org answers is told for what it is.
func TestDoctorOfOrgs(t *testing.T) {
	answer := func(path, body string) func(*testing.T, *sfstreamtest.Server, *world, map[string]string) {
		return func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.FailRESTRequest(sfstreamtest.RESTFault{Path: path, Times: -1, Status: http.StatusOK, Body: body, ContentType: "application/json"})
		}
	}
	limit := func(name string, max, remaining int) func(*testing.T, *sfstreamtest.Server, *world, map[string]string) {
		return func(t *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			if err := org.SetLimit(name, max, remaining); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []ailment{{
		name: "no API",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.FailREST(-1, "API_DISABLED_FOR_ORG")
		},
		args:    []string{"/event/Order__e"},
		want:    []symptom{{wrong, "org", "the user may not use the API", "API Enabled"}},
		untried: []string{"quota"},
	}, {
		name: "limits that the user may not see",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.FailRESTRequest(sfstreamtest.RESTFault{Path: "/limits", Times: -1, Code: "INSUFFICIENT_ACCESS"})
		},
		untried: []string{"quota"},
	}, {
		name: "REST that does not answer",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.FailRESTRequest(sfstreamtest.RESTFault{Path: "/query", Times: -1, NoAnswer: true})
		},
		args:    []string{"/event/Order__e"},
		want:    []symptom{{wrong, "org", "the org by REST", "check the way to http://127.0.0.1:40001"}},
		untried: []string{"quota"},
	}, {
		name: "a quota that is nearly used up",
		ill:  limit("DailyDeliveredPlatformEvents", 50_000, 5_000),
		want: []symptom{{warning, "quota", "45,000 of 50,000 events delivered in the last 24 hours; what is left lasts 2.7 hours at that rate", "when it is used up"}},
	}, {
		name: "an entitlement that is used up",
		ill:  limit("MonthlyPlatformEventsUsageEntitlement", 1_000_000, 0),
		want: []symptom{{warning, "quota", "1,000,000 of 1,000,000 events delivered in this month of the contract: it is used up", "Salesforce tolerates"}},
	}, {
		name: "standard-volume events",
		ill:  limit("DailyStandardVolumePlatformEvents", 25_000, 24_999),
		want: []symptom{{warning, "end of life", "standard-volume platform events, which Salesforce retires in Summer '27", "Setup, Platform Events"}},
	}, {
		name: "a custom channel that is missing",
		ill:  answer("/tooling/query", `{"records": [{"DeveloperName": "Orders", "ChannelType": "event"}, {"DeveloperName": "Order", "ChannelType": "data"}]}`),
		args: []string{"/event/Ordrs__chn", "/data/Ordr__chn", "/data/Orders__chn"},
		want: []symptom{{wrong, "/event/Ordrs__chn", "no channel Ordrs__chn", "did you mean /event/Orders__chn?"},
			{wrong, "/data/Ordr__chn", "no channel Ordr__chn", "did you mean /data/Order__chn?"},
			{wrong, "/data/Orders__chn", "not this one", "did you mean /event/Orders__chn?"}},
	}, {
		name: "names that are like none",
		args: []string{"/event/Invoice__e", "/data/LeadChangeEvent", "/data/Lead", "/u/greetings"},
		want: []symptom{{wrong, "/event/Invoice__e", "no platform event Invoice__e", "the org has /event/Order__e"},
			{wrong, "/data/LeadChangeEvent", "no object Lead", "the org has /data/AccountChangeEvent"},
			{wrong, "/data/Lead", "no such channel", "/data/Order__ChangeEvent for Order__c"},
			{wrong, "/u/greetings", "no StreamingChannel /u/greetings", "SELECT Name FROM StreamingChannel"}},
	}, {
		name: "a PushTopic that is not active",
		ill: func(t *testing.T, org *sfstreamtest.Server, w *world, account map[string]string) {
			answer("/query", `{"records": [{"Name": "Accts", "IsActive": false}]}`)(t, org, w, account)
			org.Revoke("/topic/Accts")
		},
		args: []string{"/topic/Accts"},
		want: []symptom{{wrong, "/topic/Accts", "the PushTopic Accts is not active", "IsActive"}},
	}, {
		name: "channels of the Streaming API that are denied",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.Revoke("/topic/Accts")
			org.Revoke("/u/notices")
			org.Revoke("/data/ChangeEvents")
		},
		args: []string{"/topic/Accts?Phone='1'", "/u/notices", "/data/ChangeEvents"},
		want: []symptom{{wrong, "/topic/Accts?Phone='1'", "may not subscribe", "Read on PushTopic"}, {wrong, "/u/notices", "may not subscribe", "Streaming Channels"},
			{wrong, "/data/ChangeEvents", "may not subscribe", "View All Data"}},
	}, {
		name: "too many clients",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.ConcurrentLimit(1000)
		},
		args: []string{"/topic/Accts"},
		want: []symptom{{wrong, "/topic/Accts", "", "its limits are in Setup"}},
	}} {
		t.Run(test.name, func(t *testing.T) { synctest.Test(t, test.diagnose) })
	}
}

// A sandbox is called one.
func TestDoctorOfASandbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newPatientOrg(t, sfstreamtest.WithSandbox())
		setEnv(t, accountOf(org))
		if e := examine(t, worldOf(org)); !strings.Contains(e.text, "org: sfstreamtest (00D000000000001EAA), a sandbox, Enterprise Edition, instance SIM1") {
			t.Error(e.text)
		}
	})
}

// Where only the Salesforce CLI knows the org, doctor asks it before it looks at the org's host.
func TestDoctorOfASalesforceCLI(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for sf is a shell script")
	}
	org := sfstreamtest.NewServer(t, sfstreamtest.WithClockSkew(-time.Hour))
	creds, err := org.Authenticator().Authenticate(t.Context(), authenticator.Login{URL: org.LoginURL(), HTTPClient: org.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho '{\"result\": {\"accessToken\": %q, \"instanceUrl\": %q, \"id\": %q}}'\n", creds.AccessToken, creds.InstanceURL, creds.OrgID)
	if err := os.WriteFile(filepath.Join(dir, "sf"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	setEnv(t, map[string]string{"ORG": "acme", "PUBSUB_ENDPOINT": org.PubSubEndpoint()})
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	e := examine(t, worldOf(org))
	e.expect(t, []symptom{{warning, "clock", "1h0m ahead of Salesforce's", "set the clock"}})
	if !strings.Contains(e.text, "account: a login of the Salesforce CLI, from SALESFORCE_ORG\n") || strings.Contains(e.text, creds.AccessToken) {
		t.Error(e.text)
	}
}

// Where one port of the Pub/Sub API is closed, doctor tells of the other.
func TestDoctorOfPorts(t *testing.T) {
	const host = "api.pubsub.salesforce.com"
	for _, test := range []struct {
		name, closed string
		want         []symptom
		text         string
	}{
		// The org's certificate is from no public authority.
		{"7443", "7443", []symptom{{warning, "network", host + ":443 answers; its certificate is issued by", "exempted"}}, "port 7443 of the Pub/Sub API is closed from here, and not needed"},
		{"443", "443", []symptom{{wrong, "network", "the Pub/Sub API: " + host + ":443 refuses the connection", "allow outgoing connections"}}, "what to fix: set SALESFORCE_PUBSUB_ENDPOINT=" + host + ":7443"},
	} {
		t.Run(test.name, func(t *testing.T) {
			org := newPatientOrgAt(t, sfstreamtest.WithTLS(), sfstreamtest.WithNames(host))
			account := accountOf(org)
			delete(account, "PUBSUB_ENDPOINT")
			setEnv(t, account)
			w := worldOf(org)
			inside := w.dial
			w.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				switch name, port, _ := net.SplitHostPort(addr); {
				case name == host && port == test.closed:
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
				case name == host:
					return inside(ctx, network, org.PubSubEndpoint())
				}
				return inside(ctx, network, addr)
			}
			names := manual.NewBuilderWithScheme("dns")
			names.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: host + ":443"}}})
			w.grpc = append(w.grpc, grpc.WithResolvers(names),
				grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return w.dial(ctx, "tcp", addr) }))
			e := examine(t, w, "/topic/Accts")
			e.expect(t, test.want)
			if !strings.Contains(e.text, test.text) {
				t.Errorf("it does not tell %q in\n%s", test.text, e.text)
			}
		})
	}
}
