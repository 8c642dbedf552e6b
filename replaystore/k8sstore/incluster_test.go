package k8sstore

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The server wants the newest token, and sends the second request elsewhere.
func TestInClusterReadsWhatKubernetesMounts(t *testing.T) {
	var tokens []string
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the token %q went to another host", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		if r.ProtoMajor != 2 || r.URL.Path != "/api/v1/namespaces/orders/configmaps/sfstream-2c70e12b7a0646f92279f427c7b38e73" {
			t.Errorf("%s %s", r.Proto, r.URL)
		}
		if len(tokens) == 2 {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return
		}
		io.WriteString(w, `{"kind":"ConfigMap","metadata":{"uid":"u","resourceVersion":"7","annotations":{"sfstream/key":"key"}},`+
			`"binaryData":{"value":"dmFsdWU="}}`)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	mounted := t.TempDir()
	mount := func(name, text string) {
		if err := os.WriteFile(filepath.Join(mounted, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", address.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", address.Port())
	mount("namespace", "orders\n")
	mount("token", "first\n")
	mount("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	config, err := inCluster(mounted)
	if err != nil {
		t.Fatal(err)
	}
	defer config.Client.CloseIdleConnections()
	register, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	value, rev, err := register.Get(t.Context(), "key")
	if string(value) != "value" || rev != "u/7" || err != nil {
		t.Errorf("got %q, %q, %v", value, rev, err)
	}
	mount("token", "second\n")
	if _, _, err := register.Get(t.Context(), "key"); err == nil || !strings.Contains(err.Error(), "HTTP 307") {
		t.Errorf("get that is redirected: %v", err)
	}
	if want := "[Bearer first Bearer second]"; fmt.Sprint(tokens) != want {
		t.Errorf("tokens %v, want %s", tokens, want)
	}
	os.Remove(filepath.Join(mounted, "token"))
	if _, err := register.Put(t.Context(), "key", nil, ""); err == nil || !strings.Contains(err.Error(), "the token of the service account") {
		t.Errorf("put without a token: %v", err)
	}
}

func TestInClusterSaysWhatIsMissing(t *testing.T) {
	mounted := t.TempDir()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	expect := func(want string) {
		t.Helper()
		if _, err := inCluster(mounted); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	expect("this is no pod of Kubernetes")
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	expect("automountServiceAccountToken")
	os.WriteFile(filepath.Join(mounted, "namespace"), []byte("orders"), 0o600)
	expect("authority")
	os.WriteFile(filepath.Join(mounted, "ca.crt"), []byte("text"), 0o600)
	expect("has no certificate")
}
