package interop

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testorg is the program sfstream testorg, with what it says of itself.
type testorg struct {
	t              *testing.T
	LoginURL       string `json:"login_url"`
	ControlURL     string `json:"control_url"`
	PubSub         string `json:"pubsub"`
	OrgID          string `json:"org_id"`
	ConsumerKey    string `json:"consumer_key"`
	ConsumerSecret string `json:"consumer_secret"`
	Username       string `json:"username"`
	Password       string `json:"password"`
	PrivateKeyFile string `json:"private_key_file"`
	CAFile         string `json:"ca_file"`
}

// startTestorg starts the program, which ends with the test, and defines the order event.
func startTestorg(t *testing.T, program string, args ...string) *testorg {
	t.Helper()
	cmd := exec.Command(program, append([]string{"testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "127.0.0.1:0"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		check(t, cmd.Process.Signal(os.Interrupt))
		limit := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer limit.Stop()
		check(t, cmd.Wait())
	})
	org := &testorg{t: t}
	check(t, json.NewDecoder(stdout).Decode(org))
	org.control("define", map[string]any{"channel": order, "schema": json.RawMessage(orderSchema)})
	return org
}

// control posts to the control API.
func (o *testorg) control(verb string, body any) {
	o.t.Helper()
	text, err := json.Marshal(body)
	check(o.t, err)
	resp, err := http.Post(o.ControlURL+"/control/"+verb, "application/json", bytes.NewReader(text))
	check(o.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		o.t.Fatalf("/control/%s: %s", verb, resp.Status)
	}
}

// exchange publishes numbers until the client has printed three of them, as nothing tells when its
// subscription is there. After the first one each has to come, in order.
func (o *testorg) exchange(client *clientProgram) {
	o.t.Helper()
	printed := make(chan map[string]any, 1000)
	go func() { // ends with the client's output
		defer close(printed)
		for client.out.Scan() {
			var got map[string]any
			if json.Unmarshal(client.out.Bytes(), &got) == nil {
				printed <- got
			}
		}
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for published, last, received := 0.0, 0.0, 0; received < 3; {
		select {
		case <-tick.C:
			published++
			o.control("publish", map[string]any{"channel": order, "payload": map[string]any{"N__c": published}})
		case got, ok := <-printed:
			if !ok {
				o.t.Fatal("the client has ended")
			}
			if got["subscribed"] != nil {
				continue
			}
			payload, _ := got["payload"].(map[string]any)
			n, ok := payload["N__c"].(float64)
			if !ok || received > 0 && n != last+1 {
				o.t.Fatalf("after number %v the client prints %v", last, got)
			}
			last = n
			received++
		}
	}
}

// TestTestorgServesClientsThatOthersWrote logs them in to the program, by each flow that they have.
func TestTestorgServesClientsThatOthersWrote(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "sfstream")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/sfstream").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plain, secure := startTestorg(t, program), startTestorg(t, program, "-tls")
	key := func(o *testorg) string {
		pem, err := os.ReadFile(o.PrivateKeyFile)
		check(t, err)
		return string(pem)
	}
	for _, flow := range []string{"password", "soap", "jwt", "credentials"} {
		t.Run("jsforce/"+flow, func(t *testing.T) {
			org := *plain
			org.t = t
			js := startClient(t, []string{"CONSUMER_KEY=" + org.ConsumerKey, "CONSUMER_SECRET=" + org.ConsumerSecret, "FLOW=" + flow, "PRIVATE_KEY=" + key(plain)},
				"jsforce.js", org.LoginURL, org.Username, org.Password, order)
			for range 2 {
				identity := js.next()
				user, _ := identity["user_id"].(string)
				if identity["organization_id"] != org.OrgID || identity["username"] != org.Username || !strings.HasPrefix(user, "005") {
					t.Errorf("identity() is %v", identity)
				}
			}
			org.exchange(js)
		})
	}
	for authType, fields := range map[string]map[string]any{
		"oauth-client-credentials": {"clientId": secure.ConsumerKey, "clientSecret": secure.ConsumerSecret},
		"oauth-jwt-bearer":         {"clientId": secure.ConsumerKey, "username": secure.Username, "privateKey": key(secure)},
		"username-password":        {"username": secure.Username, "password": secure.Password, "userToken": ""},
	} {
		t.Run("node/"+authType, func(t *testing.T) {
			org := *secure
			org.t = t
			org.exchange(startNode(t, org.LoginURL, org.PubSub, org.CAFile, authType, fields))
		})
	}
}
