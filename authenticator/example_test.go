package authenticator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/sfstream/sfstream-go/authenticator"
)

// salesforce returns a login host that answers every login with reply.
func salesforce(status int, reply string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, reply)
	}))
}

func ExampleJWTBearer() {
	host := salesforce(200, tokenReply())
	defer host.Close()

	pem := pkcs8() // os.ReadFile("server.key"): the app has its certificate
	flow := authenticator.JWTBearer{ConsumerKey: "3MVG9", Username: "robot@acme.com", PrivateKey: pem}
	credentials, err := flow.Authenticate(context.Background(), authenticator.Login{URL: host.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(credentials.InstanceURL, credentials.OrgID)
	fmt.Println(flow)
	// Output:
	// https://acme.my.salesforce.com 00D000000000001AAA
	// authenticator.JWTBearer{ConsumerKey: "3MVG9", Username: "robot@acme.com", PrivateKey: "[redacted]", Signer: "", Audience: ""}
}

func ExampleClientCredentials() {
	flow := authenticator.ClientCredentials{ConsumerKey: "3MVG9", ConsumerSecret: "secret"}
	_, err := flow.Authenticate(context.Background(), authenticator.Login{URL: authenticator.SandboxURL})
	fmt.Println(err)
	// Output: authenticator: client_credentials: invalid_config: test.salesforce.com does not have this flow: log in at the org's My Domain URL, such as https://acme.my.salesforce.com, or https://acme--dev.sandbox.my.salesforce.com of a sandbox (WithLoginURL, SALESFORCE_LOGIN_URL)
}

func ExamplePassword() {
	host := salesforce(200, tokenReply())
	defer host.Close()

	login := authenticator.Login{URL: host.URL} // in a program: authenticator.SandboxURL, or nothing for production
	credentials, err := authenticator.Password{
		ConsumerKey: "3MVG9", ConsumerSecret: "secret", Username: "robot@acme.com", Password: "pass", SecurityToken: "token",
	}.Authenticate(context.Background(), login)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(credentials.InstanceURL, credentials.OrgID)
	// Output: https://acme.my.salesforce.com 00D000000000001AAA
}

func ExampleRefreshToken() {
	host := salesforce(200, tokenReply("refresh_token", "the next one"))
	defer host.Close()
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "refresh_token")

	flow := &authenticator.RefreshToken{
		ConsumerKey:  "3MVG9",
		RefreshToken: "the first one",
		OnRotate: func(_ context.Context, token string) error {
			if err := os.WriteFile(file+".new", []byte(token), 0o600); err != nil {
				return err
			}
			return os.Rename(file+".new", file) // a crash leaves the old file or the new one, whole
		},
	}
	_, err := flow.Authenticate(context.Background(), authenticator.Login{URL: host.URL})
	saved, _ := os.ReadFile(file)
	fmt.Println(err, string(saved))
	// Output: <nil> the next one
}

func ExamplePermanent() {
	login := always(400, `{"error":"invalid_grant","error_description":"user is locked"}`)
	flow := &authenticator.RefreshToken{ConsumerKey: "3MVG9", RefreshToken: "token"}
	_, err := flow.Authenticate(context.Background(), login)
	fmt.Println(authenticator.Permanent(err))
	fmt.Println(err)
	// Output:
	// true
	// authenticator: refresh_token: invalid_grant: user is locked (HTTP 400 from https://login.salesforce.com/services/oauth2/token); an administrator must unlock the user; wait before the next attempt
}

func ExampleCache() {
	cache := authenticator.NewCache(authenticator.Static{AccessToken: "secret", InstanceURL: instance, OrgID: orgID})
	credentials, err := cache.Get(context.Background(), authenticator.Login{})
	fmt.Println(credentials.OrgID, err)
	cache.Invalidate(credentials) // if Salesforce has refused them
	fmt.Println(cache)
	// Output:
	// 00D000000000001AAA <nil>
	// [redacted]
}

func ExampleStatic() {
	flow := authenticator.Static{AccessToken: "secret", InstanceURL: instance, OrgID: orgID}
	fmt.Printf("%+v\n", flow)
	// Output: authenticator.Static{AccessToken: "[redacted]", InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"}
}
