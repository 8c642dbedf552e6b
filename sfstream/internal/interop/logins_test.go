package interop

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	order       = "/event/Order__e"
	orderSchema = `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long"}, {"name": "CreatedById", "type": "string"},
		{"name": "N__c", "type": ["null", "double"], "default": null}]}`
)

func defineOrder(t *testing.T, org *sfstreamtest.Server) {
	t.Helper()
	check(t, org.DefineEvent(order, orderSchema))
}

// TestJSForceLogins runs each flow that jsforce has, and receives events with its session.
func TestJSForceLogins(t *testing.T) {
	t.Parallel()
	for _, flow := range []string{"password", "soap", "jwt", "credentials", "refresh"} {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			org := sfstreamtest.NewServer(t)
			defineOrder(t, org)
			js := startJSForceWith(t, org, flow, order)
			identity := map[string]any{"user_id": org.Account().UserID, "organization_id": org.Account().OrgID, "username": org.Account().Username}
			js.line(identity)
			js.line(identity)
			js.line(map[string]any{"subscribed": order})
			for n := range 3 {
				e, err := org.Publish(order, map[string]any{"N__c": float64(n)})
				check(t, err)
				got := js.next()
				payload, _ := got["payload"].(map[string]any)
				event, _ := got["event"].(map[string]any)
				if payload["N__c"] != float64(n) || event["replayId"] != float64(e.Number) {
					t.Fatalf("got %v, want number %d with replay id %d", got, n, e.Number)
				}
			}
			if n := org.Logins(); n != 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
}

// TestJSForceIsRefused proves that the errors of logins are ones that jsforce reads.
func TestJSForceIsRefused(t *testing.T) {
	t.Parallel()
	org := sfstreamtest.NewServer(t, sfstreamtest.WithoutLoginFlow(sfstreamtest.SOAPFlow, sfstreamtest.PasswordFlow,
		sfstreamtest.JWTBearerFlow, sfstreamtest.ClientCredentialsFlow))
	expired := sfstreamtest.NewServer(t, sfstreamtest.WithPasswordExpired())
	for _, test := range []struct {
		name, flow string
		org        *sfstreamtest.Server
		want       string
	}{
		{"password", "password", org, "authentication failure"},
		{"SOAP", "soap", org, "INVALID_OPERATION: SOAP API login() is disabled by default in this org."},
		{"JWT", "jwt", org, "user hasn't approved this consumer"},
		{"client credentials", "credentials", org, "no client credentials user enabled"},
		{"a password that has expired", "soap", expired, "password has expired"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			js := startJSForceWith(t, test.org, test.flow, order)
			got := js.next()
			if text, _ := got["error"].(string); !strings.Contains(text, test.want) {
				t.Errorf("got %v, want %q", got, test.want)
			}
		})
	}
}

// TestNodePubSubClient runs the Node client of the Pub/Sub API against sfstreamtest, by each of its
// flows. Its logins trust the org's certificate; its gRPC channel brings authorities of its own, so
// that it is told not to look.
func TestNodePubSubClient(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		authType string
		fields   func(*sfstreamtest.Server) map[string]any
	}{
		"client credentials": {"oauth-client-credentials", func(org *sfstreamtest.Server) map[string]any {
			return map[string]any{"clientId": org.Account().ConsumerKey, "clientSecret": org.Account().ConsumerSecret}
		}},
		"JWT": {"oauth-jwt-bearer", func(org *sfstreamtest.Server) map[string]any {
			return map[string]any{"clientId": org.Account().ConsumerKey, "username": org.Account().Username, "privateKey": string(org.PrivateKeyPEM())}
		}},
		"SOAP": {"username-password", func(org *sfstreamtest.Server) map[string]any {
			return map[string]any{"username": org.Account().Username, "password": org.Account().Password, "userToken": org.Account().SecurityToken}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			org := sfstreamtest.NewServer(t, sfstreamtest.WithTLS())
			defineOrder(t, org)
			client := startNodePubSub(t, org, test.authType, test.fields(org))
			client.line(map[string]any{"subscribed": order})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			check(t, org.AwaitStreams(ctx, order, 1)) // it gets new events only
			for n := range 3 {
				want := 2.5 + float64(n)
				e, err := org.Publish(order, map[string]any{"N__c": want})
				check(t, err)
				got := client.next()
				payload, _ := got["payload"].(map[string]any)
				if payload["N__c"] != want || payload["CreatedById"] != org.Account().UserID || got["replayId"] != float64(e.Number) {
					t.Fatalf("got %v, want %v with replay id %d", got, want, e.Number)
				}
			}
			if n := org.Logins(); n != 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
	t.Run("a wrong secret", func(t *testing.T) {
		t.Parallel()
		org := sfstreamtest.NewServer(t, sfstreamtest.WithTLS())
		client := startNodePubSub(t, org, "oauth-client-credentials", map[string]any{"clientId": org.Account().ConsumerKey, "clientSecret": "guess"})
		got := client.next()
		if text, _ := got["error"].(string); !strings.Contains(text, "HTTP 401") || !strings.Contains(text, "invalid client credentials") {
			t.Errorf("got %v", got)
		}
	})
}

func startNodePubSub(t *testing.T, org *sfstreamtest.Server, authType string, fields map[string]any) *clientProgram {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(ca, org.CertPEM(), 0o600))
	return startNode(t, org.LoginURL(), org.PubSubEndpoint(), ca, authType, fields)
}

func startNode(t *testing.T, loginURL, endpoint, ca, authType string, fields map[string]any) *clientProgram {
	t.Helper()
	config := map[string]any{"authType": authType, "loginUrl": loginURL, "pubSubEndpoint": endpoint, "rejectUnauthorizedSsl": false}
	maps.Copy(config, fields)
	text, err := json.Marshal(config)
	check(t, err)
	// Node warns of a server name that is an address.
	return startClient(t, []string{"CONFIG=" + string(text), "NODE_EXTRA_CA_CERTS=" + ca, "NODE_NO_WARNINGS=1"}, "pubsub.js", order)
}
